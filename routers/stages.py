"""The stages of a router that is made of routers (a chain, a merge): found, checked, lined up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from coe.errors import ConfigError, RouterUnavailable
from coe.options import Options
from coe.protocols import Parts, Router, RouterSpec


def stages(spec: RouterSpec, options: Options, parts: Parts) -> tuple[Router, ...]:
    """Return the routers that the option `stages` names.

    Raises:
        ConfigError: one is missing, is the router itself, or knows a category that it does not.
    """
    names = options.names("stages")
    place = f"{options.place}.stages"
    if spec.name in names:
        raise ConfigError(f"{place}: a {spec.type} cannot be a stage of itself")
    found = tuple(parts.router(name) for name in names)
    known = {category.name for category in spec.categories}
    for stage in found:
        unknown = sorted(set(stage.categories) - known)
        if unknown:
            raise ConfigError(
                f"{place}: {stage.name!r} has categories that the {spec.type} has not: "
                f"{', '.join(unknown)}"
            )
    return found


def columns_of(categories: Sequence[str], names: Sequence[str]) -> NDArray[np.intp]:
    """Return where each of the names stands among the categories, shape (n_names,)."""
    places = {category: place for place, category in enumerate(categories)}
    return np.array([places[name] for name in names], dtype=np.intp)


def all_values(router: Router, texts: Sequence[str]) -> NDArray[np.float32]:
    """Return the scores of texts none of which may fail: work that is measured and kept.

    Raises:
        RouterUnavailable: what the router stands on did not answer, if only for one text.
    """
    scores = router.score(texts)
    if failure := next(filter(None, scores.failures), ""):
        raise RouterUnavailable(f"routers.{router.name}: {failure}")
    return scores.values
