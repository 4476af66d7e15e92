"""The base of an aggregator in ten lines: derive from it, write `choose`, and register the class.

    class Shortest(PlainAggregator):
        options = {"least": 20}

        def choose(self, table):
            long = [draft for draft in table.good if len(draft.text) >= self.options["least"]]
            best = min(long or table.good, key=lambda draft: len(draft.text))
            return Pick(member=best.member, why="the shortest")

The entry point is `shortest = "my_module:Shortest"`: a class is its own factory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from coe.aggregators.gathering import gather
from coe.drafts import Last, Step, Table
from coe.options import Options
from coe.protocols import AggregatorSpec


class PlainAggregator(ABC):
    """An aggregator of which only `choose` is missing: all are asked, as many as it takes awaited.

    Attributes:
        options: its keys with their defaults. A key that is not among them, or a value of another
            type than the default's, is refused with its place. In an instance, what holds there.
        spec: all that the composition says.
    """

    options: Mapping[str, Any] = {}

    def __init__(self, spec: AggregatorSpec) -> None:
        """Check the options. Raises ConfigError with the place and the fix."""
        self.name = spec.name
        self.spec = spec
        self.options = Options(f"aggregation.{spec.name}", spec.options).like(self.options)

    def next(self, table: Table) -> Step:
        """See `coe.protocols.Aggregator`."""
        step = gather(table)
        return self.choose(table) if step is None else step

    @abstractmethod
    def choose(self, table: Table) -> Last:
        """Return the answer; there is at least one good draft. The same table gives the same."""
