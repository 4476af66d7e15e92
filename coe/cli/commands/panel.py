"""`coe panel`: panels are measured, and switched on where they pay."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coe.cli.commands.options import SOURCES, Config, Json, JudgeName, MaxTokens, Sources

app = typer.Typer(
    help="Measure where several experts are worth their calls, and switch them on there.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("fit")
def panel_fit(  # noqa: PLR0913 - an option each
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="The scored prompts, where experts that judge or write are asked."),
    ] = None,
    config: Config = None,
    *,
    test_aggregators: Annotated[
        bool,
        typer.Option(
            "--test-aggregators", help="Test who finds the one right draft of three; needs FILES."
        ),
    ] = False,
    max_cost: Annotated[
        str | None, typer.Option(help='Spend no more than this on who is asked: "2 USD".')
    ] = None,
    max_tokens: MaxTokens = None,
    source: Sources = SOURCES,
    judge: JudgeName = None,
    seed: Annotated[int, typer.Option(help="Of the folds and the intervals.", min=0)] = 0,
    json: Json = False,
) -> None:
    """Say in which categories each panel is worth its calls, on drafts that were kept.

    Beside as many samples of the best expert, `coe score --samples`. What follows is kept as a
    proposal. Nothing that is served changes before `coe panel apply`.
    """
    from coe.cli.panel import Wish, fit_panels

    fit_panels(
        Wish(
            files=tuple(files or ()),
            config=config,
            test_aggregators=test_aggregators,
            max_cost=max_cost,
            max_tokens=max_tokens,
            sources=source,
            judge=judge or "",
            seed=seed,
            as_json=json,
        )
    )


@app.command("show")
def panel_show(
    config: Config = None,
    *,
    proposal: Annotated[
        bool, typer.Option("--proposal", help="Not the live panels: the last `coe panel fit`.")
    ] = False,
    json: Json = False,
) -> None:
    """Show what was measured of panels: where each pays, and by how much."""
    from coe.cli.panel import show_panels

    show_panels(config, proposal=proposal, as_json=json)


@app.command("diff")
def panel_diff(config: Config = None, *, json: Json = False) -> None:
    """Show what the proposal would change."""
    from coe.cli.panel import diff_panels

    diff_panels(config, as_json=json)


@app.command("apply")
def panel_apply(
    config: Config = None,
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Even where the composition was edited since.")
    ] = False,
) -> None:
    """Make the proposal live: write it beside the composition, and name the panels there."""
    from coe.cli.panel import apply_panels

    apply_panels(config, force=force)


@app.command("rollback")
def panel_rollback(config: Config = None) -> None:
    """Go back to what was live before the last `coe panel apply`."""
    from coe.cli.panel import roll_back

    roll_back(config)
