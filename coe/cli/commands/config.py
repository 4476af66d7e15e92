"""`coe config`: the compositions that were served; they are listed, compared, and gone back to."""

from __future__ import annotations

from typing import Annotated

import typer

from coe.cli.commands.options import Config, Json

app = typer.Typer(
    help="Compositions that were served: list, show, compare, go back.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Number = Annotated[int, typer.Argument(help="Of a version, as `coe config versions` lists them.")]
Side = Annotated[
    str | None, typer.Argument(metavar="VERSION|FILE", help="A version's number, or a file.")
]


@app.command("versions")
def versions(config: Config = None, *, json: Json = False) -> None:
    """List what was served: since when, why, and what changed by it. The newest is first."""
    from coe.cli.versions import list_versions

    list_versions(config, as_json=json)


@app.command("show")
def show(number: Number, config: Config = None, *, json: Json = False) -> None:
    """Print the file of a version."""
    from coe.cli.versions import show_version

    show_version(number, config, as_json=json)


@app.command("diff")
def diff(then: Side = None, now: Side = None, config: Config = None, *, json: Json = False) -> None:
    """Say in words what differs between two versions, or files.

    Without arguments: between what was served last and the file as it is now; with one, between
    that and the file.
    """
    from coe.cli.versions import compare

    compare(then, now, config, as_json=json)


@app.command("rollback")
def rollback(
    number: Annotated[
        int | None, typer.Argument(help="The version; default: the last one with another text.")
    ] = None,
    config: Config = None,
) -> None:
    """Write the composition file as it was in a version. A gateway that serves it follows.

    The file as it is now is kept as a version, too.
    """
    from coe.cli.versions import roll_back

    roll_back(number, config)
