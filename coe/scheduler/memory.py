"""Memory as data: pools with sizes, experts with sizes, and what may lie beside what.

Three tiers, as on SN40L (arXiv 2405.07518, section VI): accelerator, host memory, disk. Weights are
in one of the first two at a time, but for the moment of a load: an expert that leaves the
accelerator is parked in host memory, which is quick to come back from, or is gone and read again.
There, copies of what is on the accelerator stay; servers of ours do not keep them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from coe.scheduler.events import Source

NEW_LOAD = 0.2
"""Weight of a new measurement against the mean of the older ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """One memory budget into which experts are packed.

    Attributes:
        memory: bytes on the accelerator that experts may take, less what is kept for their caches.
        host: bytes of host memory where experts that leave may be parked; None where they are not.
        width: experts that may work at the same time; None where every resident one may. An adapter
            works with its base: together they count as one.
    """

    name: str
    memory: int
    host: int | None = None
    width: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Expert:
    """What the scheduler knows of an expert before it has seen it work.

    Attributes:
        memory: bytes, as declared; a measured size takes over.
        base: the expert that this one is an adapter of; it has the base's pool and slots.
        max_loras: of a base, how many of its adapters may be resident at once; None for all.
        concurrency: calls in flight, those of its adapters included.
        load_s: bringing it in from disk; measured times take over, here and below.
        host_s: bringing it in from host memory, where it was parked; None where nobody guesses.
        call_s: one call.
        pinned: loaded first, never unloaded.
        preferred: loaded next, unloaded last, and brought back when nobody needs the room.
    """

    name: str
    pool: str
    memory: int
    base: str | None = None
    max_loras: int | None = None
    concurrency: int = 1
    load_s: float = 1.0
    host_s: float | None = None
    call_s: float = 1.0
    pinned: bool = False
    preferred: bool = False


class LoadTimes:
    """What it takes to bring an expert in, by where it comes from: guesses until it was measured.

    Attributes:
        disk_s, host_s: expected now.
        from_disk, from_host: loads that were measured; of a guess there are none.
    """

    __slots__ = ("disk_s", "from_disk", "from_host", "host_s")

    def __init__(self) -> None:
        self.disk_s = self.host_s = 0.0
        self.from_disk = self.from_host = 0

    def guess(self, expert: Expert) -> None:
        """Take what is said of an expert for what was not measured."""
        if not self.from_disk:
            self.disk_s = expert.load_s
        if not self.from_host:
            self.host_s = expert.load_s if expert.host_s is None else expert.host_s

    def learn(self, took_s: float, source: Source) -> None:
        """Let a measured load count; the first from each tier replaces the guess."""
        if source == "disk":
            self.from_disk += 1
            self.disk_s += max(NEW_LOAD, 1 / self.from_disk) * (took_s - self.disk_s)
        else:
            self.from_host += 1
            self.host_s += max(NEW_LOAD, 1 / self.from_host) * (took_s - self.host_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is known beside a layout, and outlives whoever works by it.

    Attributes:
        parked: bytes of those in host memory.
        times: what was measured of loads, by expert; whoever works by it keeps it up to date.
    """

    parked: Mapping[str, int] = field(default_factory=dict)
    times: dict[str, LoadTimes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Pools and experts that fit together. Raises ValueError with the first thing that does not."""

    pools: tuple[Pool, ...]
    experts: tuple[Expert, ...]
    _experts: dict[str, Expert] = field(init=False, repr=False, compare=False)
    _adapters: dict[str, tuple[Expert, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check names, bases and what is pinned."""
        object.__setattr__(self, "_experts", {e.name: e for e in self.experts})
        adapters: dict[str, tuple[Expert, ...]] = {}
        for expert in self.experts:
            if expert.base is not None:
                adapters[expert.base] = (*adapters.get(expert.base, ()), expert)
        object.__setattr__(self, "_adapters", adapters)
        _unique("pool", (p.name for p in self.pools))
        _unique("expert", (e.name for e in self.experts))
        known = {pool.name for pool in self.pools}
        for expert in self.experts:
            self._check(expert, known)
        for pool in self.pools:
            pinned = sum(
                footprint(e, self.adapters(e.name))
                for e in self.experts
                if e.pinned and e.base is None and e.pool == pool.name
            )
            if pinned > pool.memory:
                raise ValueError(
                    f"pool `{pool.name}` has {pool.memory} bytes and its pinned experts need"
                    f" {pinned}: pin fewer of them, or give it more memory"
                )

    def adapters(self, base: str) -> tuple[Expert, ...]:
        """Return the adapters of an expert."""
        return self._adapters.get(base, ())

    def _check(self, expert: Expert, pools: set[str]) -> None:
        if expert.pool not in pools:
            raise ValueError(f"expert `{expert.name}` names an unknown pool `{expert.pool}`")
        if expert.concurrency < 1 or expert.memory < 0:
            raise ValueError(f"expert `{expert.name}` needs a slot, and a size of 0 or more")
        if expert.max_loras is not None and expert.max_loras < 1:
            raise ValueError(f"expert `{expert.name}` has max_loras {expert.max_loras}; at least 1")
        if expert.base is None:
            return
        base = self._experts.get(expert.base)
        if base is None or base.base is not None:
            raise ValueError(f"expert `{expert.name}` is an adapter of `{expert.base}`, no base")
        if base.pool != expert.pool:
            raise ValueError(f"adapter `{expert.name}` is not in the pool of its base")


def footprint(base: Expert, adapters: Sequence[Expert]) -> int:
    """Return the bytes that an expert takes with room for as many adapters as may join it.

    That room is set aside with the base, as vLLM does it; so an adapter that is brought to a
    resident base never costs another expert its place.
    """
    sizes = sorted((a.memory for a in adapters), reverse=True)
    return base.memory + sum(sizes[: base.max_loras])


def fewest(sizes: Sequence[int], *, needed: int) -> tuple[int, ...] | None:
    """Return which things to remove so that `needed` is freed, preferring the first.

    The sizes are of what may be removed, the best to remove first. Returned are the places of the
    shortest prefix that is enough, less what it then turns out to hold for nothing; None where all
    of them are not enough.
    """
    chosen: list[int] = []
    freed = 0
    for i, size in enumerate(sizes):
        if freed >= needed:
            break
        chosen.append(i)
        freed += size
    if freed < needed:
        return None
    for i in reversed(chosen):
        if freed - sizes[i] >= needed:
            chosen.remove(i)
            freed -= sizes[i]
    return tuple(chosen)


def _unique(kind: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"two of the {kind}s are called `{name}`")
        seen.add(name)
