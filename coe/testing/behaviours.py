"""What the fake upstream does with a request: a list of steps, found by the model's name.

A name is a behaviour, with its numbers in it. Every other name is an ordinary answer.

    ok                                    the prompt, echoed, word by word; usage when asked for
    chunks-200, chunks-200x64             so many chunks, each of so many letters, sent at once
    slow-first-5s, slow-token-100ms       late to start; late with each chunk
    n-3, tools, reasoning, refusal, logprobs
    error-503, error-429-retry-after-ms-50, error-429-retry-after-2
    error-400-context, error-vllm-context the prompt is too long
    error-401-secret                      shows a key, an address and a stack trace
    error-ollama, -fastapi, -html, -no-body    other shapes of an error
    error-in-200                          an error object with status 200, streamed or not
    error-frame-first, garbage-frame-first     a stream that is wrong from its first frame
    role-only-then-drop, role-only-then-stall  wrong after a frame without content
    drop-after-2                          two chunks, then the connection is reset
    truncate-after-2                      two chunks, then the body ends cleanly, with no end mark
    cut-after-2                           two chunks, then the connection closes inside the body
    done-after-2                          two chunks, then the end mark, with no finish reason
    error-frame-after-2                   two chunks, then an error frame
    stall-after-2, hang                   two chunks, or nothing at all, and then silence
    reset, close                          the connection ends before any answer
    garbage, html, json, redirect, endless-headers   no answer at all, in five ways
    empty                                 a role and the end mark; an empty object
    no-done-but-finish, no-last-newline, until-close, until-close-truncated
    no-model, model-last, renamed, spaced      where and how the model's name is written
    comments, crlf, one-packet, split-bytes    how frames are written and cut
    continue-100, close-after, stray      what is on the wire around an ordinary answer
    huge                                  a chunk of 1 MiB

Answers that are not streamed have the same faults, as far as they can.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import orjson

from coe.sse import DONE
from coe.testing import wire
from coe.testing.wire import Ask


@dataclass(frozen=True, slots=True)
class Send:
    """Write these bytes."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Wait:
    """Let this much time pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class End:
    """End the connection: `reset` (RST), `close` (FIN), or never: `hang`; `keep` keeps it."""

    how: Literal["keep", "reset", "close", "hang"] = "keep"


Step = Send | Wait | End


def steps(ask: Ask) -> list[Step]:
    """Return what is done with a request, by the name of its model."""
    for pattern, behave in _BEHAVIOURS:
        if found := pattern.fullmatch(ask.model):
            return behave(ask, *found.groups())
    return _ok(ask)


def is_special(model: str) -> bool:
    """Whether a model's name is a behaviour other than the ordinary one."""
    return any(pattern.fullmatch(model) for pattern, _ in _BEHAVIOURS)


def _text(ask: Ask) -> str:
    return f"echo: {ask.prompt}" if ask.prompt else "hello from the fake upstream"


def _frames(ask: Ask, text: str | None = None) -> list[bytes]:
    return [wire.frame(value) for value in wire.chunks(ask, text or _text(ask))]


def _sent(parts: list[bytes], *, ended: bool = True) -> Send:
    """Return one write of a streamed answer's headers and frames."""
    body = b"".join(wire.chunked(part) for part in parts)
    return Send(wire.chunked_head() + body + (wire.chunked(b"") if ended else b""))


def _whole(ask: Ask, **message: Any) -> bytes:
    return orjson.dumps(wire.completion(ask, _text(ask), message))


def _ok(ask: Ask) -> list[Step]:
    if ask.stream:
        return [_sent([*_frames(ask), DONE])]
    return [Send(wire.http(200, _whole(ask)))]


def _chunks(ask: Ask, count: str, letters: str | None) -> list[Step]:
    word = "x" * (int(letters or 6) - 1)
    text = " ".join([word] * int(count))
    if ask.stream:
        return [_sent([*_frames(ask, text), DONE])]
    return [Send(wire.http(200, orjson.dumps(wire.completion(ask, text))))]


def _error(_: Ask, status: str, unit: str | None, wait: str | None) -> list[Step]:
    kinds = {
        "429": ("rate_limit_error", "rate_limit_exceeded"),
        "401": ("authentication_error", "invalid_api_key"),
    }
    kind, code = kinds.get(status, ("server_error", "internal_error"))
    if status < "500" and status not in kinds:
        kind, code = "invalid_request_error", "invalid_value"
    headers = [f"retry-after{unit or ''}: {wait}"] if wait else []
    return [
        Send(wire.http(int(status), wire.error_body("made to fail", kind, code), headers=headers))
    ]


