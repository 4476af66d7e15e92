"""What commands print with `--json`."""

from __future__ import annotations

from typing import Any

import orjson


def print_json(content: Any) -> None:
    """Print a value as JSON for programs to read, and people too."""
    print(orjson.dumps(content, option=orjson.OPT_INDENT_2).decode())
