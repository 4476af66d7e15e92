"""Loads that a batch of panels takes, as it is planned: `python -m benches.batch_panels`.

1,000 prompts, for each of which three of 16 experts write a draft and a 17th writes the answer from
them (`synthesize`). The experts of a prompt are drawn by Zipf(1), without replacement. What is
asked when is found by what /v1/batches finds it by (`coe.batching.rounds`, `coe.batching.plan`);
beside it stands the order of the prompts, in which each one's drafts are merged before the next
one begins. Memory holds some of the experts, and who was asked longest ago leaves.
"""

from __future__ import annotations

import tempfile
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from benches import report
from coe import planner
from coe.aggregators import synthesize
from coe.batching.plan import lanes
from coe.batching.rounds import Need, stand
from coe.composition import Composition, load
from coe.drafting.case import Case, Result
from coe.protocols import AggregatorSpec
from coe.scheduler.traces import names, zipf
from coe.stores.records import Group
from coe.types import PanelPlan, Query

PROMPTS, EXPERTS, MEMBERS = 1000, 16, 3
MEMORY = (1, 2, 4, 8)
COLUMNS = ("1,000 panels of 3 of 16 and a writer", "calls", *(f"loads, {n} slots" for n in MEMORY))


def main() -> None:
    """Print the table."""
    report.console().print(report.table("panels in a batch", COLUMNS, rows()))


def rows() -> list[tuple[str, ...]]:
    """Return the table: an order, the calls, and the loads by what memory holds."""
    composition = _composition()
    panels = drawn()
    orders = {
        "in the order of the prompts": [
            name for members in panels for name in (*members, _writer(composition))
        ],
        "as /v1/batches plans them": list(planned(composition, panels)),
    }
    return [
        (what, f"{len(order):,}", *(f"{loads(order, slots):,}" for slots in MEMORY))
        for what, order in orders.items()
    ]


def drawn() -> list[tuple[str, ...]]:
    """Return the members of each prompt's panel."""
    rng = np.random.default_rng(0)
    experts = names(EXPERTS + 1)[:EXPERTS]
    chosen = (rng.choice(EXPERTS, MEMBERS, replace=False, p=zipf(EXPERTS)) for _ in range(PROMPTS))
    return [tuple(experts[place] for place in places) for places in chosen]


def planned(composition: Composition, panels: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Yield the expert of each call, round by round, in the order in which a batch makes them."""
    results: list[dict[str, Result]] = [{} for _ in panels]
    last: tuple[str, ...] = ()
    while needs := _needs(composition, panels, results):
        counts = Counter(need.call.expert for _, need in needs)
        groups = [
            Group(expert=name, backend="one", base=name, lines=lines)
            for name, lines in counts.items()
        ]
        for visit in (visit for lane in lanes(groups, last) for visit in lane):
            for group in visit:
                yield from [group.expert] * group.lines
                last = (group.expert,)
        for place, need in needs:
            results[place][need.key] = _said(f"{need.call.expert} says so")


def loads(order: Iterable[str], slots: int) -> int:
    """Return how often an expert has to be loaded."""
    resident: OrderedDict[str, None] = OrderedDict()
    count = 0
    for name in order:
        if name not in resident:
            count += 1
            if len(resident) == slots:
                resident.popitem(last=False)
        resident[name] = None
        resident.move_to_end(name)
    return count


def _needs(
    composition: Composition, panels: Sequence[tuple[str, ...]], results: list[dict[str, Result]]
) -> list[tuple[int, Need]]:
    body = {"model": "coe/panel", "messages": [{"role": "user", "content": "a prompt"}]}
    query = Query(id="q", model="coe/panel", body=body)
    method = synthesize.build(
        AggregatorSpec(name="panel", type="synthesize", writer=_writer(composition))
    )
    wanted: list[tuple[int, Need]] = []
    for place, members in enumerate(panels):
        experts = composition.experts
        calls = tuple(planner.call_of(composition, n, experts[n], query) for n in members)
        plan = PanelPlan(panel="panel", calls=calls, weights=(0.5,) * len(calls))
        found = stand(Case(composition, method, query, plan), results[place])
        wanted += [(place, need) for need in (found if isinstance(found, tuple) else ())]
    return wanted


def _said(text: str) -> Result:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}}
    return Result(completion={"choices": [choice]}, seconds=0.0)


def _writer(composition: Composition) -> str:
    return next(reversed(composition.experts))


def _composition() -> Composition:
    experts = names(EXPERTS + 1)
    text = (
        'version: 1\nbackends: {one: "http://127.0.0.1:9"}\nexperts:\n'
        + "".join(f"  {name}: {{backend: one, model: {name}}}\n" for name in experts)
        + f"aggregation: {{panel: {{method: synthesize, experts: [{', '.join(experts[:2])}]}}}}\n"
        f"default: {experts[0]}\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "experts.yaml")
        file.write_text(text)
        return load(file)


if __name__ == "__main__":
    main()
