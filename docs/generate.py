"""Write docs/reference and the tree of README.md from the code: `python -m docs.generate`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from docs.generators import (
    behaviours,
    cli,
    errors,
    experts_yaml,
    http_api,
    metrics,
    requirements,
    settings,
    tree,
)

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
README = ROOT / "README.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write what is stale, or only name it with `--check`; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m docs.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 if stale")
    chosen = parser.parse_args(arguments)
    wanted = files()
    stale = [path for path, text in wanted.items() if _content(path) != text]
    for path in stale:
        verb = "stale" if chosen.check else "wrote"
        sys.stdout.write(f"{verb}: {path.relative_to(ROOT)}\n")
    if chosen.check:
        if stale:
            sys.stdout.write("run `make docs`\n")
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path], encoding="utf-8")
    return 0


def files() -> dict[Path, str]:
    """Return what every generated file should hold."""
    pages = {
        "cli.md": cli.page(),
        "misbehaving-server.md": behaviours.page(),
        "errors.md": errors.page(),
        "experts-yaml.md": experts_yaml.page(),
        "http-api.md": http_api.page(),
        "metrics.md": metrics.page(),
        "requirements.md": requirements.page(),
        "settings.md": settings.page(),
    }
    texts = {REFERENCE / name: text for name, text in pages.items()}
    if README.exists():
        texts[README] = tree.with_tree(README.read_text(encoding="utf-8"))
    return texts


def _content(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
