"""The base of a router in ten lines: derive from it, write `score`, and register the class itself.

    class LengthRouter(PlainRouter):
        needs = ("long", "short")
        options = {"words": 100}

        def score(self, texts):
            is_long = (len(text.split()) > self.options["words"] for text in texts)
            return self.scores({"long" if each else "short": 1.0} for each in is_long)

The entry point is `mine = "my_module:LengthRouter"`: a class is its own factory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from coe.errors import ConfigError
from coe.options import Options, nearest
from coe.protocols import Parts, RouterSpec
from coe.types import Evidence, Scores


class PlainRouter(ABC):
    """A router of which only `score` is missing.

    A subclass says what it needs, and may set:

    Attributes:
        calibrated: whether its scores are probabilities; True unless it says otherwise.
        needs: categories that the composition must have.
        options: its keys with their defaults. A key that is not among them, or a value of another
            type than the default's, is refused with its place. In an instance, what holds there.
        spec: all that the composition says: categories with their texts, experts, folders.
        parts: encoders and other routers, by name.
    """

    calibrated: bool = True
    needs: Sequence[str] = ()
    options: Mapping[str, Any] = {}

    def __init__(self, spec: RouterSpec, parts: Parts) -> None:
        """Check the options and the categories. Raises ConfigError with the place and the fix."""
        self.name = spec.name
        self.categories = tuple(category.name for category in spec.categories)
        self.spec = spec
        self.parts = parts
        given = Options(f"routers.{spec.name}", spec.options)
        self.options = given.like(self.options)
        if missing := [name for name in self.needs if name not in self.categories]:
            raise ConfigError(
                f"{given.place}: a `{spec.type}` router needs the categories "
                f"{', '.join(self.needs)}; add {', '.join(missing)}"
            )

    @abstractmethod
    def score(self, texts: Sequence[str]) -> Scores:
        """Score each text against each category, see `coe.protocols.Router`."""

    def scores(
        self,
        rows: Iterable[Mapping[str, float]],
        evidence: Iterable[Sequence[Evidence]] = (),
    ) -> Scores:
        """Return what `score` has to.

        Args:
            rows: for each text the scores by category; a category that is left out has 0.
            evidence: for each text why, the strongest first; or nothing.

        Raises:
            ValueError: a row names a category that the router has not.
        """
        columns = {name: column for column, name in enumerate(self.categories)}
        found = list(rows)
        values = np.zeros((len(found), len(columns)), dtype=np.float32)
        for place, row in enumerate(found):
            for name, score in row.items():
                if name not in columns:
                    hint = nearest(name, columns)
                    known = ", ".join(columns)
                    raise ValueError(f"no category {name!r} ({hint}there are: {known})")
                values[place, columns[name]] = score
        return Scores(values=values, evidence=tuple(tuple(row) for row in evidence))
