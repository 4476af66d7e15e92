"""Classes of a test, installed as if a package of somebody else's had brought them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, plugins: Mapping[str, type]) -> None:
    """Register each class under its name in small letters, by its group of entry points."""
    info = folder / "site" / "brought-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Name: brought\nVersion: 1\n")
    module = ModuleType("brought_plugins")
    rows = []
    for group, plugin in plugins.items():
        setattr(module, plugin.__name__, plugin)
        name = plugin.__name__
        rows.append(f"[{group}]\n{name.lower()} = {module.__name__}:{name}\n")
    (info / "entry_points.txt").write_text("".join(rows))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.syspath_prepend(str(info.parent))
