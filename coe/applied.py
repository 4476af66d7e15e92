"""The fitted map that was applied to a composition: who ranks experts by it, and what is doubtful.

It lies beside `experts.yaml` as `experts.map`, written by `coe map apply`.

| the map | what the gateway does |
| --- | --- |
| is absent | the written lists rank; who asks for `fitted` in the file is refused at the start |
| is as it was written | it ranks where it is asked for |
| is stale | it ranks the experts that answer as they did, where the category is as it was |
| is flagged, and the guard reports | it ranks, and that is said |
| is flagged, and the guard is enforced | the best single expert is first, then the written lists |
| is no map: damaged, changed by hand | start-up is refused, with the fix |
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coe.composition import Composition
from coe.composition.measured import Holding, holding
from coe.errors import ConfigError

if TYPE_CHECKING:
    from coe.mapping import FittedMap
    from coe.mapping.choose import Chooser

SUFFIX = ".map"


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedMap:
    """A composition's map at work.

    Attributes:
        fitted: the map.
        chooser: ranks experts by it.
        notes: what is doubtful, as sentences.
        is_flagged: whether one expert for everything would do at least as well, or as cheaply.
        is_stale: whether something that it was measured with is not as it was.
        encoder: fingerprint of the encoder whose embeddings correct it; empty where none do.
    """

    fitted: FittedMap
    chooser: Chooser
    notes: tuple[str, ...]
    is_flagged: bool
    is_stale: bool
    encoder: str


def applied_map(composition: Composition) -> AppliedMap | None:
    """Return the composition's map; None where none was applied.

    Raises:
        ConfigError: the file cannot be read, or is no map.
    """
    path = composition.source.with_suffix(SUFFIX)
    if not path.exists():  # the usual case, for which numpy need not be there
        return None
    from coe.mapping.choose import Chooser
    from coe.mapping.store import read_map

    fitted = read_map(path)
    if fitted is None:
        return None
    held = holding(fitted.parts, composition)
    is_enforced = fitted.is_flagged and composition.routing.guard == "enforce"
    return AppliedMap(
        fitted=fitted,
        chooser=Chooser(
            fitted,
            experts=held.experts,
            categories=held.categories,
            instead=fitted.best_single if is_enforced else "",
        ),
        notes=tuple(_notes(fitted, held, path.name, is_enforced=is_enforced)),
        is_flagged=fitted.is_flagged,
        is_stale=bool(held.changes),
        encoder=fitted.residual.encoder if fitted.residual is not None else "",
    )


def expect_map(composition: Composition, applied: AppliedMap | None) -> None:
    """Refuse a composition that asks for a map and has none.

    Not when it is loaded or wired: to fit its first map it must be.

    Raises:
        ConfigError: with the keys that ask for it, and the fix.
    """
    if applied is not None:
        return
    asking = [f"models.{name}" for name, model in composition.models.items() if model.needs_map]
    if composition.routing.choose == "fitted":
        asking.insert(0, "routing.choose")
    if composition.learning.mode != "off":
        asking.append("learning")
    if asking:
        path = composition.source.with_suffix(SUFFIX)
        raise ConfigError(
            f"{composition.source}: {', '.join(asking)}: experts are to be chosen by a fitted map, "
            f"and there is no {path.name}; run `coe map fit` and `coe map apply`, or write "
            "`choose: ranked`"
        )


def _notes(fitted: FittedMap, held: Holding, name: str, *, is_enforced: bool) -> Iterator[str]:
    if held.changes:
        yield (
            f"{name} is stale: {', '.join(held.changes)}; until `coe map fit` and `coe map apply` "
            "are run again, it ranks only experts that answer as they did, and only where the "
            "category is as it was; others keep their place in the written lists"
        )
    if not fitted.is_flagged:
        return
    single = f"the best single expert, `{fitted.best_single}`"
    does = {"dearer": f"it costs more than {single}, and is no better"}
    why = does.get(fitted.verdict, f"it is not better than {single}")
    then = (
        f"routing.guard is `enforce`: `{fitted.best_single}` answers first, then the written lists"
        if is_enforced
        else "it is used all the same, since routing.guard is `report`"
    )
    yield f"{name} is flagged: {why}; {then}"
