"""`coe learn`: what was learnt from answers."""

from __future__ import annotations

from typing import Annotated

import typer

from coe.cli.commands.options import Config, Json

app = typer.Typer(
    help="What was learnt from answers: show it, propose a diff, go back to a snapshot.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("show")
def learn_show(config: Config = None, *, json: Json = False) -> None:
    """Show what is expected of each expert in each category now, and what has changed."""
    from coe.cli.learn import show_learnt

    show_learnt(config, as_json=json)


@app.command("groups")
def learn_groups(config: Config = None, *, json: Json = False) -> None:
    """Show groups among the prompts that no category would take: new categories?"""
    from coe.cli.learn import show_groups

    show_groups(config, as_json=json)


@app.command("propose")
def learn_propose(
    config: Config = None,
    *,
    apply: Annotated[bool, typer.Option("--apply", help="Write it into the file.")] = False,
    json: Json = False,
) -> None:
    """Show where another expert than the map's is surely better by now; a person applies it."""
    from coe.cli.learn import propose

    propose(config, apply=apply, as_json=json)


@app.command("snapshots")
def learn_snapshots(config: Config = None, *, json: Json = False) -> None:
    """List the snapshots of what was learnt."""
    from coe.cli.learn import list_snapshots

    list_snapshots(config, as_json=json)


@app.command("rollback")
def learn_rollback(
    number: Annotated[int, typer.Argument(min=1, help="Of the snapshot that is to be live.")],
    config: Config = None,
) -> None:
    """Make an old snapshot live again; a gateway that serves takes it up when it starts."""
    from coe.cli.learn import rollback

    rollback(number, config)
