"""What deploy/ calls by name is there: settings, commands, and the image's own files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main

from coe.cli.commands import app
from coe.settings import Settings

DEPLOY = Path(__file__).parents[2] / "deploy"
FILES = [path for path in sorted(DEPLOY.rglob("*")) if path.is_file() and path.suffix != ".pyc"]
SETTINGS = {f"COE_{name.upper()}" for name in Settings.model_fields}
COMMANDS = typer.main.get_command(app)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(DEPLOY).as_posix())
def test_every_setting_that_is_named_exists(file: Path) -> None:
    named = set(re.findall(r"\bCOE_[A-Z][A-Z_]*[A-Z]\b", file.read_text(encoding="utf-8")))

    assert named - SETTINGS == set()


def test_settings_are_named_at_all() -> None:
    text = "".join(file.read_text(encoding="utf-8") for file in FILES)

    assert {"COE_REDIS_URL", "COE_METRICS_LISTEN", "COE_STATE_DIR"} <= {
        name for name in SETTINGS if name in text
    }


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(DEPLOY).as_posix())
def test_every_command_that_is_named_exists(file: Path) -> None:
    named = re.findall(r"(?:bin/| -- |coe |CONTAINER )coe ([a-z]+)\b", file.read_text("utf-8"))

    assert set(named) <= set(COMMANDS.commands)  # type: ignore[attr-defined]
