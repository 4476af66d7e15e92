"""`coe keys`: who may ask, and what for."""

from __future__ import annotations

from typing import Annotated

import typer

from coe.cli.commands.options import Config, Json

app = typer.Typer(
    help="Keys: add, list, revoke, rotate. A gateway that runs follows within a second.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

KeyId = Annotated[str, typer.Argument(metavar="ID", help="Or its name; see `coe keys list`.")]


@app.command("add")
def keys_add(  # noqa: PLR0913 - an option each
    name: Annotated[str, typer.Argument(help="What people call it: who or what holds it.")],
    config: Config = None,
    *,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help="What it is for: data (the default), admin, experiments, metrics; again and"
            " again. None of them includes another."
        ),
    ] = None,
    team: Annotated[str, typer.Option(help="The team that it belongs to.")] = "",
    expert: Annotated[
        list[str] | None,
        typer.Option(help="Ask only this expert, or `tag:NAME`; again and again."),
    ] = None,
    not_expert: Annotated[
        list[str] | None,
        typer.Option(help="Never ask this expert, or `tag:NAME`; again and again."),
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(help="`60 requests/min`, `5 USD/day`, ...; again and again."),
    ] = None,
    expires: Annotated[str, typer.Option(help="It ends after so long: 90d.")] = "",
    no_text: Annotated[
        bool, typer.Option("--no-text", help="Never keep its prompts in words.")
    ] = False,
) -> None:
    """Make a key and print it, this once: only a digest of it is kept."""
    from coe.cli.keys import Wanted, add

    add(
        config,
        Wanted(
            name=name,
            team=team,
            scopes=tuple(scope or ()),
            experts=tuple(expert or ()),
            not_experts=tuple(not_expert or ()),
            limits=tuple(limit or ()),
            keeps_text=not no_text,
            lasts=expires,
        ),
    )


@app.command("list")
def keys_list(config: Config = None, *, json: Json = False) -> None:
    """List the keys, those that ended, too."""
    from coe.cli.keys import show

    show(config, as_json=json)


@app.command("revoke")
def keys_revoke(
    names: Annotated[
        list[str], typer.Argument(metavar="ID...", help="One key or several, by id or by name.")
    ],
    config: Config = None,
) -> None:
    """End keys for good, on every gateway within a second."""
    from coe.cli.keys import revoke

    revoke(config, names)


@app.command("rotate")
def keys_rotate(
    name: KeyId,
    config: Config = None,
    *,
    grace: Annotated[str, typer.Option(help="The old secret works on for so long: 1h.")] = "",
) -> None:
    """Give a key another secret and print it; who it is and what it owns stay."""
    from coe.cli.keys import rotate

    rotate(config, name, grace)
