"""Where a trace is played and by which rules: said in numbers, or by a composition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from coe.composition import Backend, Composition, load
from coe.composition.units import format_size
from coe.errors import ConfigError
from coe.packing import experts_of, layout_of, options_of, ordering_of, unsized
from coe.registry import Registry
from coe.scheduler.baselines import FirstCome, LlamaSwap
from coe.scheduler.measures import most_at_once
from coe.scheduler.memory import Expert, Layout, Pool
from coe.scheduler.options import Options
from coe.scheduler.simulate import Engine, Rule
from coe.scheduler.state import Scheduler
from coe.scheduler.traces import Arrival

SLOTS, CONCURRENCY, LOAD_S = 1, 16, 0.8
FIRST_COME, COALESCING, LLAMA_SWAP = "first come", "coalescing", "llama-swap's rule"


class Numbers(NamedTuple):
    """What the command line says of the place where a trace is played; None where it does not.

    Attributes:
        slots: experts in memory at once.
        width: of those, how many may work at the same time; all without it.
        load_s: what a load takes.
        slowdown: what each further call of a batch adds to all of them, as a share of one alone;
            without it calls do not feel each other.
        goal: see `Options`.
    """

    slots: int | None = None
    width: int | None = None
    concurrency: int | None = None
    load_s: float | None = None
    slowdown: float | None = None
    goal: float | None = None

    def refuse_backend(self, backend: str | None) -> None:
        """Raise ConfigError where a backend is named and no file that has it."""
        if backend is not None:
            raise ConfigError(f"--backend {backend}: say in which file, with --composition")

    def refuse_memory(self, file: Path) -> None:
        """Raise ConfigError where it says what a composition says, too."""
        said = {"slots": self.slots, "concurrency": self.concurrency, "load": self.load_s}
        for option, value in said.items():
            if value is not None:
                raise ConfigError(f"--{option}: {file} says that; leave one of the two out")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What every rule is given.

    Attributes:
        slots: experts that memory holds at once, at the most.
        rules: by name, each as it is before the first call.
        said: memory and loads in a sentence.
    """

    layout: Layout
    slots: int
    engine: Engine
    rules: Mapping[str, Rule]
    said: str


def of_numbers(trace: Sequence[Arrival], numbers: Numbers) -> Case:
    """Return the case of experts that are all alike."""
    slots, width = numbers.slots or SLOTS, numbers.width
    concurrency = numbers.concurrency or CONCURRENCY
    load_s = LOAD_S if numbers.load_s is None else numbers.load_s
    experts = tuple(
        Expert(name=name, pool="pool", memory=1, concurrency=concurrency, load_s=load_s)
        for name in sorted({call.expert for call in trace})
    )
    pool = Pool(name="pool", memory=slots, width=width)
    layout = Layout(pools=(pool,), experts=experts)
    options = Options(max_queue=10**9, max_queue_per_key=10**9)
    if numbers.goal is not None:
        options = replace(options, goal=numbers.goal)
    registry = Registry()
    ours: dict[str, Rule] = {
        name: Scheduler(layout, options, ordering=registry.load("coe.orderings", name)())
        for name in registry.names("coe.orderings")
    }
    works = "" if width is None else f", of which {width} may work at a time"
    return Case(
        layout=layout,
        slots=slots,
        engine=Engine(slowdown=numbers.slowdown),
        rules={**_baselines(layout, slots), **ours},
        said=f"Memory holds {slots} of the {len(experts)} experts at once{works}; a load takes"
        f" {load_s:g} s.",
    )


