"""The JSON schema of experts.yaml as a file: `python -m coe.composition.schema` rewrites it."""

from __future__ import annotations

import json
from pathlib import Path

from coe.composition.models import json_schema

PATH = Path(__file__).with_name("experts.schema.json")


def text() -> str:
    """Return the schema file's content."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
