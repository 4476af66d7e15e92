"""`coe experts`: they are listed, tried, added, compared and moved between statuses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coe.cli.commands.options import Config, Json, JudgeName, MaxTokens, RunCode

app = typer.Typer(
    help="List the experts, or: add, check, audition, compare, promote, remove.",
    invoke_without_command=True,
    rich_markup_mode=None,
)

Expert = Annotated[str, typer.Argument(help="An expert of the file.")]
Share = Annotated[str | None, typer.Option(help="Of the conversations, for a canary: 5%.")]


@app.callback()
def experts(
    context: typer.Context,
    config: Config = None,
    *,
    json: Json = False,
) -> None:
    """List the experts, where they run and which categories they answer."""
    if context.invoked_subcommand is None:
        from coe.cli.show import list_experts

        list_experts(config, as_json=json)


@app.command("check")
def experts_check(
    names: Annotated[
        list[str] | None, typer.Argument(help="Experts; default: all but retired ones.")
    ] = None,
    config: Config = None,
    *,
    json: Json = False,
) -> None:
    """Try experts with a few tiny calls: reachable, listed, answers, streams, tools, sizes."""
    from coe.cli.experts import check

    check(config, names or (), as_json=json)


@app.command("add")
def experts_add(  # noqa: PLR0913 - an option each
    name: Annotated[str, typer.Argument(help="The new expert's name.")],
    model: Annotated[str | None, typer.Argument(help="BACKEND/MODEL, as in the file.")] = None,
    config: Config = None,
    *,
    base: Annotated[str | None, typer.Option(help="For a LoRA: the expert it adapts.")] = None,
    adapter: Annotated[str | None, typer.Option(help="For a LoRA: its folder or name.")] = None,
    key: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE, again and again: context=32k.")
    ] = None,
    category: Annotated[
        list[str] | None, typer.Option(help="Rank it in this category; again and again.")
    ] = None,
    last: Annotated[
        bool, typer.Option("--last", help="Rank it behind the others, not before them.")
    ] = False,
    status: Annotated[
        str, typer.Option(help="live, canary, shadow, draining or retired.")
    ] = "canary",
    share: Share = None,
) -> None:
    """Add an expert to the composition file. Its comments and layout stay as they are."""
    from coe.cli.experts import Addition, add

    add(
        config,
        Addition(
            name=name,
            model=model,
            base=base,
            adapter=adapter,
            keys=tuple(key or ()),
            categories=tuple(category or ()),
            status=status,
            share=share,
            last=last,
        ),
    )


@app.command("remove")
def experts_remove(name: Expert, config: Config = None) -> None:
    """Remove an expert from the composition file, and from every ranking in it."""
    from coe.cli.experts import remove

    remove(config, name)


@app.command("audition")
def experts_audition(  # noqa: PLR0913 - an option each
    name: Expert,
    config: Config = None,
    *,
    kshot: Annotated[
        Path, typer.Option(help="Labelled prompts, as for `coe score`: some of each category.")
    ],
    others: Annotated[
        bool, typer.Option("--others", help="Ask the present experts the same, where need be.")
    ] = False,
    run_code: RunCode = False,
    judge: JudgeName = None,
    max_tokens: MaxTokens = None,
    pilots: Annotated[
        Path | None, typer.Option(help="Where prompts that it is best at are added.")
    ] = None,
    into_map: Annotated[
        bool, typer.Option("--into-map", help="Add its column to the applied map.")
    ] = False,
    json: Json = False,
) -> None:
    """Score a new expert on few labelled prompts: how good it is, and what the others lack."""
    from coe.cli.audition import Wish, audition

    audition(
        Wish(
            name=name,
            kshot=kshot,
            config=config,
            others=others,
            run_code=run_code,
            judge=judge or "",
            max_tokens=max_tokens,
            pilots=pilots,
            into_map=into_map,
            as_json=json,
        )
    )


@app.command("matrix")
def experts_matrix(config: Config = None, *, json: Json = False) -> None:
    """Show what every expert scored on every category, and what it adds to the others."""
    from coe.cli.audition import show_matrix

    show_matrix(config, as_json=json)


@app.command("canary")
def experts_canary(name: Expert, config: Config = None, *, share: Share = None) -> None:
    """Let an expert answer its share of the conversations."""
    from coe.cli.experts import set_status

    set_status(config, name, "canary", share)


@app.command("promote")
def experts_promote(name: Expert, config: Config = None) -> None:
    """Make an expert live."""
    from coe.cli.experts import set_status

    set_status(config, name, "live")


@app.command("retire")
def experts_retire(
    name: Expert,
    config: Config = None,
    *,
    drain: Annotated[
        bool, typer.Option("--drain", help="Let it go on with conversations that it has.")
    ] = False,
) -> None:
    """Ask an expert nothing any more; its entry stays in the file."""
    from coe.cli.experts import set_status

    set_status(config, name, "draining" if drain else "retired")
