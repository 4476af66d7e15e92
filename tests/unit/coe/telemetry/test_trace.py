from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.telemetry import names
from coe.telemetry.spans import Server, spans_of
from coe.telemetry.trace import (
    Ended,
    Parent,
    Trace,
    is_drawn,
    parent_of,
    settings_of,
    told_by,
)
from coe.types import Call, Decision, Plan

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("header", "parent"),
    [
        (f"00-{TRACE}-{SPAN}-01", Parent(int(TRACE, 16), int(SPAN, 16), is_sampled=True)),
        (f"00-{TRACE}-{SPAN}-00", Parent(int(TRACE, 16), int(SPAN, 16), is_sampled=False)),
        (f" 00-{TRACE}-{SPAN}-03 ", Parent(int(TRACE, 16), int(SPAN, 16), is_sampled=True)),
        (f"01-{TRACE}-{SPAN}-01-more", Parent(int(TRACE, 16), int(SPAN, 16), is_sampled=True)),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        ("", None),
        (None, None),
    ],
)
def test_a_traceparent_is_read_as_the_specification_says(
    header: str | None, parent: Parent | None
) -> None:
    assert parent_of(header) == parent


@given(st.text())
def test_whatever_stands_in_the_header_raises_nothing(header: str) -> None:
    parent_of(header)


@given(st.integers(1, 2**128 - 1))
def test_all_or_none_are_drawn_at_the_ends(trace_id: int) -> None:
    assert is_drawn(trace_id, 1.0)
    assert not is_drawn(trace_id, 0.0)


@given(st.binary(max_size=300))
def test_whatever_an_answer_holds_raises_nothing(piece: bytes) -> None:
    told_by(piece)


def test_only_numbers_of_the_body_are_told() -> None:
    body = {"temperature": 0.5, "seed": True, "top_p": "secret", "n": 10**400, "max_tokens": 3}

    assert settings_of(body) == {
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 3,
    }


def test_a_wait_for_a_slot_is_a_span_before_the_call() -> None:
    trace = Trace(7, 0, 0)
    trace.decided(Decision(), Plan(calls=()), 0.001)
    trace.waited("coder", 0.25, 0.125)
    asked = trace.asked(Call(expert="coder", backend="gpu0", model="m", body={}))
    asked.opened(b"{}")
    ended = Ended(
        trace=trace,
        ended_ns=asked.ended_ns,
        endpoint="chat/completions",
        path="/v1/chat/completions",
        status=200,
        request_id="r",
        query_id="q",
        error="",
    )

    spans = {span.name: span for span in spans_of(ended, {"gpu0": Server("vllm", "gpu", 80)})}

    queue, call = spans["queue"], spans["chat m"]
    assert queue.attributes == {names.EXPERT: "coder", names.QUEUED: 0.25, names.SWAPPED: 0.125}
    assert queue.ended_ns - queue.started_ns == 250_000_000
    assert queue.ended_ns <= call.started_ns
    assert call.attributes[names.PROVIDER] == "vllm"
    assert (call.attributes[names.ADDRESS], call.attributes[names.PORT]) == ("gpu", 80)
    assert len({span.span_id for span in spans.values()}) == len(spans)


def test_a_call_that_never_ended_ends_with_its_request() -> None:
    trace = Trace(7, 0, 0)
    trace.asked(Call(expert="coder", backend="gpu0", model="m", body={}))
    ended = Ended(trace, 9, "embeddings", "/v1/embeddings", 200, "r", "q", "")

    request, call = spans_of(ended, {})

    assert (request.name, request.ended_ns, call.ended_ns) == ("embeddings", 9, 9)
