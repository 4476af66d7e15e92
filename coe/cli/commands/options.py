"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="Composition file (default experts.yaml).")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Html = Annotated[Path | None, typer.Option(help="Write a page that needs nothing else.")]
AsModel = Annotated[str, typer.Option(help="As a client would ask for.")]
Url = Annotated[
    str | None,
    typer.Option(
        help="A running gateway, shown the key in COE_KEY; without it one answers in this process."
    ),
]
Limit = Annotated[
    int | None, typer.Option(min=1, help="Only the first so many prompts of each category.")
]
MaxTokens = Annotated[
    int | None, typer.Option(min=1, help="Of an answer, where the prompt's row does not say.")
]
RunCode = Annotated[
    bool, typer.Option("--run-code", help="Run code of answers against tests, in a sandbox.")
]
JudgeName = Annotated[
    str | None, typer.Option(help="The expert that judges where a `judge` check names none.")
]
Sources = Annotated[
    str, typer.Option(help="Which scores count: evaluation, panel, shadow, feedback.")
]
SOURCES = "evaluation,panel,shadow"
