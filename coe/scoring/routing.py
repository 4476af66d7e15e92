"""What the composition's router says of prompts: how much each belongs to each category."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence

from coe import pipeline
from coe.composition import Composition
from coe.composition.lock import own_thresholds, parts, read_lock
from coe.errors import RouterUnavailable
from coe.pipeline import Gateway
from coe.planner import AUTO
from coe.protocols import Encoder
from coe.scoring.prices import about
from coe.scoring.rows import Row
from coe.stores.outcomes import Prompt
from coe.tools import Progress
from coe.types import Decision, Query

_AT_ONCE = 64


def router_mark(composition: Composition, encoders: Mapping[str, Encoder]) -> str:
    """Return what changes whenever a prompt could get other probabilities.

    Args:
        composition: whose router decides.
        encoders: that the router stands on, by name.
    """
    name = composition.routing.router
    if name is None:
        return ""
    lock = read_lock(composition)
    meaning = [
        *own_thresholds(composition).items(),
        *(lock.thresholds.items() if lock is not None else ()),
        *parts(composition, name).items(),
        *((key, encoder.fingerprint) for key, encoder in encoders.items()),
    ]
    return f"{name}:{hashlib.sha256(repr(meaning).encode()).hexdigest()[:16]}"


async def route_all(
    gateway: Gateway, rows: Sequence[Row], mark: str, progress: Progress
) -> tuple[tuple[Prompt, ...], tuple[str, ...]]:
    """Return what the router says of rows, and why it says nothing of some.

    Args:
        gateway: its router is loaded.
        rows: to be routed.
        mark: see `router_mark`.
        progress: told as it goes on.
    """
    prompts: list[Prompt] = []
    failures: list[str] = []
    nothing = dict.fromkeys(gateway.composition.categories, 0.0)
    for start in range(0, len(rows), _AT_ONCE):
        progress("routing prompts", start, len(rows))
        some = rows[start : start + _AT_ONCE]
        for row, decision in zip(
            some, await asyncio.gather(*(_decide(gateway, row) for row in some)), strict=True
        ):
            if decision.reason == "router-failed":
                failures.append(f"{row.place}: {decision.detail}")
            else:
                shares = {**nothing, **believed(decision)}
                prompts.append(Prompt(digest=row.digest, probabilities=shares, router=mark))
    progress("routing prompts", len(rows), len(rows))
    if rows and not prompts:
        raise RouterUnavailable(f"no prompt could be routed ({failures[0]})")
    return tuple(prompts), tuple(failures)


async def _decide(gateway: Gateway, row: Row) -> Decision:
    body = {"messages": row.messages}
    query = Query(id=row.digest, model=AUTO, body=body, tokens=about(row))
    return await pipeline.route(gateway, query)


def believed(decision: Decision) -> dict[str, float]:
    """Return how much a prompt belongs to each category, as a fitted map reads its decision.

    Scores that are no probabilities say nothing but which category was chosen. Probabilities count
    as they are, whether the router abstained or not: what is missing to 1 says already how likely
    none of the categories is.

    See also `coe.mapping.choose.Chooser.memberships`, which reads live decisions.
    """
    if not decision.calibrated:
        return {row.name: float(row.name == decision.category) for row in decision.ranked}
    return {row.name: row.probability for row in decision.ranked}