def of_composition(
    trace: Sequence[Arrival],
    file: Path,
    backend: str | None,
    numbers: Numbers,
    *,
    source: str,
) -> Case:
    """Return the case of a backend of a composition: its memory, and what its experts say.

    Args:
        trace: the calls.
        file: the composition.
        backend: its name; None where only one has `memory`.
        numbers: what no composition says; a goal counts instead of the composition's.
        source: of the trace, for messages.

    Raises:
        ConfigError: the file is no composition, there is no such backend, it does not say what is
            packed into it, the trace names experts that it does not have, or numbers say what the
            file says.
    """
    numbers.refuse_memory(file)
    composition = load(file)
    entry = _backend(composition, backend, file)
    experts = experts_of(composition, entry.name)
    if unknown := unsized(experts):
        raise ConfigError(
            f"{file}: `memory` of {', '.join(unknown)} is missing: say what it takes, such as"
            " `memory: 17GiB`"
        )
    _check_names(trace, {one.name for one in experts}, entry.name, file, source)
    layout = layout_of(entry, experts)
    if numbers.width is not None:
        pools = tuple(replace(pool, width=numbers.width) for pool in layout.pools)
        layout = replace(layout, pools=pools)
    options = options_of(composition)
    if numbers.goal is not None:
        options = replace(options, goal=numbers.goal)
    registry = Registry()
    ours: dict[str, Rule] = {
        name: Scheduler(
            layout,
            options,
            ordering=ordering_of(name, composition, registry),
            eviction=registry.load("coe.evictions", composition.batching.evict)(),
        )
        for name in registry.names("coe.orderings")
    }
    slots = most_at_once(layout)
    others = _baselines(layout, slots) if _are_alike(layout) else {}
    return Case(
        layout=layout,
        slots=slots,
        engine=Engine(slowdown=numbers.slowdown),
        rules={**others, **ours},
        said=f"Backend “{entry.name}” of {file.name} has {format_size(layout.pools[0].memory)} for"
        f" {len(experts)} experts, at most {slots} of them at once; loads take"
        f" {_range(one.load_s for one in layout.experts)}{_parking(layout)}.",
    )


def _backend(composition: Composition, name: str | None, file: Path) -> Backend:
    managed = {one.name: one for one in composition.backends.values() if one.memory is not None}
    if not managed:
        raise ConfigError(f"{file}: no backend has `memory`, so nothing is packed there")
    if name is None:
        if len(managed) > 1:
            raise ConfigError(f"{file}: say which with --backend: {', '.join(managed)}")
        return next(iter(managed.values()))
    if name in managed:
        return managed[name]
    if name in composition.backends:
        raise ConfigError(f"{file}: backends.{name} has no `memory`: say how much there is")
    raise ConfigError(f"{file}: no backend `{name}`; with `memory` there are: {', '.join(managed)}")


def _check_names(
    trace: Sequence[Arrival], known: set[str], backend: str, file: Path, source: str
) -> None:
    """Report the experts that the file lacks. Raises ConfigError."""
    calls: dict[str, str] = {}
    for call in trace:
        if call.expert not in known:
            calls.setdefault(call.expert, call.id)
    if not calls:
        return
    name, line = next(iter(calls.items()))
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"it has {', '.join(sorted(known))}"
    more = f", and {len(calls) - 1} more of the trace" if len(calls) > 1 else ""
    raise ConfigError(
        f"{source}:{line}: backend `{backend}` of {file} has no expert `{name:.60}`{more}; {hint}"
    )


def _baselines(layout: Layout, slots: int) -> dict[str, Rule]:
    """Return what others do, where experts are all alike; llama-swap ends what it swaps."""
    concurrency, host = layout.experts[0].concurrency, layout.pools[0].host
    beside = None if host is None else host // layout.experts[0].memory
    rules: dict[str, Rule] = {
        FIRST_COME: FirstCome(slots=slots, batch=concurrency, coalesces=False, host=beside),
        COALESCING: FirstCome(slots=slots, batch=concurrency, coalesces=True, host=beside),
    }
    return {**rules, LLAMA_SWAP: LlamaSwap(batch=concurrency)} if slots == 1 else rules


def _are_alike(layout: Layout) -> bool:
    """Whether memory is so many places of one size, which the rules of others stand on."""
    alike = {(one.memory, one.base, one.pinned) for one in layout.experts}
    size = layout.experts[0].memory
    return len(alike) == 1 and (size, None, False) in alike and size > 0


def _parking(layout: Layout) -> str:
    """Say what host memory is for, where there is some."""
    host = layout.pools[0].host
    quick = _range(one.load_s if one.host_s is None else one.host_s for one in layout.experts)
    said = f", and {quick} from host memory, of which there are {format_size(host or 0)}"
    return "" if host is None else said


def _range(seconds: Iterable[float]) -> str:
    found = sorted(seconds)
    low, high = f"{found[0]:g}", f"{found[-1]:g}"
    return f"{low} s" if low == high else f"{low} to {high} s"
