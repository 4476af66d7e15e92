from __future__ import annotations

import pytest

from coe.batching.patience import Patience
from coe.errors import BackendRejected, BackendTimeout, CoEError, InvalidRequest

PATIENCE = Patience(tries=4, first_s=1.0, longest_s=3.0)


def test_pauses_double_up_to_a_limit_and_then_end() -> None:
    error = BackendTimeout("late")

    pauses = [PATIENCE.pause_s(error, tried, 1.0) for tried in (1, 2, 3, 4)]

    assert pauses == [1.0, 2.0, 3.0, None]


def test_lines_that_failed_together_do_not_come_back_together() -> None:
    assert PATIENCE.pause_s(BackendTimeout("late"), 1, 0.0) == 0.5


def test_a_server_that_says_when_is_not_asked_before() -> None:
    error = BackendRejected("busy", backend_status=429, retry_after_s=100.0)

    assert PATIENCE.pause_s(error, 1, 0.5) == 100.0


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequest("wrong"),
        BackendRejected("wrong", backend_status=400),
        BackendRejected("no key", backend_status=401),
        BackendRejected("no model", backend_status=404),
    ],
)
def test_what_waiting_does_not_mend_is_not_tried_again(error: CoEError) -> None:
    assert PATIENCE.pause_s(error, 1, 0.5) is None
