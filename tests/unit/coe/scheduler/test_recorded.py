"""A record becomes JSON and is read again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from coe.scheduler.chronicle import Call, Depth, Mark, Record, Spell
from coe.scheduler.recorded import document, read

RECORD = Record(
    since_s=1.0,
    until_s=9.0,
    before={"b": "ready"},
    marks=(
        Mark(2.0, "b", "leaving", 3, "a"),
        Mark(3.0, "b", "left", 3),
        Mark(4.0, "a", "loading", 0, source="disk"),
    ),
    spells=(Spell("a", 4.0, 5.0, 2),),
    depths=(Depth(1.0, 3), Depth(4.0, 0)),
    calls=(Call(1.5, "a", 2.0, 1.5),),
)


def test_a_record_is_read_as_it_was_written() -> None:
    assert read(json.loads(json.dumps(document(RECORD)))) == RECORD


def test_times_are_those_of_the_reader() -> None:
    moved = document(RECORD, offset_s=100.0)

    assert (moved["since"], moved["until"], moved["depth"]) == (
        101.0,
        109.0,
        [[101.0, 3], [104.0, 0]],
    )
    assert moved["events"][0] == {
        "at": 102.0, "expert": "b", "what": "leaving", "waiting": 3, "for": "a",
    }  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"since": None},
        {"events": [{"at": 1, "expert": "a", "what": "sleeps", "waiting": 0}]},
        {"events": [7]},
        {"served": [{}]},
        {"depth": [[1]]},
        {"calls": [{"at": 1}]},
        {"before": []},
    ],
)
def test_something_else_is_no_record(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no record of a scheduler"):
        read(document(RECORD) | change)
