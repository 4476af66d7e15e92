"""`--budget KEY=VALUE`: what a map may use, in the composition's own terms."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from coe.composition import Composition
from coe.composition.units import parse_duration, parse_money, parse_size
from coe.composition.values import Expert
from coe.errors import ConfigError
from coe.mapping.budget import Block, Constraints

FORMS = (
    "money=2USD/1k",
    "memory=gpu0:8GiB",
    "experts=4",
    "latency=2s",
    "latency=CATEGORY:2s",
    "active=4GiB",
)
_PER = re.compile(r"^(.*?) ?/ ?(?:1k|1000)$")
_COUNT = re.compile(r"^[1-9][0-9]{0,5}$")


@dataclass(slots=True)
class _Read:
    """What was read so far."""

    pools: dict[str, int] = field(default_factory=dict)
    experts: int | None = None
    money: float | None = None
    latency_s: float | None = None
    latency_of: dict[str, float] = field(default_factory=dict)
    active: float | None = None
    currency: str = ""


def read_budget(
    texts: Sequence[str], composition: Composition, candidates: Sequence[str]
) -> Constraints:
    """Return what the budgets say, and what the candidates take of them.

    Raises:
        ConfigError: a budget is none, or cannot be counted: an expert's memory is not known.
    """
    found = _Read()
    readers = {
        "money": _money,
        "memory": _memory,
        "experts": _experts,
        "latency": _latency,
        "active": _active,
    }
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or key.strip() not in readers:
            forms = ", ".join(f"`{form}`" for form in FORMS)
            raise ConfigError(f"--budget {text}: expected one of {forms}")
        reader: Callable[[_Read, str, Composition], None] = readers[key.strip()]
        try:
            reader(found, value.strip(), composition)
        except ValueError as error:
            raise ConfigError(f"--budget {text}: {error}") from None
    blocks, needs = _blocks(composition, candidates, found)
    return Constraints(
        pools=found.pools,
        blocks=blocks,
        needs=needs,
        experts=found.experts,
        money=found.money,
        latency_s=found.latency_s,
        latency_of=found.latency_of,
        active=found.active,
        sizes={name: sum(blocks[block].size for block in needs[name]) for name in needs},
        currency=_currency(found, composition, candidates),
    )


def _money(found: _Read, value: str, composition: Composition) -> None:
    del composition
    match = _PER.match(value)
    if match is None:
        raise ValueError("a budget of money is for 1,000 requests: write for example `2USD/1k`")
    _once(found.money is None)
    found.money, found.currency = parse_money(match[1])


def _memory(found: _Read, value: str, composition: Composition) -> None:
    pool, colon, size = value.partition(":")
    if pool not in composition.backends:
        raise ValueError(
            f"no backend `{pool}` in the composition (there are: "
            f"{', '.join(composition.backends)}); write for example `memory=gpu0:8GiB`"
        )
    _once(pool not in found.pools)
    backend = composition.backends[pool]
    if colon:
        found.pools[pool] = parse_size(size)
    elif backend.memory is None:
        raise ValueError(f"backends.{pool} declares no `memory`; write `memory={pool}:8GiB`")
    else:
        found.pools[pool] = backend.memory - backend.reserve


def _experts(found: _Read, value: str, composition: Composition) -> None:
    del composition
    _once(found.experts is None)
    if not _COUNT.match(value):
        raise ValueError(f"`{value}` is not a number of experts, at least 1")
    found.experts = int(value)


def _latency(found: _Read, value: str, composition: Composition) -> None:
    category, colon, most = value.rpartition(":")
    if not colon:
        _once(found.latency_s is None)
        found.latency_s = parse_duration(most)
        return
    if category not in composition.categories:
        raise ValueError(f"no category `{category}` in the composition")
    _once(category not in found.latency_of)
    found.latency_of[category] = parse_duration(most)


def _active(found: _Read, value: str, composition: Composition) -> None:
    del composition
    _once(found.active is None)
    found.active = parse_size(value)


def _once(is_first: bool) -> None:  # noqa: FBT001 - the name says it
    if not is_first:
        raise ValueError("this budget was given twice")


def _blocks(
    composition: Composition, candidates: Sequence[str], found: _Read
) -> tuple[dict[str, Block], dict[str, tuple[str, ...]]]:
    """Return what lies in memory, and what of it each candidate needs.

    Raises:
        ConfigError: a budget counts memory, and that of an expert is not known.
    """
    sizes = _sizes(composition)
    blocks: dict[str, Block] = {}
    needs: dict[str, tuple[str, ...]] = {}
    unknown: list[str] = []
    for name in candidates:
        expert = composition.experts[name]
        if found.active is None and expert.backend not in found.pools:
            continue
        parts = [expert] if expert.base is None else [expert, composition.experts[expert.base]]
        needs[name] = tuple(_key(part) for part in parts)
        unknown += [part.name for part in parts if _key(part) not in sizes]
        for key in needs[name]:
            blocks[key] = Block(pool=expert.backend, size=sizes.get(key, 0))
    if unknown:
        raise ConfigError(
            f"{composition.source}: experts without `memory`: "
            f"{', '.join(dict.fromkeys(unknown))}; a budget of memory needs it"
        )
    return blocks, needs


def _sizes(composition: Composition) -> dict[str, int]:
    """Return the bytes of every block whose size anybody says; the largest where several do."""
    found: dict[str, int] = {}
    for expert in composition.experts.values():
        size = _size(composition, expert)
        if size is not None:
            found[_key(expert)] = max(size, found.get(_key(expert), 0))
    return found


def _key(expert: Expert) -> str:
    """Return the name of an expert's block: two that serve the same weights share it."""
    return f"{expert.backend}/{expert.adapter_source or expert.model}"


def _size(composition: Composition, expert: Expert) -> int | None:
    """Return the bytes that an expert takes, without its base; None where nobody says.

    Weights that lie in a folder here take as much as their files.
    """
    if expert.memory is not None:
        return expert.memory
    folder: Path = composition.folder / (expert.adapter_source or expert.model)
    files = [path for path in folder.glob("*.safetensors") if path.is_file()]
    return sum(path.stat().st_size for path in files) or None


def _currency(found: _Read, composition: Composition, candidates: Sequence[str]) -> str:
    costs: Mapping[str, str] = {
        name: cost.currency
        for name in candidates
        if (cost := composition.experts[name].cost) is not None
    }
    others = [name for name, currency in costs.items() if currency != found.currency]
    if found.currency and others:
        raise ConfigError(
            f"--budget money: it is in {found.currency}, and experts.{others[0]}.cost in "
            f"{costs[others[0]]}"
        )
    return found.currency or next(iter(costs.values()), "USD")
