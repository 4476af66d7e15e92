"""`coe`, run beside a test that answers its calls."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path


async def run(folder: Path, *words: str, code: int = 0) -> tuple[str, str]:
    """Run `coe` in a folder, and return what it prints; it ends with this status."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "coe", *words),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == code, err.decode()
    return out.decode(), err.decode()
