"""Checks of what is packed into memory: what is pinned fits, and everybody else fits beside it."""

from __future__ import annotations

from importlib.metadata import entry_points

from coe.composition.check_backends import WITH_URL
from coe.composition.check_experts import is_lora
from coe.composition.expert_keys import BackendKeys, ExpertKeys, LoadTimeKeys
from coe.composition.models import FileKeys
from coe.composition.report import Report, suggestion
from coe.composition.units import format_duration, format_size
from coe.composition.values import LOAD_TIME_S

AFFINITY = "affinity"

# What a third party's type can do is known when it is built.
CAN_PARK = frozenset({"local", "vllm"})
NEVER_PARK = (WITH_URL | {"litellm", "program"}) - CAN_PARK


def check_batching(file: FileKeys, report: Report) -> None:
    """Report plugins that are not there, and experts that cannot be packed."""
    for key, group in (("strategy", "coe.orderings"), ("evict", "coe.evictions")):
        installed = {point.name for point in entry_points(group=group)}
        if (named := getattr(file.batching, key)) not in installed:
            hint = suggestion(named, installed, what="installed")
            report.error(("batching", key), f"no `{group}` plugin is named `{named:.60}`", hint)
    if file.batching.ageing is not None and file.batching.strategy != AFFINITY:
        message = f"`ageing` is for the strategy `{AFFINITY}`"
        report.error(("batching", "ageing"), message, "remove it", key=True)
    for name, expert in file.experts.items():
        _check_use(name, expert, file, report)
    for name, backend in file.backends.items():
        if report.has_broken(("backends", name)):
            continue
        if backend.host_memory is not None:
            _check_parking(name, backend, file, report)
        if backend.memory is not None:
            _check_packing(name, backend, file, report)


def _check_use(name: str, expert: ExpertKeys, file: FileKeys, report: Report) -> None:
    """Report keys that say something about memory where nobody reads them."""
    base = file.experts.get(expert.base or "") if is_lora(expert) else None
    backend = file.backends.get((base or expert).backend or "")
    if backend is None:
        return
    path = ("experts", name)
    is_pinned = expert.residency == "pinned"
    if is_pinned and base is not None and base.residency != "pinned":
        message = f"it is pinned and its base `{expert.base}` may leave"
        report.error((*path, "residency"), message, "pin the base, too")
    if backend.memory is None:
        is_kept = expert.residency != "on_demand"
        for key, is_set in (("residency", is_kept), ("load_time", expert.load_time is not None)):
            if is_set:
                message = (
                    f"`{key}` has no effect: backend `{(base or expert).backend}` has no `memory`"
                )
                report.warning((*path, key), message, "say how much there is, or remove it")
        return
    if expert.load_time is not None:
        _check_load_time(name, expert.load_time, backend, report)
    if base is None and expert.memory is None and "batching" in report.document.content:
        message = f"`memory` is missing: `{expert.backend}` packs its experts by their size"
        report.error(path, message, "say what it takes, such as `memory: 17GiB`", key=True)


def _check_load_time(name: str, times: LoadTimeKeys, backend: BackendKeys, report: Report) -> None:
    """Report guesses of loads from host memory that say nothing, or what cannot be meant."""
    at = ("experts", name, "load_time", "host")
    if times.host is None:
        return
    if backend.host_memory is None:
        message = "`host` has no effect: its backend has no `host_memory`"
        report.warning(at, message, "say how much there is, or remove it")
    elif times.host >= (times.disk or LOAD_TIME_S):
        message = f"not faster than from disk ({format_duration(times.disk or LOAD_TIME_S)})"
        report.warning(at, message, "are the two swapped?")


def _check_parking(name: str, backend: BackendKeys, file: FileKeys, report: Report) -> None:
    """Report host memory that nobody can be parked in."""
    at = ("backends", name, "host_memory")
    if backend.type in NEVER_PARK:
        can = " and ".join(f"`{kind}`" for kind in sorted(CAN_PARK))
        message = f"a backend of type `{backend.type}` cannot park experts in host memory"
        report.error(at, message, f"remove it; {can} can", key=True)
    elif backend.memory is None:
        message = "nobody leaves for host memory where `memory` is not managed"
        report.error(at, message, "add `memory`: what experts may take beside it", key=True)
    else:
        bases = {one: keys.backend for one, keys in file.experts.items() if not is_lora(keys)}
        here = [
            one for one in file.experts.values() if bases.get(one.base or "", one.backend) == name
        ]
        smallest = min((one.memory for one in here if one.memory is not None), default=0)
        if smallest > (backend.host_memory or 0):
            message = f"too small for every expert: the smallest takes {format_size(smallest)}"
            report.warning(at, message, "raise it, or remove it")


def _check_packing(name: str, backend: BackendKeys, file: FileKeys, report: Report) -> None:
    """Report the experts that never fit beside those that are pinned.

    An expert takes its place together with room for its largest adapters; see
    `coe.scheduler.memory.footprint`.
    """
    room = (backend.memory or 0) - (backend.reserve or 0)
    sizes = {
        expert: _footprint(expert, keys, backend, file)
        for expert, keys in file.experts.items()
        if keys.backend == name and not is_lora(keys)
    }
    pinned = [expert for expert in sizes if file.experts[expert].residency == "pinned"]
    taken = sum(sizes[expert] for expert in pinned)
    if taken > room > 0:
        report.error(
            ("backends", name, "memory"),
            f"the pinned experts {', '.join(pinned)} take {format_size(taken)} with their adapters,"
            f" and there is room for {format_size(room)} (memory less reserve)",
            "pin fewer of them, or lower `max_loras`",
        )
        return
    for expert, size in sizes.items():
        own = file.experts[expert].memory or 0
        left = room - (taken if expert not in pinned else 0)
        largest = max(_adapters(expert, file), default=0)
        if size <= left or own + largest > room:  # reported elsewhere: not even these two fit
            continue
        with_loras = " with room for its adapters" if size > own else ""
        beside = f" beside what is pinned ({format_size(taken)})" if left < room else ""
        report.error(
            ("experts", expert, "memory"),
            f"never fits: {format_size(size)}{with_loras}{beside}, but `{name}` has room for"
            f" {format_size(room)} (memory less reserve)",
            "lower `max_loras` of the backend" if size > own else "correct a size, or pin less",
        )


def _footprint(name: str, expert: ExpertKeys, backend: BackendKeys, file: FileKeys) -> int:
    adapters = sorted(_adapters(name, file), reverse=True)
    return (expert.memory or 0) + sum(adapters[: backend.max_loras])


def _adapters(base: str, file: FileKeys) -> list[int]:
    """Return the sizes of an expert's adapters."""
    return [one.memory or 0 for one in file.experts.values() if is_lora(one) and one.base == base]
