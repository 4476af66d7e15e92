from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.backends.rejection import refusal, rejection, retry_after_s, shown
from coe.errors import BackendRejected, ContextTooLong


def headers(**named: str) -> Callable[[str], str]:
    return lambda name: named.get(name.replace("-", "_"), "")


def rejected(status: int, body: bytes, **named: str) -> BackendRejected:
    error = rejection("b", status, body, headers(**named))
    assert isinstance(error, BackendRejected)
    return error


def test_openais_error_is_read() -> None:
    body = orjson.dumps(
        {"error": {"message": "bad n", "type": "invalid_request_error", "param": "n", "code": "x"}}
    )

    error = rejected(400, body)

    assert str(error) == "backend `b` answered 400: bad n"
    assert (error.status, error.type, error.param, error.code) == (
        400,
        "invalid_request_error",
        "n",
        "x",
    )


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"error": "model not found"}', "model not found"),
        (b'{"detail": "Not Found"}', "Not Found"),
        (b'{"detail": [{"msg": "bad"}]}', '[{"msg":"bad"}]'),
        (b'{"object": "error", "message": "old vLLM", "code": 40001}', "old vLLM"),
        (b"upstream connect error", "upstream connect error"),
        (b"<html><body>oops</body></html>", "a page of HTML"),
        (b'{"weird": 1}', "without a reason"),
        (b"[]", "without a reason"),
        (b"", "without a reason"),
        (b'{"error": {"message": ""}}', "without a reason"),
    ],
)
def test_every_shape_of_error_is_read(body: bytes, said: str) -> None:
    assert str(rejected(404, body)) == f"backend `b` answered 404: {said}"


@pytest.mark.parametrize(
    ("status", "shown_status", "retryable"),
    [
        (400, 400, False),
        (401, 502, True),
        (403, 502, True),
        (404, 404, True),
        (422, 422, False),
        (429, 429, True),
        (500, 502, True),
        (503, 502, True),
    ],
)
def test_statuses_are_mapped(status: int, shown_status: int, retryable: bool) -> None:  # noqa: FBT001
    error = rejected(status, b"")

    assert (error.status, error.retryable, error.backend_status) == (
        shown_status,
        retryable,
        status,
    )


def test_a_redirect_says_what_to_check() -> None:
    assert "check the backend's `url`" in str(rejected(307, b""))


def test_a_number_is_no_code() -> None:
    assert rejected(400, b'{"error": {"message": "m", "code": 400}}').code == "backend_rejected"
    assert rejected(400, b'{"error": {"message": "m", "code": "400"}}').code == "backend_rejected"


@pytest.mark.parametrize(
    "said",
    [
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens",
        "the request exceeds the available context size. try increasing the context size",
        "Requested tokens (9) exceed context window of 8",
        "input is too long: context length exceeded",
        "prompt is too long: 9 tokens > 8 maximum",
        "The decoder prompt (length 9) is longer than the maximum model length of 8.",
        "The prompt (total length 9) is too long to fit into the model (context length 8).",
        "The input (9 tokens) is longer than the model's context length (8 tokens).",
        "Input prompt (9 tokens) is too long and exceeds limit of 8",
        "the input length exceeds the context length",
        "prompt too long; exceeded max context length by 1 tokens",
        "input length and `max_tokens` exceed context limit: 9 + 1 > 8",
        "The input token count (9) exceeds the maximum number of tokens allowed (8).",
        "Prompt contains 9 tokens, too large for model with 8 maximum context length",
        "Input is too long for requested model.",
        "This model's maximum prompt length is 8 but the request contains 9 tokens.",
        "too many tokens: total number of tokens in the prompt cannot exceed 8",
    ],
)
def test_a_prompt_that_is_too_long_is_told_apart(said: str) -> None:
    body = orjson.dumps({"error": {"message": said, "type": "BadRequestError", "code": 400}})

    assert isinstance(rejection("b", 400, body, headers()), ContextTooLong)


def test_a_server_that_validates_says_it_with_422() -> None:
    said = "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8. Given: 9"
    body = orjson.dumps({"error": said, "error_type": "validation"})

    assert isinstance(rejection("b", 422, body, headers()), ContextTooLong)


