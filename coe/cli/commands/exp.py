"""`coe exp`: what experiments have shown, and what follows from it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coe.cli.commands.options import Config, Html, Json

app = typer.Typer(
    help="What experiments have shown: report, power, ope, start, pause, promote, roll back.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

ExperimentName = Annotated[str, typer.Argument(metavar="NAME", help="An experiment of the file.")]
States = Annotated[
    list[Path] | None,
    typer.Option(
        "--state",
        metavar="DIR",
        help="State folder of a gateway, once for each whose log counts (default COE_STATE_DIR).",
    ),
]


@app.command("list")
def exp_list(config: Config = None, *, json: Json = False) -> None:
    """List the experiments of a composition."""
    from coe.cli.exp import list_experiments

    list_experiments(config, as_json=json)


@app.command("report")
def exp_report(
    name: ExperimentName,
    config: Config = None,
    html: Html = None,
    state: States = None,
    *,
    json: Json = False,
) -> None:
    """Show what an experiment has shown so far, and what to do.

    It may be looked at any time: a sequential experiment keeps its promise however often that is.
    The exit status is 3 where the experiment should end or pause, else 0.
    """
    from coe.cli.exp import show_report

    show_report(name, config, states=state or (), html=html, as_json=json)


@app.command("power")
def exp_power(  # noqa: PLR0913 - an option each
    *,
    effect: Annotated[float, typer.Option(help="The difference to find: 0.03 is 3 points.")],
    base: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="The control's share, such as 0.6.")
    ] = None,
    deviation: Annotated[
        float | None, typer.Option(min=0.0, help="For a mean: the standard deviation of a unit.")
    ] = None,
    power: Annotated[
        float, typer.Option(min=0.5, max=0.9999, help="How likely it is to be found.")
    ] = 0.8,
    confidence: Annotated[
        float, typer.Option(min=0.5, max=0.9999, help="Of what is said then.")
    ] = 0.95,
    share: Annotated[
        float, typer.Option(min=0.0001, max=0.9999, help="Of the units that the arm gets.")
    ] = 0.5,
    per_day: Annotated[float | None, typer.Option(min=0.001, help="Units a day.")] = None,
    json: Json = False,
) -> None:
    """Say how many units it takes to find a difference."""
    from coe.cli.exp import Wanted, show_power

    wanted = Wanted(
        base=base,
        deviation=deviation,
        effect=effect,
        power=power,
        confidence=confidence,
        share=share,
        per_day=per_day,
    )
    show_power(wanted, as_json=json)


@app.command("ope")
def exp_ope(
    *,
    choose: Annotated[
        str, typer.Option(help="`ranked`, `fitted`, `best_single` or `expert:NAME`.")
    ],
    config: Config = None,
    experiment: Annotated[
        str | None, typer.Option(help="Only decisions that took part in it.")
    ] = None,
    arm: Annotated[str | None, typer.Option(help="Only those in this arm of it.")] = None,
    json: Json = False,
) -> None:
    """Estimate what another way to choose would have got, from decisions drawn at random.

    They come from arms with `choose: random`, and count where somebody gave feedback. Refused where
    they are too few, or too unlike, to say anything.
    """
    from coe.cli.exp_ope import show

    show(choose, config, experiment=experiment, arm=arm, as_json=json)


@app.command("start")
def exp_start(name: ExperimentName, config: Config = None) -> None:
    """Set an experiment's status to `running`."""
    from coe.cli.exp import set_status

    set_status(name, "running", config)


@app.command("pause")
def exp_pause(name: ExperimentName, config: Config = None) -> None:
    """Set an experiment's status to `paused`: everybody gets the file's own way."""
    from coe.cli.exp import set_status

    set_status(name, "paused", config)


@app.command("promote")
def exp_promote(
    name: ExperimentName,
    arm: Annotated[str, typer.Argument(help="The arm whose changes are to stay.")],
    config: Config = None,
    state: States = None,
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Although it was not shown to be better.")
    ] = False,
) -> None:
    """Write what an arm changes into the file, and end the experiment."""
    from coe.cli.exp import promote

    promote(name, arm, config, states=state or (), force=force)


@app.command("rollback")
def exp_rollback(name: ExperimentName, config: Config = None) -> None:
    """Take back what the last promotion of an experiment wrote into the file."""
    from coe.cli.exp import rollback

    rollback(name, config)
