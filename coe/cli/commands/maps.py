"""`coe map`: a category-to-expert map is fitted to scores and put to use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coe.cli.commands.options import SOURCES, Config, Json, Sources

app = typer.Typer(
    help="Fit a category-to-expert map to scores, and put it to use.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("fit")
def map_fit(  # noqa: PLR0913 - an option each
    config: Config = None,
    *,
    budget: Annotated[
        list[str] | None,
        typer.Option(
            help="KEY=VALUE, again and again: money=2USD/1k, memory=POOL:8GiB, experts=4, "
            "latency=2s (or CATEGORY:2s), active=4GiB."
        ),
    ] = None,
    on: Annotated[
        Path | None,
        typer.Option(help="Outcomes as .jsonl or .parquet; default: what `coe score` kept."),
    ] = None,
    source: Sources = SOURCES,
    neighbours: Annotated[
        bool,
        typer.Option(
            "--neighbours",
            help="Correct the cells by prompts that are alike, if that gains anything; needs "
            "`coe score --keep-prompts`.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the folds and the resamples.", min=0)] = 0,
    json: Json = False,
) -> None:
    """Fit a map to the scores, within a budget, and print what it would change and why.

    It is kept as a proposal. Nothing that is served changes before `coe map apply`.
    """
    from coe.cli.map import Wish, fit_map

    fit_map(
        Wish(
            config=config,
            budgets=tuple(budget or ()),
            on=on,
            sources=source,
            neighbours=neighbours,
            seed=seed,
            as_json=json,
        )
    )


@app.command("show")
def map_show(
    config: Config = None,
    *,
    category: Annotated[str | None, typer.Option(help="All experts of this one.")] = None,
    proposal: Annotated[
        bool, typer.Option("--proposal", help="Not the live map: the last `coe map fit`.")
    ] = False,
    json: Json = False,
) -> None:
    """Show what the map knows: every cell with its interval, and the guard."""
    from coe.cli.map import show_map

    show_map(config, category, proposal=proposal, as_json=json)


@app.command("diff")
def map_diff(config: Config = None, *, json: Json = False) -> None:
    """Show what the proposal would change."""
    from coe.cli.map import diff_map

    diff_map(config, as_json=json)


@app.command("apply")
def map_apply(
    config: Config = None,
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Even where nothing proves that it is better.")
    ] = False,
) -> None:
    """Make the proposal live: write the map, and have the composition choose by it."""
    from coe.cli.map import apply_map

    apply_map(config, force=force)


@app.command("rollback")
def map_rollback(config: Config = None) -> None:
    """Go back to what was live before the last `coe map apply`."""
    from coe.cli.map import roll_back

    roll_back(config)