def _error_shape(_: Ask, shape: str) -> list[Step]:
    too_long = "This model's maximum context length is 8 tokens. However, you sent 9."
    trace = (
        "Incorrect API key provided: sk-canary0123456789, see https://u:p@10.0.0.7/keys?k=1\n"
        'Traceback (most recent call last):\n  File "/srv/app.py", line 1, in f\n' + "x" * 900
    )
    status, body = {
        "400-context": (400, wire.error_body(too_long, "invalid_request_error", "context_length_exceeded", "messages")),
        "vllm-context": (400, wire.error_body(too_long, "BadRequestError", 400)),
        "401-secret": (401, wire.error_body(trace, "authentication_error", "invalid_api_key")),
        "ollama": (404, orjson.dumps({"error": 'model "x" not found, try pulling it first'})),
        "fastapi": (422, orjson.dumps({"detail": [{"loc": ["body", "n"], "msg": "bad value"}]})),
        "html": (502, b"<html><h1>502 Bad Gateway</h1></html>"),
        "no-body": (503, b""),
        "in-200": (200, wire.error_body("made to fail", "rate_limit_error", "rate_limit_exceeded")),
    }[shape]  # fmt: skip
    return [Send(wire.http(status, body))]


def _after(ask: Ask, what: str, count: str) -> list[Step]:
    """Return `count` content chunks, and then what is wrong."""
    if not ask.stream:
        return _half(ask, what)
    parts = _frames(ask, "one two three four five six seven eight")[: 1 + int(count)]
    error = b"data: " + wire.error_body("made to fail", "server_error", "overloaded") + b"\n\n"
    ends: dict[str, list[Step]] = {
        "drop": [_sent(parts, ended=False), Wait(0.02), End("reset")],
        "truncate": [_sent(parts)],
        "cut": [_sent(parts, ended=False), End("close")],
        "done": [_sent([*parts, DONE])],
        "error-frame": [_sent([*parts, error, DONE])],
        "stall": [_sent(parts, ended=False), End("hang")],
    }
    return ends[what]


