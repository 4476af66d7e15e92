"""Memory as data: pools with sizes, experts with sizes, and what may lie beside what.

Three tiers, as on SN40L (arXiv 2405.07518, section VI): accelerator, host memory, disk. Weights are
only read, so an expert that leaves the accelerator costs nothing; what it costs to come back
depends on whether host memory still has a copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """One memory budget into which experts are packed.

    Attributes:
        memory: bytes on the accelerator that experts may take, less what is kept for their caches.
        host: bytes of host memory for copies of weights; None where all of them fit.
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
        load_s: from host memory to the accelerator; measured times take over, here and below.
        fetch_s: more than that where the weights are on disk.
        call_s: one call.
        pinned: loaded first, never unloaded.
    """

    name: str
    pool: str
    memory: int
    base: str | None = None
    max_loras: int | None = None
    concurrency: int = 1
    load_s: float = 1.0
    fetch_s: float = 0.0
    call_s: float = 1.0
    pinned: bool = False


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
