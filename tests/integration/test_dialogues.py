"""Follow-ups stay and new topics switch, over the dialogues of tests/data, with the real encoder.

The bounds are what was measured (`python -m benches.conversations`: of all turns, 0.98 of the
follow-ups stay and 0.94 of the new topics switch), less a margin for utterances that change.
A new topic that no category knows looks like a follow-up, and stays: these are only counted.
"""

from __future__ import annotations

from collections import Counter

import pytest

from benches.conversations import DEFAULT, WAYS, Score, play

pytestmark = pytest.mark.anyio

LEAST = {"start": 0.97, "stay": 0.95, "tools": 1.0, "switch": 0.88}
TURNS = {"start": 73, "stay": 173, "tools": 10, "switch": 67, "leave": 8}


@pytest.mark.timeout(300)
async def test_follow_ups_stay_and_new_topics_switch() -> None:
    scores = await play({DEFAULT: WAYS[DEFAULT]})

    total = Score()
    for score in scores.values():
        total.turns += score.turns
        total.right += score.right
        total.wrong += score.wrong
    report = {kind: f"{total.right[kind]}/{count}" for kind, count in total.turns.items()}
    print(report, *total.wrong, sep="\n")  # noqa: T201 - the report, shown by `pytest -s`
    assert total.turns == Counter(TURNS)
    assert {kind: report[kind] for kind, least in LEAST.items() if total.share(kind) < least} == {}
