"""Whom a request asks next, and what it says of that."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.errors import (
    BackendProtocolError,
    BackendRejected,
    BackendTimeout,
    BackendUnreachable,
    BreakerOpen,
    BudgetExceeded,
    CoEError,
    ContextTooLong,
    ExpertLoadFailed,
    InvalidRequest,
    QueueFull,
    RateLimited,
)
from coe.resilience.course import JITTER, Course
from coe.resilience.kinds import WORDS, another_may_do_better, kinds_of, why_not
from coe.resilience.rules import Fallbacks
from coe.types import Call

CONTEXTS = {"a": 8000, "small": 4000, "same": 8000, "large": 32000, "unknown": None}


def call(expert: str) -> Call:
    return Call(expert=expert, backend="up", model="m", body={})


def course(*rest: str, due_s: float | None = None, budget: int = 99, **rules: Any) -> Course:
    tokens = [None] * budget

    def may_spend() -> bool:
        return bool(tokens and (tokens.pop() or True))

    return Course(
        map(call, rest),
        Fallbacks(**rules),
        context_of=CONTEXTS.get,
        may_spend=may_spend,
        random=lambda: 1.0,
        due_s=due_s,
    )


def rejected(status: int, **more: Any) -> BackendRejected:
    return BackendRejected("no", backend_status=status, **more)


@pytest.mark.parametrize(
    ("error", "kinds"),
    [
        (BackendUnreachable(""), ("connect",)),
        (BackendTimeout(""), ("timeout",)),
        (BackendProtocolError(""), ("bad_answer",)),
        (ExpertLoadFailed(""), ("load_failed",)),
        (QueueFull(""), ("busy",)),
        (ContextTooLong(""), ("context_overflow",)),
        (rejected(429), ("429", "4xx")),
        (rejected(503), ("503", "5xx")),
        (rejected(404), ("model_not_available", "404", "4xx")),
        (rejected(400, code="model_not_found"), ("model_not_available", "400", "4xx")),
        (rejected(400, code="content_filter"), ("content_blocked", "400", "4xx")),
        (InvalidRequest(""), ("InvalidRequest",)),
    ],
)
def test_every_failure_has_a_name(error: CoEError, kinds: tuple[str, ...]) -> None:
    assert kinds_of(error) == kinds


@pytest.mark.parametrize(
    ("error", "may"),
    [
        (BackendUnreachable(""), True),
        (rejected(429), True),
        (rejected(403), True),
        (rejected(400), False),
        (ContextTooLong(""), True),
        (QueueFull(""), True),
        (InvalidRequest(""), False),
        (RateLimited(""), False),
        (BudgetExceeded(""), False),
    ],
)
def test_a_request_that_is_wrong_is_wrong_everywhere(error: CoEError, *, may: bool) -> None:
    assert another_may_do_better(error) == may
    assert (course("b").after(call("a"), error, 0.0).call is not None) == may


@pytest.mark.parametrize(
    ("error", "rules", "rule"),
    [
        (rejected(403), {"never_retry": {"403"}}, "never_retry: 403"),
        (rejected(403), {"retry_on": {"4xx"}, "never_retry": {"403"}}, "never_retry: 403"),
        (rejected(404), {"retry_on": {"4xx"}, "never_retry": {"403"}}, ""),
        (rejected(404), {"retry_on": {"model_not_available"}, "never_retry": {"4xx"}}, ""),
        (rejected(503), {"retry_on": {"connect"}}, "retry_on"),
        (rejected(400), {"retry_on": {"400"}}, ""),
        (BackendTimeout(""), {"never_retry": {"timeout"}}, "never_retry: timeout"),
        (BreakerOpen(""), {"retry_on": {"connect"}, "never_retry": {"busy"}}, ""),
        (InvalidRequest(""), {}, "the request"),
    ],
)
def test_the_closest_word_decides(error: CoEError, rules: dict[str, Any], rule: str) -> None:
    assert why_not(error, rules.get("retry_on"), rules.get("never_retry", ())) == rule


@given(st.sampled_from([*WORDS, "403", "429", "500"]), st.sampled_from([400, 403, 429, 500, 503]))
def test_never_is_stronger_than_any_default(kind: str, status: int) -> None:
    error = rejected(status)
    if kind in kinds_of(error):
        assert why_not(error, None, {kind}) == f"never_retry: {kind}"


def test_what_failed_is_told_with_what_was_done() -> None:
    way = course("b")

    way.after(call("a"), BackendTimeout("late"), 0.0)
    way.after(call("b"), rejected(500), 0.0)

    assert [(row.expert, row.kind, row.then) for row in way.attempts] == [
        ("a", "timeout", "asked b"),
        ("b", "500", "stopped: nobody is left"),
    ]


def test_too_long_a_prompt_goes_to_a_larger_context() -> None:
    way = course("small", "same", "large")

    ask = way.after(call("a"), ContextTooLong("long"), 0.0)

    assert ask.call is not None
    assert ask.call.expert == "large"
    assert ask.then == "asked large, not small, same: no larger context"


def test_a_context_that_nobody_knows_may_be_larger() -> None:
    ask = course("small", "unknown").after(call("a"), ContextTooLong("long"), 0.0)
    assert ask.call is not None
    assert ask.call.expert == "unknown"

    ask = course("small").after(call("unknown"), ContextTooLong("long"), 0.0)
    assert ask.call is not None
    assert ask.call.expert == "small"


def test_no_larger_context_ends_the_way() -> None:
    ask = course("small", "same").after(call("a"), ContextTooLong("long"), 0.0)

    assert ask.call is None
    assert ask.then == "stopped: nobody is left, not small, same: no larger context"


def test_an_empty_budget_ends_the_way_but_not_where_nobody_was_asked() -> None:
    assert course("b", budget=0).after(call("a"), BackendTimeout(""), 0.0).then.endswith("budget")
    assert course("b", budget=0).after(call("a"), BreakerOpen(""), 0.0).call is not None


def test_time_that_is_up_ends_the_way() -> None:
    way = course("b", due_s=5.0)

    assert way.after(call("a"), BackendTimeout(""), 5.0).then == "stopped: no time is left"


def test_who_asks_to_wait_a_little_is_asked_once_more() -> None:
    way = course("b", retry_after_s=2.0)
    error = rejected(429, retry_after_s=1.0)

    again, other = (way.after(call("a"), error, 0.0) for _ in range(2))

    assert again.call is not None
    assert (again.call.expert, again.wait_s) == ("a", 1.0 + JITTER)
    assert other.call is not None
    assert other.call.expert == "b"


@pytest.mark.parametrize(
    ("error", "rules"),
    [
        (rejected(429, retry_after_s=3.0), {"retry_after_s": 2.0}),
        (rejected(429, retry_after_s=1.0), {}),
        (rejected(429), {"retry_after_s": 2.0}),
        (rejected(429, retry_after_s=1.0), {"retry_after_s": 2.0, "due_s": 1.1}),
        (QueueFull("", retry_after_s=1.0), {"retry_after_s": 2.0}),
        (rejected(429, retry_after_s=1.0), {"retry_after_s": 2.0, "budget": 0}),
    ],
)
def test_who_is_not_asked_again(error: CoEError, rules: dict[str, Any]) -> None:
    ask = course("b", **rules).after(call("a"), error, 0.0)

    assert ask.wait_s == 0
    assert ask.call is None or ask.call.expert == "b"


def test_beside_others_nobody_is_asked_in_the_place_of_one_that_failed() -> None:
    way = course("b", "c")

    beside = way.beside()
    ask = way.after(call("a"), BackendTimeout(""), 0.0, is_beside=True)

    assert beside is not None
    assert beside.expert == "b"
    assert ask.call is None
    assert [one.expert for one in way.rest] == ["c"]
    assert course("b", budget=0).beside() is None
