from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from coe.aggregators.plain import PlainAggregator
from coe.drafts import Ask, Last, Pick, Table, Wait
from coe.errors import ConfigError
from coe.protocols import AggregatorSpec
from coe.testing.aggregators import check_aggregator

Lay = Callable[..., Table]


class Shortest(PlainAggregator):
    options = {"least": 2, "share": 0.5}  # noqa: RUF012 - as users write it

    def choose(self, table: Table) -> Last:
        long = [draft for draft in table.good if len(draft.text) >= self.options["least"]]
        best = min(long or table.good, key=lambda draft: len(draft.text))
        return Pick(member=best.member, why="the shortest")


def shortest(**options: Any) -> Shortest:
    return Shortest(AggregatorSpec(name="s", type="shortest", options=options))


def test_only_the_choice_is_left_to_be_written(lay: Lay) -> None:
    assert shortest().next(lay({})) == Ask((0, 1, 2))
    assert shortest().next(lay({0: "aaa"}, pending=(1, 2))) == Wait()
    assert shortest().next(lay({0: "aaa", 1: "bb", 2: "c"})) == Pick(member=1, why="the shortest")
    assert shortest(least=1).next(lay({0: "aaa", 1: "bb", 2: "c"})) == Pick(
        member=2, why="the shortest"
    )


def test_it_keeps_the_contract() -> None:
    check_aggregator(shortest)


def test_options_have_the_types_of_their_defaults() -> None:
    assert shortest(share=1).options == {"least": 2, "share": 1.0}
    with pytest.raises(ConfigError, match=r"aggregation\.s\.least: expected a whole number"):
        shortest(least="2")
    with pytest.raises(ConfigError, match=r"aggregation\.s\.lest: unknown option \(did you mean"):
        shortest(lest=2)
