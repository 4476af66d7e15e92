"""`coe sim | plan | scheduling`: what rules of scheduling would do, and what a gateway does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coe.cli.commands.options import Html, Json

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


def scheduling(
    url: Annotated[
        str, typer.Argument(help="Of a gateway; the key in COE_KEY is shown to it.")
    ] = "http://127.0.0.1:8088",
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
