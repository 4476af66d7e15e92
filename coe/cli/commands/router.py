"""`coe router | calibrate`: a router is trained, measured, and given its thresholds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coe.cli.commands.options import Config, Html
from coe.errors import ConfigError

app = typer.Typer(help="Train and measure a router.", no_args_is_help=True, rich_markup_mode=None)

Rows = Annotated[
    Path, typer.Argument(help='JSON lines: {"text": ..., "category": "name" or null}.')
]
RouterName = Annotated[
    str | None, typer.Option(help="A router of the file; default: the one that decides.")
]
MINUTES = 15.0  # of tuning, unless it is said


@app.command("evaluate")
def router_evaluate(
    rows: Rows,
    config: Config = None,
    *,
    router: RouterName = None,
    html: Html = None,
    json: Annotated[Path | None, typer.Option(help="Write all of it as JSON.")] = None,
    wrong: Annotated[bool, typer.Option("--wrong", help="List the texts that go wrong.")] = False,
) -> None:
    """Measure a router on labelled texts: accuracy, calibration, strangers, mistakes, speed."""
    from coe.cli.router import evaluate_router

    evaluate_router(rows, config, router, (html, json), wrong=wrong)


@app.command("train")
def router_train(  # noqa: PLR0913 - an option each
    config: Config = None,
    *,
    router: Annotated[
        str | None, typer.Option(help="A router of the file; default: the only one of its kind.")
    ] = None,
    on: Annotated[
        Path | None,
        typer.Option(help='Learn from these rows, too: {"text": ..., "category": "name" or null}.'),
    ] = None,
    utterances: Annotated[
        bool,
        typer.Option("--utterances/--no-utterances", help="Learn from the file's utterances."),
    ] = True,
    to: Annotated[
        Path | None, typer.Option(help="The artefact; default: the router's `model`.")
    ] = None,
    tune_encoder: Annotated[
        bool, typer.Option("--tune-encoder", help="Tune an encoder of its own for it, too.")
    ] = False,
    minutes: Annotated[
        float | None, typer.Option(help="Most to spend on tuning; default: 15.", min=0.1)
    ] = None,
) -> None:
    """Train a router of type `linear` and write the artefact that its `model` names.

    What is printed of its quality was measured on rows that it had not seen. Ctrl-C loses nothing:
    the same command goes on where it was.
    """
    from coe.cli.router import train_router

    if minutes is not None and not tune_encoder:
        raise ConfigError("--minutes belongs to --tune-encoder: add that, or leave it out")
    spend = (MINUTES if minutes is None else minutes) if tune_encoder else 0.0
    train_router(config, router, on, to, utterances=utterances, minutes=spend)


def calibrate(  # noqa: PLR0913 - an option each
    rows: Rows,
    config: Config = None,
    *,
    router: RouterName = None,
    accept: Annotated[
        float, typer.Option(help="Share of the texts inside that are accepted.", min=0.01, max=1.0)
    ] = 0.95,
    guarantee: Annotated[
        float | None,
        typer.Option(help="Instead: most errors among what is accepted.", min=0.001, max=0.5),
    ] = None,
    sureness: Annotated[float, typer.Option(help="Of the guarantee.", min=0.5, max=0.9999)] = 0.9,
    per_category: Annotated[
        bool, typer.Option("--per-category", help="One guarantee for each category.")
    ] = False,
) -> None:
    """Choose the categories' thresholds on labelled texts, and write them beside the composition.

    Do not use texts that are utterances: the router has seen those.
    """
    from coe.cli.router import calibrate_router
    from coe.tools import Aim

    if per_category and guarantee is None:
        raise ConfigError("--per-category belongs to --guarantee: add `--guarantee 0.05`")
    aim = Aim(acceptance=accept, risk=guarantee, sureness=sureness, per_category=per_category)
    calibrate_router(rows, config, router, aim)
