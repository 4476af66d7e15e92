"""The compositions that the arms of running experiments stand for.

An arm says what is other than in the file, by path. The file with those values in it is read and
checked like any other, so that an arm cannot be what a file could not be.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product
from typing import Any

from coe.composition.experiment_keys import ExperimentKeys
from coe.composition.programs import KINDS
from coe.composition.validation import model_at
from coe.composition.values import Arms

_EXPERTS = re.compile(r"^categories\.(.+)\.experts$")

MOST = 32
"""Compositions at once: each has a router and a planner of its own."""

OPEN = ("aggregation", "categories", "default", "encoders", "models", "routers", "routing")
"""The sections that arms may change."""
OF_EXPERTS = frozenset(
    {"capabilities", "cost", "defaults", "description", "force", "max_output", "share", "skills"}
    | {"status", "tags", *KINDS}
)
"""The keys of experts that arms may change: what is not about where and how a model runs."""


def changes(keys: ExperimentKeys) -> dict[str, dict[str, Any]]:
    """Return what each arm changes, by dotted path."""
    changed: dict[str, dict[str, Any]] = {}
    for name, arm in keys.arms.items():
        # The experts of a category may be written there or in its route: here it is the route.
        values = {
            _EXPERTS.sub(r"routing.routes.\1", path): value for path, value in arm.set.items()
        }
        changed[name] = {**values, "routing.choose": arm.choose} if arm.choose else values
    return changed


def combined(experiments: Mapping[str, ExperimentKeys]) -> Iterator[Arms]:
    """Yield the arms that requests can be in together, less those that change nothing.

    A request may be in one arm of each running split; an arm of a shadow answers by itself.
    """
    splits, shadows = [], []
    for name, keys in experiments.items():
        changing = [arm for arm, values in changes(keys).items() if values]
        if keys.status == "running" and keys.mode == "split":
            splits.append([None, *((name, arm) for arm in changing)])
        elif keys.status == "running":
            shadows += [((name, arm),) for arm in changing]
    for choice in product(*splits):
        if arms := tuple(arm for arm in choice if arm is not None):
            yield arms
    yield from shadows


def changed(content: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a file's content with values put at their dotted paths; experiments are left out.

    Raises:
        ValueError: a path that arms may not change, or that leads nowhere.
    """
    new: dict[str, Any] = copy.deepcopy(dict(content))
    new.pop("experiments", None)
    for path, value in values.items():
        _put(new, path, value)
    routed = (new.get("routing") or {}).get("routes") or {}
    for name, category in (new.get("categories") or {}).items():
        if name in routed and isinstance(category, dict):
            category.pop("experts", None)
    return new


def overlapping(experiments: Mapping[str, ExperimentKeys]) -> Iterator[tuple[str, str, str]]:
    """Yield each two running splits that change the same thing: their names, and a path of it."""
    running = {
        name: sorted({path for values in changes(keys).values() for path in values})
        for name, keys in experiments.items()
        if keys.status == "running" and keys.mode == "split"
    }
    for (one, paths), (other, others) in combinations(running.items(), 2):
        both = [p for p in paths for q in others if _is_within(p, q) or _is_within(q, p)]
        if both:
            yield one, other, both[0]


def _is_within(path: str, other: str) -> bool:
    return path == other or path.startswith(f"{other}.")


def _put(content: dict[str, Any], path: str, value: Any) -> None:
    parts = path.split(".")
    _check_open(path, parts)
    here: dict[str, Any] = content
    at: tuple[str, ...] = ()
    while True:
        key, parts = _step(here, parts)
        if not parts:
            here[key] = copy.deepcopy(value)
            return
        at = (*at, key)
        inner = here.get(key)
        if inner is None:
            inner = {}
        elif not isinstance(inner, dict):
            inner = _expanded(inner, at, path)
        here[key] = here = inner


def keys_of(content: Any, path: str) -> tuple[str, ...]:
    """Return a dotted path as keys of a file's content; of what is not there, dots part them."""
    here, parts, keys = content, path.split("."), []
    while parts:
        here = here if isinstance(here, dict) else {}
        key, parts = _step(here, parts)
        keys.append(key)
        here = here.get(key)
    return tuple(keys)


def _step(here: Mapping[str, Any], parts: Sequence[str]) -> tuple[str, list[str]]:
    """Return the next key of a path, and what is left; names may hold dots, the longest wins."""
    for size in range(len(parts), 0, -1):
        name = ".".join(parts[:size])
        if name in here:
            return name, list(parts[size:])
    return parts[0], list(parts[1:])


def _expanded(value: Any, at: tuple[str, ...], path: str) -> dict[str, Any]:
    """Return the mapping that a short form stands for."""
    try:
        return dict(model_at(at).from_short(value))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        raise ValueError(f"`{path}`: `{'.'.join(at)}` has no keys in this file") from None


def _check_open(path: str, parts: Sequence[str]) -> None:
    if not all(parts):
        raise ValueError(f"`{path}` is no path; write for example `routing.routes.code`")
    if parts[0] == "experts":
        if parts[-1] in OF_EXPERTS or not OF_EXPERTS.isdisjoint(parts):
            return
        raise ValueError(
            f"`{path}`: of experts, arms change {', '.join(sorted(OF_EXPERTS))}; for another model,"
            " add an expert and let the arm's routes name it"
        )
    if parts[0] not in OPEN:
        raise ValueError(
            f"`{path}`: arms share what runs; they change {', '.join(OPEN)} and experts' keys"
        )
