"""/v1/experiments: what experiments there are and have shown, and an end to one that does harm.

For keys with the scope `experiments`; where no keys are asked for, see
`coe.api.access.only_admins`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from fastapi import APIRouter, Depends

from coe.api.access import only_admins
from coe.composition import Experiment
from coe.decisions.log import DecisionLog
from coe.errors import NotFound
from coe.live import Live
from coe.reporting import text
from coe.reporting.gather import gather
from coe.reporting.report import Report, report
from coe.settings import Settings

Pause = Callable[[str], Awaitable[None]]


def endpoints(live: Live, log: DecisionLog, settings: Settings, pause: Pause) -> APIRouter:
    """Return the endpoints over the experiments that are served now; `pause` ends one for now."""
    table = APIRouter(
        prefix="/v1/experiments",
        tags=["experiments"],
        dependencies=[Depends(partial(only_admins, settings.admin))],
    )

    def find(name: str) -> Experiment:
        one = live.composition.experiments.get(name)
        if one is None:
            known = ", ".join(live.composition.experiments) or "none"
            raise NotFound(f"no experiment `{name:.80}`; there are: {known}", param="name")
        return one

    @table.get("")
    async def list_experiments() -> dict[str, Any]:
        """The experiments of the composition, whatever their status."""
        found = live.composition.experiments.values()
        return {"object": "list", "data": [card(one) for one in found]}

    @table.get("/{name}")
    async def get_report(name: str) -> dict[str, Any]:
        """What an experiment has shown so far, over the requests of all keys."""
        one = find(name)
        found = await asyncio.to_thread(_report, one, log, time.time())
        return {**card(one), "report": text.document(found)}

    @table.post("/{name}/pause")
    async def pause_one(name: str) -> dict[str, Any]:
        """Pause a running experiment, in the composition file as well: its arms get no requests."""
        if find(name).status == "running":
            await pause(name)
        return card(find(name))

    return table


def card(one: Experiment) -> dict[str, Any]:
    """Return what the composition says of an experiment."""
    return {
        "object": "coe.experiment",
        "name": one.name,
        "status": one.status,
        "mode": one.mode,
        "unit": one.unit,
        "arms": {arm.name: arm.share for arm in one.arms},
        "primary": one.primary,
    }


def _report(one: Experiment, log: DecisionLog, now: float) -> Report:
    store = log.store()
    records = list(store.records(experiment=one.name))
    # They are written in the order in which they ended: the first to come may be a later one.
    since = min((record.at for record in records), default=now)
    return report(one, gather(one, records, list(store.feedback(since=since))), now=now)
