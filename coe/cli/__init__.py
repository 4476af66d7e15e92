"""The command line: `coe serve | check | route | router | calibrate | ask | experts | init`.

Each command imports what it needs when it runs, so that `coe --help` is quick.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from coe.errors import CoEError, ConfigError

app = typer.Typer(
    name="coe",
    help="A Composition-of-Experts gateway: classify, pick the expert, stream, explain.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="Composition file (default experts.yaml).")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
File = Annotated[Path, typer.Argument(help="Composition file.")]
Rows = Annotated[
    Path, typer.Argument(help='JSON lines: {"text": ..., "category": "name" or null}.')
]
RouterName = Annotated[
    str | None, typer.Option(help="A router of the file; default: the one that decides.")
]
RunCode = Annotated[
    bool, typer.Option("--run-code", help="Run code of answers against tests, in a sandbox.")
]
MaxTokens = Annotated[
    int | None, typer.Option(min=1, help="Of an answer, where the prompt's row does not say.")
]
JudgeName = Annotated[
    str | None, typer.Option(help="The expert that judges where a `judge` check names none.")
]
Limit = Annotated[
    int | None, typer.Option(min=1, help="Only the first so many prompts of each category.")
]

Slots = Annotated[
    int | None, typer.Option(min=1, help="Experts that memory holds at once (default 1).")
]
Width = Annotated[
    int | None, typer.Option(min=1, help="Of those, how many may work at once; default: all.")
]
SlotsEach = Annotated[
    int | None, typer.Option(min=1, help="Calls that an expert runs at once (default 16).")
]
LoadS = Annotated[
    float | None, typer.Option(min=0.0, help="Seconds that a load takes (default 0.8).")
]
CallS = Annotated[float, typer.Option(min=0.001, help="Seconds of a call, where not recorded.")]
Slowdown = Annotated[
    float | None,
    typer.Option(min=0.0, help="What each further call adds to all that run, as a share of one."),
]
Goal = Annotated[
    float | None,
    typer.Option(min=0.0, max=1.0, help="0: the shortest waits, 1: the fewest loads (0.5)."),
]
Html = Annotated[Path | None, typer.Option(help="Write a page that needs nothing else.")]

MINUTES = 15.0  # of tuning, unless it is said

router_app = typer.Typer(
    help="Train and measure a router.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(router_app, name="router")
map_app = typer.Typer(
    help="Fit a category-to-expert map to scores, and put it to use.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(map_app, name="map")
panel_app = typer.Typer(
    help="Measure where several experts are worth their calls, and switch them on there.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(panel_app, name="panel")
exp_app = typer.Typer(
    help="What experiments have shown: report, power, start, pause, promote, roll back.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(exp_app, name="exp")
learn_app = typer.Typer(
    help="What was learnt from answers: show it, propose a diff, go back to a snapshot.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(learn_app, name="learn")
experts_app = typer.Typer(
    help="List the experts, or: add, check, audition, compare, promote, remove.",
    invoke_without_command=True,
    rich_markup_mode=None,
)
app.add_typer(experts_app, name="experts")


def main() -> None:
    """Run the command line; errors of ours are printed as sentences, without a traceback."""
    try:
        app()
    except ConfigError as error:
        print(f"coe: {error.message}", file=sys.stderr)
        raise SystemExit(2) from None
    except CoEError as error:
        print(f"coe: {error.message}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


@app.command()
def serve(
    config: Config = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="0 picks a free one.")] = None,
) -> None:
    """Start the gateway."""
    from coe.cli.serve import run

    run(config, host, port)


@app.command()
def check(file: File = Path("experts.yaml"), *, json: Json = False) -> None:
    """Check a composition file: every problem at once, with its place."""
    from coe.cli.show import check_file

    check_file(file, as_json=json)


@app.command()
def route(
    prompt: Annotated[str, typer.Argument(help="The text to route.")],
    config: Config = None,
    *,
    model: Annotated[str, typer.Option(help="As a client would ask for.")] = "coe/auto",
    json: Json = False,
) -> None:
    """Show which category and expert a prompt goes to, and why. Calls no model."""
    from coe.cli.show import route_prompt

    route_prompt(prompt, config, model, as_json=json)


@app.command()
def ask(
    prompt: Annotated[str, typer.Argument(help="The question.")],
    config: Config = None,
    *,
    model: Annotated[str, typer.Option(help="coe/auto, an expert or a category.")] = "coe/auto",
    url: Annotated[
        str | None, typer.Option(help="A running gateway; without it one answers in this process.")
    ] = None,
) -> None:
    """Ask one question and stream the answer."""
    from coe.cli.ask import ask_prompt

    ask_prompt(prompt, config, model, url)


@app.command()
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


@router_app.command("evaluate")
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


@router_app.command("train")
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


@app.command()
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


@app.command()
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


@app.command()
def evaluate(  # noqa: PLR0913 - an option each
    files: Annotated[
        list[Path], typer.Argument(help="JSON lines with answers or checks, as `coe score` reads.")
    ],
    config: Config = None,
    *,
    model: Annotated[str, typer.Option(help="As a client would ask for.")] = "coe/auto",
    url: Annotated[
        str | None, typer.Option(help="A running gateway; without it one answers in this process.")
    ] = None,
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


@app.command()
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


@map_app.command("fit")
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
    source: Annotated[
        str, typer.Option(help="Which scores count: evaluation, panel, shadow, feedback.")
    ] = "evaluation,panel,shadow",
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


@map_app.command("show")
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


@map_app.command("diff")
def map_diff(config: Config = None, *, json: Json = False) -> None:
    """Show what the proposal would change."""
    from coe.cli.map import diff_map

    diff_map(config, as_json=json)


@map_app.command("apply")
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


@map_app.command("rollback")
def map_rollback(config: Config = None) -> None:
    """Go back to what was live before the last `coe map apply`."""
    from coe.cli.map import roll_back

    roll_back(config)


@panel_app.command("fit")
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
    source: Annotated[
        str, typer.Option(help="Which scores count: evaluation, panel, shadow, feedback.")
    ] = "evaluation,panel,shadow",
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


@panel_app.command("show")
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


@panel_app.command("diff")
def panel_diff(config: Config = None, *, json: Json = False) -> None:
    """Show what the proposal would change."""
    from coe.cli.panel import diff_panels

    diff_panels(config, as_json=json)


@panel_app.command("apply")
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


@panel_app.command("rollback")
def panel_rollback(config: Config = None) -> None:
    """Go back to what was live before the last `coe panel apply`."""
    from coe.cli.panel import roll_back

    roll_back(config)


@app.command()
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


Expert = Annotated[str, typer.Argument(help="An expert of the file.")]
Share = Annotated[str | None, typer.Option(help="Of the conversations, for a canary: 5%.")]


@experts_app.callback()
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


@experts_app.command("check")
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


@experts_app.command("add")
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


@experts_app.command("remove")
def experts_remove(name: Expert, config: Config = None) -> None:
    """Remove an expert from the composition file, and from every ranking in it."""
    from coe.cli.experts import remove

    remove(config, name)


@experts_app.command("audition")
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


@experts_app.command("matrix")
def experts_matrix(config: Config = None, *, json: Json = False) -> None:
    """Show what every expert scored on every category, and what it adds to the others."""
    from coe.cli.audition import show_matrix

    show_matrix(config, as_json=json)


@experts_app.command("canary")
def experts_canary(name: Expert, config: Config = None, *, share: Share = None) -> None:
    """Let an expert answer its share of the conversations."""
    from coe.cli.experts import set_status

    set_status(config, name, "canary", share)


@experts_app.command("promote")
def experts_promote(name: Expert, config: Config = None) -> None:
    """Make an expert live."""
    from coe.cli.experts import set_status

    set_status(config, name, "live")


@experts_app.command("retire")
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


@app.command()
def sim(  # noqa: PLR0913 - an option each
    arrivals: Annotated[str, typer.Argument(help="poisson, bursty or sessions.")] = "poisson",
    *,
    experts: Annotated[int, typer.Option(min=1, help="Experts, of Zipf(1) popularity.")] = 8,
    rate: Annotated[float, typer.Option(min=0.001, help="Calls per second.")] = 1.0,
    calls: Annotated[int, typer.Option(min=1)] = 2000,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    slots: Slots = None,
    width: Width = None,
    concurrency: SlotsEach = None,
    load: LoadS = None,
    call: CallS = 4.0,
    slowdown: Slowdown = None,
    goal: Goal = None,
    html: Html = None,
    json: Json = False,
) -> None:
    """Show what each rule of scheduling would do with made-up calls."""
    from coe.cli.cases import Numbers, of_numbers
    from coe.cli.plan import compare, make_trace

    trace = make_trace(arrivals, experts=experts, rate=rate, calls=calls, call_s=call, seed=seed)
    numbers = Numbers(slots, width, concurrency, load, slowdown, goal)
    compare(trace, of_numbers(trace, numbers), as_json=json, html=html)


@app.command()
def plan(  # noqa: PLR0913 - an option each
    trace: Annotated[
        Path, typer.Argument(help='JSON lines: {"at_s": 12.5, "expert": "sql", "work_s": 3.2}.')
    ],
    *,
    composition: Annotated[
        Path | None, typer.Option(help="Composition file that says memory, sizes and load times.")
    ] = None,
    backend: Annotated[
        str | None, typer.Option(help="Which of its backends; default: the one with `memory`.")
    ] = None,
    slots: Slots = None,
    width: Width = None,
    concurrency: SlotsEach = None,
    load: LoadS = None,
    call: CallS = 4.0,
    slowdown: Slowdown = None,
    goal: Goal = None,
    html: Html = None,
    json: Json = False,
) -> None:
    """Show what each rule of scheduling would have done with recorded calls."""
    from coe.cli.cases import Numbers, of_composition, of_numbers
    from coe.cli.plan import compare, read_trace

    arrivals = read_trace(trace, call)
    numbers = Numbers(slots, width, concurrency, load, slowdown, goal)
    if composition is None:
        numbers.refuse_backend(backend)
        case = of_numbers(arrivals, numbers)
    else:
        case = of_composition(arrivals, composition, backend, numbers, source=str(trace))
    compare(arrivals, case, as_json=json, html=html)


@app.command()
def scheduling(
    url: Annotated[str, typer.Argument(help="Of a gateway.")] = "http://127.0.0.1:8088",
    *,
    html: Html = None,
    calls: Annotated[
        Path | None, typer.Option(help="Write its last calls, for `coe plan`.")
    ] = None,
    json: Json = False,
) -> None:
    """Show who is in memory at a gateway that runs, who waits, and what happened of late."""
    from coe.cli.scheduling import show

    show(url, html=html, calls=calls, as_json=json)


@app.command()
def init(
    file: Annotated[Path, typer.Argument(help="File to write.")] = Path("experts.yaml"),
    *,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Look for model servers on this machine and for API keys, and write a composition file."""
    from coe.cli.init import write

    write(file, force=force)


