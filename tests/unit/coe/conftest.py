"""Folders that cannot be written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import pytest

ReadOnly = Callable[[Path], AbstractContextManager[None]]


@contextmanager
def only_read(folder: Path) -> Iterator[None]:
    """Have nobody write there meanwhile, root neither."""
    is_root = os.geteuid() == 0
    for one in (*folder.iterdir(), folder):
        one.chmod(0o555)
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        for one in (folder, *folder.iterdir()):
            one.chmod(0o755)


@pytest.fixture
def read_only() -> ReadOnly:
    """What has nobody write to a folder that is `anybodys` meanwhile."""
    return only_read


@pytest.fixture
def anybodys() -> Iterator[Path]:
    """A folder that is not below one of root's alone."""
    folder = Path(mkdtemp())
    yield folder
    rmtree(folder)
