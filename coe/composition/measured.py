"""What scores were measured with, as digests by key path, and what of it is still as it was.

A fitted map holds what it was measured with, as a lock does. An expert that answers differently now
is another expert, and a category with other texts is another category: their cells say nothing of
them. Whatever else changed (the router, an encoder, a margin) moves prompts between categories; the
cells are then a little off, and are used all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from coe.composition.lock import differences, parts
from coe.composition.revisions import revision
from coe.composition.values import Composition

EXPERT, CATEGORY = "experts.", "categories."


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What of some scores is still about this composition.

    Attributes:
        experts: that answer as they did.
        categories: with the texts that they had.
        changes: all that is not as it was, as clauses; () if all is.
    """

    experts: frozenset[str]
    categories: frozenset[str]
    changes: tuple[str, ...]


def measured(composition: Composition) -> dict[str, str]:
    """Return a digest of every part that scores of the composition depend on, by key path.

    The experts, by their revisions, and what the scores of the router that decides depend on.
    """
    routed = parts(composition, composition.routing.router or "")
    experts = {EXPERT + name: revision(composition, name) for name in composition.experts}
    return {**routed, **experts}


def holding(then: Mapping[str, str], composition: Composition) -> Holding:
    """Return what still holds.

    Args:
        then: what `measured` returned when the scores were taken.
        composition: of now.
    """
    now = measured(composition)
    same = [path for path in now if then.get(path) == now[path]]
    return Holding(
        experts=frozenset(_names(same, EXPERT)),
        categories=frozenset(_names(same, CATEGORY)),
        changes=tuple(differences(then, now)),
    )


def _names(paths: list[str], section: str) -> list[str]:
    return [path.removeprefix(section) for path in paths if path.startswith(section)]