@app.command()
def version() -> None:
    """Print the version."""
    from coe import __version__

    print(__version__)


if __name__ == "__main__":
    main()


ExperimentName = Annotated[str, typer.Argument(metavar="NAME", help="An experiment of the file.")]


@exp_app.command("list")
def exp_list(config: Config = None, *, json: Json = False) -> None:
    """List the experiments of a composition."""
    from coe.cli.exp import list_experiments

    list_experiments(config, as_json=json)


@exp_app.command("report")
def exp_report(
    name: ExperimentName,
    config: Config = None,
    html: Annotated[Path | None, typer.Option(help="Write a page that needs nothing else.")] = None,
    *,
    json: Json = False,
) -> None:
    """Show what an experiment has shown so far, and what to do.

    It may be looked at any time: a sequential experiment keeps its promise however often that is.
    The exit status is 3 where the experiment should end or pause, else 0.
    """
    from coe.cli.exp import show_report

    show_report(name, config, html=html, as_json=json)


@exp_app.command("power")
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


@exp_app.command("start")
def exp_start(name: ExperimentName, config: Config = None) -> None:
    """Set an experiment's status to `running`."""
    from coe.cli.exp import set_status

    set_status(name, "running", config)


@exp_app.command("pause")
def exp_pause(name: ExperimentName, config: Config = None) -> None:
    """Set an experiment's status to `paused`: everybody gets the file's own way."""
    from coe.cli.exp import set_status

    set_status(name, "paused", config)


