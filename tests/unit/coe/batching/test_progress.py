from __future__ import annotations

import pytest

from coe.batching.progress import progress
from coe.stores.records import Batch, Group, Status, part


def batch(
    total: int,
    completed: int,
    ran_s: float,
    status: Status = "in_progress",
    *,
    placed: int | None = None,
    partly: float = 0.0,
) -> Batch:
    return Batch(
        seq=1,
        id="batch_1",
        endpoint="/v1/chat/completions",
        input_file_id="file-1",
        completion_window="24h",
        status=status,
        created_at=0,
        expires_at=1,
        total=total,
        completed=completed,
        placed=total if placed is None else placed,
        partly=partly,
        ran_s=ran_s,
    )


def group(expert: str, lines: int, done: int, took_s: float) -> Group:
    return Group(expert=expert, backend="up", base="b", lines=lines, done=done, took_s=took_s)


def test_nothing_is_promised_before_the_first_line() -> None:
    now = progress(batch(10, 0, 0.0), [group("a", 10, 0, 0.0)])

    assert (now.share, now.placed, now.eta_s, now.per_s) == (0.0, 10, None, None)


def test_a_line_takes_as_long_as_those_of_its_expert_did() -> None:
    # Two at a time: 20 s of work in 10 s.
    groups = [group("slow", 20, 10, 15.0), group("quick", 30, 10, 5.0)]

    now = progress(batch(50, 20, 10.0), groups)

    assert now.per_s == pytest.approx(2.0)
    assert now.eta_s == pytest.approx((10 * 1.5 + 20 * 0.5) / 2)


def test_an_expert_that_has_not_run_is_taken_for_the_average_one() -> None:
    groups = [group("known", 10, 10, 20.0), group("new", 5, 0, 0.0)]

    assert progress(batch(15, 10, 20.0), groups).eta_s == pytest.approx(10.0)


def test_lines_that_are_not_routed_yet_count_as_average_ones() -> None:
    now = progress(batch(30, 10, 20.0, placed=10), [group("known", 10, 10, 20.0)])

    assert now.eta_s == pytest.approx(40.0)


def test_a_batch_that_ended_has_nothing_left_to_wait_for() -> None:
    now = progress(batch(20, 10, 10.0, "cancelled"), [group("a", 20, 10, 10.0)])

    assert (now.share, now.eta_s) == (0.5, 0.0)


def test_calls_for_a_panel_s_lines_count_in_part() -> None:
    # Two of three drafts for each of ten lines, at a second each, two at a time.
    made, left = group("a", 20, 20, 20.0), group("b", 10, 0, 0.0)

    now = progress(batch(10, 0, 10.0, partly=10 * part(2, members=3)), [made, left])

    assert (now.done, now.share) == (0, 0.5)
    assert now.per_s == pytest.approx(0.5)
    assert now.eta_s == pytest.approx(5.0)


def test_a_line_s_part_grows_with_every_call_and_is_never_all_of_it() -> None:
    parts = [part(made, members=3) for made in range(8)]

    assert parts == sorted(set(parts))
    assert parts[0] == 0
    assert parts[-1] < 1