def _half(ask: Ask, what: str) -> list[Step]:
    """Return the same faults for an answer that is not streamed."""
    body = _whole(ask)
    if what == "error-frame":
        return _error_shape(ask, "in-200")
    if what == "done":
        return _ok(ask)
    if what == "truncate":
        return [Send(wire.http(200, body[: len(body) // 2]))]
    how: dict[str, End] = {"drop": End("reset"), "cut": End("close"), "stall": End("hang")}
    return [Send(wire.http(200, body)[: -len(body) // 2]), Wait(0.02), how[what]]


def _seconds(number: str, unit: str) -> float:
    return float(number) / (1000 if unit == "ms" else 1)


def _slow_first(ask: Ask, number: str, unit: str) -> list[Step]:
    return [Wait(_seconds(number, unit)), *_ok(ask)]


def _slow_token(ask: Ask, number: str, unit: str) -> list[Step]:
    wait = Wait(_seconds(number, unit))
    if not ask.stream:
        return [*[wait] * len(wire.pieces(_text(ask))), *_ok(ask)]
    plan: list[Step] = [Send(wire.chunked_head())]
    for part in [*_frames(ask), DONE]:
        plan += [Send(wire.chunked(part)), wait]
    return [*plan, Send(wire.chunked(b""))]


def _raw(_: Ask, name: str) -> list[Step]:
    """Return an answer that does not depend on the request."""
    plans: dict[str, list[Step]] = {
        "reset": [End("reset")],
        "close": [End("close")],
        "hang": [End("hang")],
        "garbage": [Send(b"\x16\x03\x01 this is not HTTP\r\n\r\n"), End("close")],
        "html": [Send(wire.http(200, b"<html>\n\n<h1>Welcome</h1>\n\n</html>\n\n", "text/html"))],
        "json": [Send(wire.http(200, b'{"hello": "world"}'))],
        "redirect": [Send(wire.http(307, b"", headers=["location: http://127.0.0.1:9/v1/chat"]))],
        "endless-headers": [Send(b"HTTP/1.1 200 OK\r\n" + b"x-a: %b\r\n" % (b"y" * 1000) * 300), End("hang")],
    }  # fmt: skip
    return plans[name]


def _odd_stream(ask: Ask, name: str) -> list[Step]:
    """Return a stream that is odd, but not always wrong; without `stream`, the ordinary answer."""
    if not ask.stream and name in {"empty", "until-close", "until-close-truncated"}:
        body = b"{}" if name == "empty" else _whole(ask)
        return _until_close(wire.JSON, body[:-9] if name.endswith("truncated") else body)
    if not ask.stream:
        return _ok(ask)
    parts = _frames(ask)
    error = b"data: " + wire.error_body("made to fail", "server_error", "overloaded") + b"\n\n"
    lines = b"".join([*parts, DONE])
    plans: dict[str, list[Step]] = {
        "error-frame-first": [_sent([error, DONE])],
        "garbage-frame-first": [_sent([b"data: {nonsense\n\n", DONE])],
        "role-only-then-drop": [_sent(parts[:1], ended=False), Wait(0.02), End("reset")],
        "role-only-then-stall": [_sent(parts[:1], ended=False), End("hang")],
        "empty": [_sent([parts[0], DONE])],
        "no-done-but-finish": [_sent(parts)],
        "no-last-newline": [_sent([*parts, b"data: [DONE]"])],
        "comments": [_sent([b": ping\n\n", *[b": ping\n\n" + part for part in parts], DONE])],
        "crlf": [_sent([lines.replace(b"\n", b"\r\n")])],
        "one-packet": [_sent([lines])],
        "until-close": _until_close(wire.EVENTS, lines),
        "until-close-truncated": _until_close(wire.EVENTS, b"".join(parts[:3])),
        "spaced": [_sent([*[part.replace(b'":', b'": ') for part in parts], DONE])],
    }
    return plans[name]


def _until_close(kind: str, body: bytes) -> list[Step]:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n".encode()
    return [Send(head + body), End("close")]


def _split_bytes(ask: Ask) -> list[Step]:
    if not ask.stream:
        return _ok(ask)
    body = b"".join([*_frames(ask), DONE])
    plan: list[Step] = [Send(wire.chunked_head())]
    for place in range(len(body)):
        plan += [Send(wire.chunked(body[place : place + 1])), Wait(0)]
    return [*plan, Send(wire.chunked(b""))]


def _changed(ask: Ask, name: str) -> list[Step]:
    """Return an ordinary answer whose objects are changed."""
    if not ask.stream:
        answer = wire.completion(ask, _text(ask), _MESSAGES.get(name))
        values = [answer]
    elif name in _MESSAGES:
        values = [wire.chunk(ask, {"role": "assistant", "content": None})]
        values += [wire.chunk(ask, delta) for delta in _deltas(name)]
        values.append(wire.chunk(ask, {}, "tool_calls" if name == "tools" else "stop"))
    else:
        values = wire.chunks(ask, _text(ask))
    for value in values:
        model = value.pop("model")
        if name == "logprobs":
            for choice in value["choices"]:
                choice["logprobs"] = {
                    "content": [{"token": "a", "logprob": -0.5, "top_logprobs": []}]
                }
        if name == "renamed":
            value["model"] = f"{model}-2026-11-22"
        elif name != "no-model":
            value["model"] = model
        if name == "model-last":
            value["choices"][0]["model"] = "inner"
            value["model"] = value.pop("model")
    if ask.stream:
        return [_sent([*[wire.frame(value) for value in values], DONE])]
    return [Send(wire.http(200, orjson.dumps(values[0])))]


_MESSAGES: dict[str, dict[str, Any]] = {
    "tools": {
        "content": None,
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "add", "arguments": '{"a": 1}'},
            }
        ],
    },
    "reasoning": {"content": "42", "reasoning_content": "let me think"},
    "refusal": {"content": None, "refusal": "I would rather not"},
}


def _deltas(name: str) -> list[dict[str, Any]]:
    if name == "tools":
        function = {"name": "add", "arguments": ""}
        first = {"index": 0, "id": "call_1", "type": "function", "function": function}
        rest = [{"index": 0, "function": {"arguments": text}} for text in ('{"a"', ": 1}")]
        return [{"tool_calls": [call]} for call in (first, *rest)]
    if name == "reasoning":
        return [{"reasoning_content": "let me"}, {"reasoning_content": " think"}, {"content": "42"}]
    return [{"refusal": "I would"}, {"refusal": " rather not"}]


def _many(ask: Ask, n: str) -> list[Step]:
    return _ok(replace(ask, n=int(n)))


def _huge(ask: Ask) -> list[Step]:
    return _chunks(ask, "1", str(1 << 20))


def _around(ask: Ask, name: str) -> list[Step]:
    """Return an ordinary answer, with something before or after it on the wire."""
    answer = _ok(ask)
    if name == "continue-100":
        return [
            Send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"),
            *answer,
        ]
    if name == "close-after":
        return [*answer, End("close")]
    return [*answer, Send(b"stray bytes")]


_BEHAVIOURS: Sequence[tuple[re.Pattern[str], Callable[..., list[Step]]]] = tuple(
    (re.compile(pattern), behave)
    for pattern, behave in (
        (r"chunks-(\d+)(?:x(\d+))?", _chunks),
        (r"error-(\d{3})(?:-retry-after(-ms)?-(\d+))?", _error),
        (
            r"error-(400-context|vllm-context|401-secret|ollama|fastapi|html|no-body|in-200)",
            _error_shape,
        ),
        (r"(drop|truncate|cut|done|error-frame|stall)-after-(\d+)", _after),
        (r"slow-first-(\d+)(ms|s)", _slow_first),
        (r"slow-token-(\d+)(ms|s)", _slow_token),
        (r"(reset|close|hang|garbage|html|json|redirect|endless-headers)", _raw),
        (
            r"(error-frame-first|garbage-frame-first|role-only-then-(?:drop|stall)|empty"
            r"|no-done-but-finish|no-last-newline|comments|crlf|one-packet|spaced"
            r"|until-close|until-close-truncated)",
            _odd_stream,
        ),
        (r"split-bytes", _split_bytes),
        (r"(tools|reasoning|refusal|logprobs|no-model|model-last|renamed)", _changed),
        (r"n-(\d+)", _many),
        (r"huge", _huge),
        (r"(continue-100|close-after|stray)", _around),
    )
)
