from __future__ import annotations

import io
from collections.abc import AsyncGenerator

from coe.errors import BackendRejected
from coe.telemetry import Telemetry
from coe.types import Answer, Attempt, Call, Choice, Decision, Plan, Query


async def nothing() -> AsyncGenerator[bytes, None]:
    return
    yield b""


CALL = Call(expert="coder", backend="gpu0", model="m", body={})
SECRET = "the prompt nobody may log"


def an_answer() -> Answer:
    query = Query(id="q1", model="coe/auto", body={"messages": [SECRET]})
    return Answer(
        query=query,
        decision=Decision(category="code", reason="matched"),
        plan=Plan(calls=(CALL,)),
        call=CALL,
        first=SECRET.encode(),
        frames=nothing(),
    )


def test_counts_decisions_requests_and_failures() -> None:
    telemetry = Telemetry(log_requests=False)

    telemetry.decided(Decision(category="code", reason="matched"), Plan(calls=(CALL,)))
    telemetry.decided(Decision(), Plan(calls=()))
    telemetry.failed(CALL, BackendRejected("no", backend_status=500, code="made-up-by-upstream"))
    telemetry.finished("chat/completions", "r1", 200, 0.01, an_answer())
    telemetry.aborted("client")
    text = telemetry.exposition().decode()

    assert 'coe_route_decisions_total{category="code",expert="coder",reason="matched"} 1.0' in text
    assert 'expert="none",reason="no-router"} 1.0' in text
    assert 'coe_requests_total{endpoint="chat/completions",expert="coder",status="200"} 1.0' in text
    assert 'error="BackendRejected",expert="coder"} 1.0' in text
    assert 'coe_stream_aborts_total{side="client"} 1.0' in text
    assert "made-up-by-upstream" not in text


def test_logs_one_line_a_request_without_its_text() -> None:
    stream = io.StringIO()
    telemetry = Telemetry(stream=stream)

    telemetry.finished("chat/completions", "r1", 200, 0.0123, an_answer())

    line = stream.getvalue()
    assert line.count("\n") == 1
    assert " id=r1 " in line
    assert "category=code expert=coder reason=matched attempts=1" in line
    assert "total_s=0.0123" in line
    assert SECRET not in line


def test_a_failure_is_logged_by_its_name_and_who_was_asked() -> None:
    stream = io.StringIO()
    telemetry = Telemetry(stream=stream)
    error = BackendRejected("an upstream's own words", backend_status=500)
    error.attempts = (Attempt(expert="coder", error="words"), Attempt(expert="one", error="words"))

    telemetry.finished("chat/completions", "r1", 502, 0.01, None, error)

    assert "status=502 error=BackendRejected asked=coder,one total_s" in stream.getvalue()
    assert "words" not in stream.getvalue()


def test_lines_are_written_together() -> None:
    stream = io.StringIO()
    later = []
    telemetry = Telemetry(stream=stream, defer=lambda _, flush: later.append(flush))

    telemetry.finished("chat/completions", "r1", 200, 0.01, None)
    telemetry.finished("chat/completions", "r2", 404, 0.01, None)
    assert stream.getvalue() == ""
    assert len(later) == 1
    later[0]()

    assert stream.getvalue().count("\n") == 2


def test_counts_what_ranked_the_experts_where_a_map_was_asked_for() -> None:
    telemetry = Telemetry(log_requests=False)
    telemetry.map_is_flagged = True

    telemetry.decided(Decision(), Plan(calls=(CALL,), choice=Choice(choose="fitted")))
    telemetry.decided(Decision(), Plan(calls=(CALL,)))
    text = telemetry.exposition().decode()

    assert 'coe_map_choices_total{choose="fitted",expert="coder"} 1.0' in text
    assert "coe_map_flagged 1.0" in text
    assert "coe_map_stale 0.0" in text
