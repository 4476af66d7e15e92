"""The gateway that serves now, and how another one takes its place while requests are under way.

    prepare: build the new one beside the old one, with the old one's parts where entries are the
             same; load what is new
    swap:    one reference; from now on requests begin on the new one
    retire:  who began on the old one ends there; then what only the old one used is closed

A new one that cannot be built or loaded changes nothing.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Any

from coe.applied import expect_map
from coe.classify import Classifier
from coe.composition import Composition
from coe.composition.edit import Change, Rewrite, rewriting, unchanged
from coe.errors import CoEError, ConfigError, Conflict, ExpertLoadFailed
from coe.packing import parking_of, residency_of
from coe.pipeline import Gateway, Load
from coe.premises import Premises
from coe.protocols import Backend
from coe.scheduler.loop import Slots
from coe.settings import Settings
from coe.wiring import serve_again, wire

logger = logging.getLogger(__name__)

Part = Classifier | Backend | Slots
Swapped = Callable[[Composition, Composition, str], Awaitable[None]]

_ROUTER = "router"
_FORBIDDEN = frozenset({errno.EROFS, errno.EACCES, errno.EPERM, errno.EBUSY})


class Hold:
    """One gateway, and how many requests are on it. Enter it for as long as a request lasts."""

    __slots__ = ("_left", "gateway", "users")

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.users = 0
        self._left: Callable[[], None] | None = None

    def __enter__(self) -> Gateway:
        """Return the gateway, which stays open until this is left."""
        self.users += 1
        return self.gateway

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go; the last one out of a gateway that was replaced says so."""
        self.users -= 1
        if not self.users and self._left is not None:
            self._left()

    def when_left(self, left: Callable[[], None]) -> None:
        """Call `left` when nobody is on it any more, at once if so."""
        self._left = left
        if not self.users:
            left()


