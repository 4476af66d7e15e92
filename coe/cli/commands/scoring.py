"""`coe score | evaluate | replay`: answers are checked, decisions are gone through again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coe.cli.commands.options import (
    AsModel,
    Config,
    Json,
    JudgeName,
    Limit,
    MaxTokens,
    RunCode,
    Url,
)


def score(  # noqa: PLR0913 - an option each
    files: Annotated[
        list[Path] | None,
        typer.Argument(help='JSON lines: {"prompt": ..., "answer": ...} or with a `check`.'),
    ] = None,
    config: Config = None,
    *,
    experts: Annotated[
        str | None, typer.Option(help="Whom to ask: a,b; default: all but retired ones.")
    ] = None,
    limit: Limit = None,
    max_cost: Annotated[
        str | None, typer.Option(help='Spend no more than this in a run: "2 USD".')
    ] = None,
    max_tokens: MaxTokens = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Most calls in flight on each backend.")
    ] = None,
    source: Annotated[
        str, typer.Option(help="Where the scores are from: evaluation, panel, shadow or feedback.")
    ] = "evaluation",
    judge: JudgeName = None,
    no_route: Annotated[
        bool, typer.Option("--no-route", help="Do not ask the router about the prompts.")
    ] = False,
    run_code: RunCode = False,
    keep_prompts: Annotated[
        bool, typer.Option("--keep-prompts", help="Keep the prompts' texts, not only digests.")
    ] = False,
    keep_answers: Annotated[
        bool, typer.Option("--keep-answers", help="Keep the answers' texts; `coe panel fit`.")
    ] = False,
    samples: Annotated[
        int,
        typer.Option(min=1, max=16, help="Ask each prompt so often, and keep the answers' texts."),
    ] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be asked and its cost; ask nobody.")
    ] = False,
    export: Annotated[
        Path | None, typer.Option(help="Write the outcomes kept so far: .jsonl or .parquet.")
    ] = None,
    import_: Annotated[
        Path | None, typer.Option("--import", help="Add outcomes measured elsewhere.")
    ] = None,
    json: Json = False,
) -> None:
    """Ask experts prompts whose answers can be checked, and keep their scores.

    What is kept already is not asked again: after Ctrl-C, or an error of a backend, the same
    command goes on where it was.
    """
    from coe.cli.score import Wish, run

    run(
        Wish(
            files=tuple(files or ()),
            config=config,
            experts=experts,
            limit=limit,
            max_cost=max_cost,
            max_tokens=max_tokens,
            concurrency=concurrency,
            source=source,
            judge=judge or "",
            routed=not no_route,
            run_code=run_code,
            keep_prompts=keep_prompts,
            samples=samples,
            keep_answers=keep_answers,
            dry_run=dry_run,
            export=export,
            imported=import_,
            as_json=json,
        )
    )


def evaluate(  # noqa: PLR0913 - an option each
    files: Annotated[
        list[Path], typer.Argument(help="JSON lines with answers or checks, as `coe score` reads.")
    ],
    config: Config = None,
    *,
    model: AsModel = "coe/auto",
    url: Url = None,
    limit: Limit = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Prompts in flight; default: 8.")
    ] = None,
    max_tokens: MaxTokens = None,
    run_code: RunCode = False,
    save: Annotated[
        Path | None, typer.Option(help="Write decisions and scores: one JSON line a prompt.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="Compare with what --save wrote before.")
    ] = None,
    keep_prompts: Annotated[
        bool, typer.Option("--keep-prompts", help="Save the prompts' texts, too.")
    ] = False,
    json: Json = False,
) -> None:
    """Send prompts whose answers can be checked through the gateway: how right are its answers?"""
    from coe.cli.evaluate import Wish, run

    run(
        Wish(
            files=tuple(files),
            config=config,
            model=model,
            url=url,
            limit=limit,
            concurrency=concurrency,
            max_tokens=max_tokens,
            run_code=run_code,
            save=save,
            against=against,
            keep_prompts=keep_prompts,
            as_json=json,
        )
    )


def replay(
    config: Annotated[Path, typer.Option("--config", "-c", help="The changed composition.")],
    *,
    on: Annotated[
        Path | None,
        typer.Option(
            help="Recorded decisions (.jsonl), or outcomes (.jsonl, .parquet, .sqlite); default: "
            "what `coe score` kept."
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(help="The composition of now; default: COE_CONFIG, or experts.yaml."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the intervals.", min=0)] = 0,
    json: Json = False,
) -> None:
    """Say what a changed composition would have done on recorded requests. Calls no model.

    Which requests move, from whom to whom; what is gained, by scores where there are any; money;
    how often the expert changes.
    """
    from coe.cli.replay import Wish, run

    run(Wish(config=config, on=on, against=against, seed=seed, as_json=json))
