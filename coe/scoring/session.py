"""A gateway that serves nobody, for as long as experts are scored or their routing is measured."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from coe.composition import Composition
from coe.errors import ExpertLoadFailed
from coe.pipeline import Gateway
from coe.premises import Premises
from coe.scoring.routing import router_mark
from coe.scoring.run import Happened, Work, run
from coe.settings import Settings
from coe.stores.drafts import DraftStore
from coe.stores.outcomes import OutcomeStore
from coe.telemetry import Telemetry
from coe.tools import Progress
from coe.wiring import wire

_ROUTER_WAIT_S = 120.0  # many prompts at once wait for each other


async def score(
    work: Work,
    settings: Settings,
    store: OutcomeStore,
    progress: Progress,
    *,
    routed: bool = True,
    drafts: DraftStore | None = None,
) -> Happened:
    """Do the work, with routers and backends of its own.

    Args:
        work: from `coe.scoring.run.prepare`.
        settings: of the process.
        store: where outcomes are kept.
        progress: told as it goes on.
        routed: ask the composition's router about every prompt, where it has one.
        drafts: where the answers' texts are kept; None: they are not.

    Raises:
        ConfigError: the composition asks for what is not there.
        RouterUnavailable: the router says nothing of any prompt.
    """
    routed = routed and work.composition.routing.router is not None
    async with opened(work.composition, settings) as gateway:
        if routed and gateway.classifier is not None:
            await gateway.classifier.load(patient=False)
        await _load(work, gateway)
        mark = router_mark(work.composition, gateway.encoders) if routed else None
        return await run(work, gateway, store, progress, router=mark, drafts=drafts)


@asynccontextmanager
async def opened(composition: Composition, settings: Settings) -> AsyncGenerator[Gateway, None]:
    """Open a gateway that logs nothing and waits long for its router; nothing is loaded yet."""
    patient = settings.model_copy(update={"router_wait_s": _ROUTER_WAIT_S})
    gateway = wire(composition, patient, Telemetry(log_requests=False), premises=Premises())
    try:
        yield gateway
    finally:
        await gateway.aclose()


async def _load(work: Work, gateway: Gateway) -> None:
    """Load engines of ours before anybody is asked: loading is no part of an answer's latency."""
    composition = work.composition
    asked = [name for name, rows in work.left.items() if rows]
    needed = {composition.experts[name].backend for name in asked}
    needed |= {composition.root(name).backend for name in asked}
    for name in needed:
        start = getattr(gateway.backends[name], "start", None)
        if start is not None:
            with suppress(ExpertLoadFailed):  # who could not be loaded says so when asked
                await start()