@exp_app.command("promote")
def exp_promote(
    name: ExperimentName,
    arm: Annotated[str, typer.Argument(help="The arm whose changes are to stay.")],
    config: Config = None,
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Although it was not shown to be better.")
    ] = False,
) -> None:
    """Write what an arm changes into the file, and end the experiment."""
    from coe.cli.exp import promote

    promote(name, arm, config, force=force)


@exp_app.command("rollback")
def exp_rollback(name: ExperimentName, config: Config = None) -> None:
    """Take back what the last promotion of an experiment wrote into the file."""
    from coe.cli.exp import rollback

    rollback(name, config)


@learn_app.command("show")
def learn_show(config: Config = None, *, json: Json = False) -> None:
    """Show what is expected of each expert in each category now, and what has changed."""
    from coe.cli.learn import show_learnt

    show_learnt(config, as_json=json)


@learn_app.command("groups")
def learn_groups(config: Config = None, *, json: Json = False) -> None:
    """Show groups among the prompts that no category would take: new categories?"""
    from coe.cli.learn import show_groups

    show_groups(config, as_json=json)


@learn_app.command("propose")
def learn_propose(
    config: Config = None,
    *,
    apply: Annotated[bool, typer.Option("--apply", help="Write it into the file.")] = False,
    json: Json = False,
) -> None:
    """Show where another expert than the map's is surely better by now; a person applies it."""
    from coe.cli.learn import propose

    propose(config, apply=apply, as_json=json)


@learn_app.command("snapshots")
def learn_snapshots(config: Config = None, *, json: Json = False) -> None:
    """List the snapshots of what was learnt."""
    from coe.cli.learn import list_snapshots

    list_snapshots(config, as_json=json)


@learn_app.command("rollback")
def learn_rollback(
    number: Annotated[int, typer.Argument(min=1, help="Of the snapshot that is to be live.")],
    config: Config = None,
) -> None:
    """Make an old snapshot live again; a gateway that serves takes it up when it starts."""
    from coe.cli.learn import rollback

    rollback(number, config)
