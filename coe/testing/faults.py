"""What can go wrong with an answer, as steps of the fake upstream."""

from __future__ import annotations

import orjson

from coe.sse import DONE
from coe.testing import answers, wire
from coe.testing.steps import End, Send, Step, Wait
from coe.testing.wire import Ask

_INVALID = "invalid_request_error"


def error(_: Ask, status: str, unit: str | None, wait: str | None) -> list[Step]:
    """Refuse with a status, and perhaps a time to wait."""
    kinds = {
        "429": ("rate_limit_error", "rate_limit_exceeded"),
        "401": ("authentication_error", "invalid_api_key"),
    }
    kind, code = kinds.get(status, ("server_error", "internal_error"))
    if status < "500" and status not in kinds:
        kind, code = _INVALID, "invalid_value"
    headers = [f"retry-after{unit or ''}: {wait}"] if wait else []
    return [
        Send(wire.http(int(status), wire.error_body("made to fail", kind, code), headers=headers))
    ]


def shaped(_: Ask, shape: str) -> list[Step]:
    """Refuse in the shape of some server."""
    too_long = "This model's maximum context length is 8 tokens. However, you sent 9."
    trace = (
        "Incorrect API key provided: sk-canary0123456789, see https://u:p@10.0.0.7/keys?k=1\n"
        'Traceback (most recent call last):\n  File "/srv/app.py", line 1, in f\n' + "x" * 900
    )
    status, body = {
        "400-context": (
            400,
            wire.error_body(too_long, _INVALID, "context_length_exceeded", "messages"),
        ),
        "vllm-context": (400, wire.error_body(too_long, "BadRequestError", 400)),
        "401-secret": (401, wire.error_body(trace, "authentication_error", "invalid_api_key")),
        "ollama": (404, orjson.dumps({"error": 'model "x" not found, try pulling it first'})),
        "fastapi": (422, orjson.dumps({"detail": [{"loc": ["body", "n"], "msg": "bad value"}]})),
        "html": (502, b"<html><h1>502 Bad Gateway</h1></html>"),
        "no-body": (503, b""),
        "in-200": (200, wire.error_body("made to fail", "rate_limit_error", "rate_limit_exceeded")),
    }[shape]
    return [Send(wire.http(status, body))]


def after(ask: Ask, what: str, count: str) -> list[Step]:
    """Return `count` content chunks, and then what is wrong."""
    if not ask.stream:
        return _half(ask, what)
    parts = answers.frames(ask, "one two three four five six seven eight")[: 1 + int(count)]
    failed = b"data: " + wire.error_body("made to fail", "server_error", "overloaded") + b"\n\n"
    ends: dict[str, list[Step]] = {
        "drop": [answers.streamed(parts, ended=False), Wait(0.02), End("reset")],
        "truncate": [answers.streamed(parts)],
        "cut": [answers.streamed(parts, ended=False), End("close")],
        "done": [answers.streamed([*parts, DONE])],
        "error-frame": [answers.streamed([*parts, failed, DONE])],
        "stall": [answers.streamed(parts, ended=False), End("hang")],
    }
    return ends[what]


def _half(ask: Ask, what: str) -> list[Step]:
    """Return the same faults for an answer that is not streamed."""
    body = answers.body(ask)
    if what == "error-frame":
        return shaped(ask, "in-200")
    if what == "done":
        return answers.ordinary(ask)
    if what == "truncate":
        return [Send(wire.http(200, body[: len(body) // 2]))]
    how: dict[str, End] = {"drop": End("reset"), "cut": End("close"), "stall": End("hang")}
    return [Send(wire.http(200, body)[: -len(body) // 2]), Wait(0.02), how[what]]


def raw(_: Ask, name: str) -> list[Step]:
    """Return an answer that does not depend on the request."""
    plans: dict[str, list[Step]] = {
        "reset": [End("reset")],
        "close": [End("close")],
        "hang": [End("hang")],
        "garbage": [Send(b"\x16\x03\x01 this is not HTTP\r\n\r\n"), End("close")],
        "html": [Send(wire.http(200, b"<html>\n\n<h1>Welcome</h1>\n\n</html>\n\n", "text/html"))],
        "json": [Send(wire.http(200, b'{"hello": "world"}'))],
        "endless-headers": [
            Send(b"HTTP/1.1 200 OK\r\n" + b"x-a: %b\r\n" % (b"y" * 1000) * 300),
            End("hang"),
        ],
        "many-headers": [Send(wire.http(200, b"{}", headers=["x-a: 1"] * 1000))],
    }
    return plans[name]


def redirect(_: Ask, port: str) -> list[Step]:
    """Send the client to another port."""
    location = f"location: http://127.0.0.1:{port}/v1/chat/completions"
    return [Send(wire.http(307, b"", headers=[location]))]