def test_the_type_of_a_long_prompt_is_enough() -> None:
    body = orjson.dumps({"error": {"message": "m", "type": "exceed_context_size_error"}})

    assert isinstance(rejection("b", 400, body, headers()), ContextTooLong)


@pytest.mark.parametrize(
    "said", ["the image is too large", "`max_tokens` is too large: 9", "n must be <= 8"]
)
def test_another_mistake_is_no_long_prompt(said: str) -> None:
    assert isinstance(rejected(400, orjson.dumps({"error": {"message": said}})), BackendRejected)


def test_the_code_of_a_long_prompt_is_enough() -> None:
    body = orjson.dumps({"error": {"message": "m", "code": "context_length_exceeded"}})

    error = rejection("b", 400, body, headers())

    assert isinstance(error, ContextTooLong)
    assert (error.status, error.code) == (400, "context_length_exceeded")


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ({"retry_after_ms": "50"}, 0.05),
        ({"retry_after_ms": "50", "retry_after": "9"}, 0.05),
        ({"retry_after": "2"}, 2.0),
        ({"retry_after": "0.5"}, 0.5),
        ({"retry_after_ms": "-3"}, 0.0),
        ({"retry_after": "soon"}, None),
        ({}, None),
    ],
)
def test_the_time_to_wait_is_read(named: dict[str, str], expected: float | None) -> None:
    assert retry_after_s(headers(**named)) == expected


def test_a_date_to_wait_for_is_read() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)

    seconds = retry_after_s(headers(retry_after=later))

    assert seconds is not None
    assert 90 < seconds <= 100


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("key sk-canary0123456789 is bad", "key [key] is bad"),
        ("got Bearer abc.def", "got [key]"),
        ("the secret is hunter2hunter2", "the secret is [key]"),
        ("see https://u:p@10.0.0.7:1/x?k=1 now", "see [address] now"),
        ("oops\nTraceback (most recent call last):\n  File x\nKeyError", "oops"),
        ("oops\n    at Object.f (/srv/x.js:1:2)\n    at g (y.js)", "oops"),
        ('oops\n  File "/srv/x.py", line 3', "oops"),
        ("tab\tand\x00null", "tab and null"),
        ("cannot open /srv/models/a.bin: gone", "cannot open [path]: gone"),
        (r"cannot open C:\\models\\a.bin", "cannot open [path]"),
        ("no such file ~/secrets/key.pem", "no such file [path]"),
        ('{"api_key": "abcd1234efgh"} is bad', '{"api_key": "[key]"} is bad'),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic [key]"),
        ("got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.sig", "got [key]"),
        ("AKIAIOSFODNN7EXAMPLE is not known", "[key] is not known"),
        # What is useful stays.
        ("POST /v1/chat/completions: not here", "POST /v1/chat/completions: not here"),
        ("no model meta-llama/Llama-3-8B and/or max_tokens: 4096000000 > 8192", None),
        ("basic authentication is needed, 5 tokens: 12345678", None),
    ],
)
def test_sec_17_secrets_addresses_paths_and_traces_are_not_shown(
    said: str, expected: str | None
) -> None:
    assert shown(said, secret="hunter2hunter2") == (said if expected is None else expected)


@given(st.text())
def test_what_is_shown_is_short_and_one_line(said: str) -> None:
    text = shown(said)

    assert len(text) <= 500
    assert text.isprintable()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"message": "m", "code": 429}, 429),
        ({"message": "m", "type": "rate_limit_error"}, 429),
        ({"message": "m", "type": "invalid_request_error"}, 400),
        ({"message": "m", "code": "rate_limit_exceeded"}, 429),
        ({"message": "m", "type": "NotFoundError"}, 404),
        ({"message": "m", "type": "server_error"}, 500),
        ({"message": "m", "code": 1}, 500),
        ("just text", 500),
    ],
)
def test_an_error_with_status_200_gets_the_status_it_means(error: object, status: int) -> None:
    found = refusal("b", {"error": error})

    assert isinstance(found, BackendRejected)
    assert found.backend_status == status


@pytest.mark.parametrize("value", [{"choices": []}, {"error": None}, {"error": {}}, [], "error"])
def test_an_answer_is_no_refusal(value: object) -> None:
    assert refusal("b", value) is None
