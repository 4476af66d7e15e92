from __future__ import annotations

import io
from collections.abc import AsyncGenerator

import orjson

from coe.errors import BackendRejected
from coe.telemetry import Telemetry
from coe.telemetry.trace import CURRENT, Trace
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


def test_a_line_may_be_an_object() -> None:
    stream = io.StringIO()
    telemetry = Telemetry(stream=stream, log_form="json")
    error = BackendRejected("an upstream's own words", backend_status=500)
    error.attempts = (Attempt(expert="coder", error="words"),)

    telemetry.finished("chat/completions", "r1", 200, 0.0123, an_answer())
    telemetry.finished("chat/completions", "r2", 502, 0.01, None, error)
    answered, failed = map(orjson.loads, stream.getvalue().splitlines())

    assert answered.pop("time")
    assert answered == {
        "level": "INFO",
        "logger": "coe.request",
        "id": "r1",
        "endpoint": "chat/completions",
        "status": 200,
        "category": "code",
        "expert": "coder",
        "reason": "matched",
        "attempts": 1,
        "routed_s": 0.0,
        "first_token_s": 0.0,
        "total_s": 0.0123,
    }
    assert failed["error"] == "BackendRejected"
    assert failed["asked"] == ["coder"]
    assert SECRET not in stream.getvalue()
    assert "words" not in stream.getvalue()


def test_the_line_of_a_traced_request_names_its_trace() -> None:
    stream = io.StringIO()
    token = CURRENT.set(Trace(0xABC, 0, 0))
    try:
        for form in ("text", "json"):
            telemetry = Telemetry(stream=stream, log_form=form)
            telemetry.finished("chat/completions", "r1", 200, 0.01, None)
    finally:
        CURRENT.reset(token)

    text, row = stream.getvalue().splitlines()
    assert text.endswith(f" trace_id={0xABC:032x}")
    assert orjson.loads(row)["trace_id"] == f"{0xABC:032x}"


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


def test_the_standard_metrics_count_tokens_and_time_answers_by_expert() -> None:
    telemetry = Telemetry(log_requests=False)
    last = b'data: {"usage": {"prompt_tokens": 16, "completion_tokens": 11}}'
    error = BackendRejected("no", backend_status=500)

    telemetry.finished(
        "chat/completions", "r", 200, 2.0, an_answer(), provider="vllm", first_s=1.0, last=last
    )
    telemetry.finished("chat/completions", "r", 502, 0.5, None, error)
    rows = telemetry.exposition().decode().splitlines()

    model = 'gen_ai_operation_name="chat",gen_ai_provider_name="vllm",gen_ai_request_model="coder"'
    usage, duration = "gen_ai_client_token_usage", "gen_ai_server_request_duration"
    assert f'{usage}_sum{{{model},gen_ai_token_type="input"}} 16.0' in rows
    assert f'{usage}_bucket{{{model},gen_ai_token_type="input",le="4.0"}} 0.0' in rows
    assert f'{usage}_bucket{{{model},gen_ai_token_type="input",le="16.0"}} 1.0' in rows
    assert f'{usage}_sum{{{model},gen_ai_token_type="output"}} 11.0' in rows
    assert f'{duration}_sum{{error_type="",{model}}} 2.0' in rows
    assert f"gen_ai_server_time_to_first_token_sum{{{model}}} 1.0" in rows
    assert f"gen_ai_server_time_per_output_token_sum{{{model}}} 0.1" in rows
    assert any(
        row.startswith(f'{duration}_count{{error_type="BackendRejected"')
        and 'gen_ai_provider_name="coe",gen_ai_request_model="none"' in row
        for row in rows
    )