class Live:
    """The gateway that serves now. Belongs to one event loop.

    Attributes:
        current: enter it to serve a request; asked for anew by each.
        readiness: `loading`, `ready` or what went wrong, by the name of what is loaded.
        when_swapped: told what was served, what is from now on, and why; before who asked for it
            goes on. None where nobody listens.
    """

    def __init__(
        self,
        gateway: Gateway,
        settings: Settings,
        on_failure: Callable[[ConfigError], None] | None = None,
    ) -> None:
        """Store the parts.

        Args:
            gateway: the first one.
            settings: of the process.
            on_failure: told when loading the first one shows that the composition asks for what is
                not there.
        """
        self.current = Hold(gateway)
        self.readiness: dict[str, str] = {}
        self.when_swapped: Swapped | None = None
        self.telemetry = gateway.telemetry
        self.telemetry.managed = gateway.slots
        self._settings = settings
        self._on_failure = on_failure
        self._leaving: set[Hold] = set()
        self._editing = asyncio.Lock()
        self._replacing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loading: dict[str, asyncio.Task[None]] = {}
        self._tell_of_map()
        self.telemetry.tracing.follow(self.composition)

    @property
    def composition(self) -> Composition:
        """What is served now."""
        return self.current.gateway.composition

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Load what the first gateway needs in the background; close everything in the end."""
        premises = self.current.gateway.premises or Premises()
        async with premises.running():
            for name, load in self.current.gateway.loads().items():
                self._loading[name] = self._begin(self._load(name, load))
            try:
                yield
            finally:
                await self._end()

    async def _end(self) -> None:
        """Close everything."""
        for task in self._loading.values():
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        gateways = [self.current.gateway, *(hold.gateway for hold in self._leaving)]
        await _close(part for gateway in gateways for part in _parts(gateway))
        self.telemetry.flush()
        await asyncio.to_thread(self.telemetry.tracing.close)

    async def edit(self, change: Change = unchanged, why: str = "edit") -> Composition:
        """Edit the composition file and serve what it then holds: both happen, or neither.

        Edits follow each other.

        Args:
            change: the edit; without one, the file is served as it is now.
            why: in a word or two.

        Raises:
            RequestError: as `change` raises.
            ConfigError, RouterUnavailable, ExpertLoadFailed: as `replacing` raises them, or the
                file would not be one that can be served.
            CoEError: the file cannot be written.
        """
        async with self._editing:
            with ExitStack() as stack:
                path = self.composition.source
                edit = await asyncio.to_thread(stack.enter_context, rewriting(path, change))
                async with self.replacing(edit.composition, why):
                    await asyncio.to_thread(_commit, edit)
                return edit.composition

    async def replace(self, composition: Composition, why: str = "edit") -> None:
        """Serve another composition from now on. Raises as `replacing`; nothing changes then."""
        async with self.replacing(composition, why):
            pass

    @asynccontextmanager
    async def replacing(self, composition: Composition, why: str = "edit") -> AsyncIterator[None]:
        """Have another composition ready to be served: it is, once the block ends without error.

        One at a time; who comes meanwhile waits.

        Raises:
            ConfigError: it asks for what is not there.
            RouterUnavailable: what its router stands on does not answer.
            ExpertLoadFailed: one of its new experts cannot be loaded by our own engine.
        """
        async with self._replacing:
            old = self.current.gateway
            new = None
            try:
                new = wire(composition, self._settings, self.telemetry, before=old)
                expect_map(composition, new.applied)
                prepared = await _prepare(new, old)
                yield
            except BaseException:
                serve_again(old, self._settings)
                if new is not None:
                    await _close(part for part in _parts(new) if not _is_in(part, _parts(old)))
                raise
            self._swap(new, prepared)
            for note in new.notes:
                logger.warning(note)
            if self.when_swapped is not None:
                await self.when_swapped(old.composition, composition, why)

    def _swap(self, gateway: Gateway, prepared: dict[str, str]) -> None:
        leaving, self.current = self.current, Hold(gateway)
        self._tell_of_map()
        self.telemetry.tracing.follow(self.composition)
        if gateway.learner is not None and leaving.gateway.learner is not None:
            gateway.learner.follow(leaving.gateway.learner)  # it has learnt on meanwhile
        then, now = leaving.gateway.loads(), gateway.loads()
        # As it is by now: what the first gateway loads may have ended while this one was prepared.
        readiness = {name: self.readiness.get(name, "ready") for name in now} | prepared
        for name, task in self._loading.items():
            if now.get(name) != then.get(name):
                task.cancel()  # nobody waits for what it loads any more
            elif name in now and not task.done():
                readiness[name] = "loading"
        self.readiness.clear()
        self.readiness.update(readiness)
        for one in gateway.family:
            if one.classifier is not None:
                one.classifier.follow(one.composition, one)
        for name, slots in gateway.slots.items():
            backend = gateway.backends[name]
            if (residency := residency_of(backend)) is not None:
                slots.reach(residency, parking_of(backend))
            slots.change(gateway.setups[name])
        self.telemetry.managed = gateway.slots
        self._leaving.add(leaving)
        leaving.when_left(partial(self._retire, leaving))

    def _retire(self, hold: Hold) -> None:
        """Close what nobody uses any more, now that no request is on this gateway."""
        self._leaving.discard(hold)
        used = [self.current.gateway, *(other.gateway for other in self._leaving)]
        kept = [part for gateway in used for part in _parts(gateway)]
        self._begin(_close([part for part in _parts(hold.gateway) if not _is_in(part, kept)]))

    def _tell_of_map(self) -> None:
        applied = self.current.gateway.applied
        self.telemetry.map_is_flagged = applied is not None and applied.is_flagged
        self.telemetry.map_is_stale = applied is not None and applied.is_stale

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _load(self, name: str, load: Load) -> None:
        self.readiness[name] = "loading"
        try:
            await load()
        except CoEError as error:
            logger.error("%s: %s", name, error.message)  # noqa: TRY400 - operators want the sentence
            self.readiness[name] = error.message
            if isinstance(error, ConfigError) and self._on_failure is not None:
                self._on_failure(error)
        else:
            self.readiness[name] = "ready"


def _commit(edit: Rewrite) -> None:
    try:
        edit.commit()
    except ConfigError as error:  # that the disk does not take it says nothing of the composition
        if isinstance(cause := error.__cause__, OSError) and cause.errno in _FORBIDDEN:
            raise Conflict(
                f"{error.message}; it is not the gateway's to write: change it where it comes from"
            ) from error
        raise CoEError(error.message) from error


async def _prepare(new: Gateway, old: Gateway) -> dict[str, str]:
    """Load what is new of a gateway; return how ready it is, by name."""
    readiness = await _prepare_routers(new, old)
    for name, backend in new.backends.items():
        if name in new.slots:  # its experts are loaded when they are asked for
            if new.slots[name] is not old.slots.get(name):
                await new.slots[name].open()
                readiness[f"backend {name}"] = "ready"
            continue
        start = getattr(backend, "start", None)
        if start is None or not (fresh := _fresh(name, new, old)):
            continue
        try:
            await start()
            readiness[f"backend {name}"] = "ready"
        except ExpertLoadFailed as error:
            # Who could not be loaded before either does not stand in the way of the others.
            if fresh - set(await backend.models()):
                raise
            readiness[f"backend {name}"] = error.message
    return readiness


async def _prepare_routers(new: Gateway, old: Gateway) -> dict[str, str]:
    loaded = [one.classifier for one in old.family]
    for one in new.family:
        if one.classifier is not None and one.classifier not in loaded:
            await one.classifier.load(patient=False)
            loaded.append(one.classifier)
    fresh = new.classifier is not old.classifier
    return {
        name: "ready"
        for name in new.loads()
        if name.startswith(_ROUTER) and (fresh or name != _ROUTER)
    }


def _fresh(backend: str, new: Gateway, old: Gateway) -> set[str]:
    """Return the experts of a backend that it did not serve, or not with the same weights."""

    def sites(gateway: Gateway) -> dict[str, tuple[str, str | None, object]]:
        return {
            name: (expert.model, expert.adapter_source, gateway.backends[backend])
            for name, expert in gateway.composition.experts.items()
            if expert.backend == backend
        }

    before = sites(old) if backend in old.backends else {}
    return {name for name, site in sites(new).items() if before.get(name) != site}


def _parts(gateway: Gateway) -> list[Part]:
    """Return what has to be closed."""
    family = gateway.family
    classifiers = [one.classifier for one in family if one.classifier is not None]
    slots = [slot for one in family for slot in one.slots.values()]
    return [*classifiers, *slots, *(backend for one in family for backend in one.backends.values())]


def _is_in(part: Part, parts: Iterable[Part]) -> bool:
    return any(part is other for other in parts)


async def _close(parts: Iterable[Part]) -> None:
    """Close parts in their order, each once; one that fails keeps none of the others open."""
    closing: list[Part] = []
    for part in parts:
        if not _is_in(part, closing):
            closing.append(part)
    async with AsyncExitStack() as stack:
        for part in reversed(closing):
            if isinstance(part, Classifier):
                stack.callback(part.close)
            else:
                stack.push_async_callback(part.aclose)
