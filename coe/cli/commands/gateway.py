"""`coe serve | check | route | ask | why | batch | init | version`: the gateway itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coe.cli.commands.options import AsModel, Config, Json, Url

File = Annotated[Path, typer.Argument(help="Composition file.")]


def serve(
    config: Config = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="0 picks a free one.")] = None,
) -> None:
    """Start the gateway."""
    from coe.cli.serve import run

    run(config, host, port)


def check(file: File = Path("experts.yaml"), *, json: Json = False) -> None:
    """Check a composition file: every problem at once, with its place."""
    from coe.cli.show import check_file

    check_file(file, as_json=json)


def route(
    prompt: Annotated[str, typer.Argument(help="The text to route.")],
    config: Config = None,
    *,
    model: AsModel = "coe/auto",
    json: Json = False,
) -> None:
    """Show which category and expert a prompt goes to, and why. Calls no model."""
    from coe.cli.show import route_prompt

    route_prompt(prompt, config, model, as_json=json)


def ask(
    prompt: Annotated[str, typer.Argument(help="The question.")],
    config: Config = None,
    *,
    model: Annotated[str, typer.Option(help="coe/auto, an expert or a category.")] = "coe/auto",
    url: Url = None,
) -> None:
    """Ask one question and stream the answer."""
    from coe.cli.ask import ask_prompt

    ask_prompt(prompt, config, model, url)


def why(
    name: Annotated[
        str, typer.Argument(metavar="ID", help="x-coe-decision-id, or the id of the answer.")
    ],
    config: Config = None,
    *,
    json: Json = False,
) -> None:
    """Show why an answer came from its expert, from the decision log."""
    from coe.cli.why import why as show

    show(name, config, as_json=json)


def batch(
    file: Annotated[
        Path, typer.Argument(help="JSON lines as for OpenAI's batches: custom_id, url, body.")
    ],
    config: Config = None,
    *,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results; default: beside the file.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the results of a run before.")
    ] = False,
) -> None:
    """Answer a file of requests, expert by expert, without a server.

    Writes NAME.output.jsonl and NAME.errors.jsonl. Ctrl-C loses nothing: the same command goes on
    where it was.
    """
    from coe.cli.batch import run_file

    run_file(file, out, config, force=force)


def init(
    file: Annotated[Path, typer.Argument(help="File to write.")] = Path("experts.yaml"),
    *,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Look for model servers on this machine and for API keys, and write a composition file."""
    from coe.cli.init import write

    write(file, force=force)


def import_(
    kind: Annotated[
        str,
        typer.Argument(metavar="KIND", help="litellm, llama-swap, semantic-router or vllm-sr."),
    ],
    file: Annotated[Path, typer.Argument(help="The configuration of that gateway.")],
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File to write; `-` prints it.")
    ] = Path("experts.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write a composition file from another gateway's configuration.

    What has no counterpart becomes a comment with the reason, and each secret a reference.
    """
    from coe.cli.import_ import import_file

    import_file(kind, file, output, force=force)


def version() -> None:
    """Print the version."""
    from coe import __version__

    print(__version__)
