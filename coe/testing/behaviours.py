"""What the fake upstream does with a request: a list of steps, found by the model's name.

A name is a behaviour, with its numbers in it. Every other name is an ordinary model.

    ok  the prompt, echoed, word by word; usage when asked for
    chunks-200, chunks-200x64  so many chunks, each of so many letters, sent at once
    slow-first-5s, slow-token-100ms  late to start; late with each chunk
    n-3, tools, reasoning, refusal, logprobs  other kinds of answers
    length  an answer that stops at its limit
    error-503, error-429-retry-after-ms-50, error-429-retry-after-2  refused
    error-400-context, error-vllm-context  refused, because the prompt is too long
    error-401-secret  refused with a key, an address and a stack trace in the message
    error-ollama, error-fastapi, error-html, error-no-body  refused in other shapes
    error-in-200  an error object with status 200, streamed or not
    error-frame-first, garbage-frame-first  a stream that is wrong from its first frame
    role-only-then-drop, role-only-then-stall  wrong after a frame without content
    drop-after-2  two chunks, then the connection is reset
    truncate-after-2  two chunks, then the body ends cleanly, with no end mark
    cut-after-2  two chunks, then the connection closes inside the body
    done-after-2  two chunks, then the end mark, with no finish reason
    error-frame-after-2  two chunks, then an error frame
    stall-after-2, hang  two chunks, or nothing at all, and then silence
    reset, close  the connection ends before any answer
    garbage, html, json, endless-headers, many-headers  no answer at all, in five ways
    redirect-9101  to another port of this machine
    empty  a role and the end mark; an empty object
    no-done-but-finish, no-last-newline, until-close, until-close-truncated  other ends
    no-model, model-last, renamed, spaced  where and how the model's name is written
    comments, crlf, one-packet, split-bytes  how frames are written and cut
    continue-100, close-after, stray  what is on the wire around an ordinary answer
    huge  a chunk of 1 MiB

Answers that are not streamed have the same faults, as far as they can.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import orjson

from coe.sse import DONE
from coe.testing import answers, faults, wire
from coe.testing.steps import End, Send, Step, Wait
from coe.testing.wire import Ask


def steps(ask: Ask) -> list[Step]:
    """Return what is done with a request, by the name of its model."""
    for pattern, behave in _BEHAVIOURS:
        if found := pattern.fullmatch(ask.model):
            return behave(ask, *found.groups())
    return answers.ordinary(ask)


def is_special(model: str) -> bool:
    """Whether a model's name is a behaviour other than the ordinary one."""
    return any(pattern.fullmatch(model) for pattern, _ in _BEHAVIOURS)


def _chunks(ask: Ask, count: str, letters: str | None) -> list[Step]:
    word = "x" * (int(letters or 6) - 1)
    text = " ".join([word] * int(count))
    if ask.stream:
        return [answers.streamed([*answers.frames(ask, text), DONE])]
    return [Send(wire.http(200, orjson.dumps(wire.completion(ask, text))))]


def _seconds(number: str, unit: str) -> float:
    return float(number) / (1000 if unit == "ms" else 1)


def _slow_first(ask: Ask, number: str, unit: str) -> list[Step]:
    return [Wait(_seconds(number, unit)), *answers.ordinary(ask)]


def _slow_token(ask: Ask, number: str, unit: str) -> list[Step]:
    wait = Wait(_seconds(number, unit))
    if not ask.stream:
        return [*[wait] * len(wire.pieces(answers.text(ask))), *answers.ordinary(ask)]
    plan: list[Step] = [Send(wire.chunked_head())]
    for part in [*answers.frames(ask), DONE]:
        plan += [Send(wire.chunked(part)), wait]
    return [*plan, Send(wire.chunked(b""))]


def _odd_stream(ask: Ask, name: str) -> list[Step]:
    """Return a stream that is odd, but not always wrong; without `stream`, the ordinary answer."""
    if not ask.stream and name in {"empty", "until-close", "until-close-truncated"}:
        body = b"{}" if name == "empty" else answers.body(ask)
        return answers.until_close(wire.JSON, body[:-9] if name.endswith("truncated") else body)
    if not ask.stream:
        return answers.ordinary(ask)
    parts = answers.frames(ask)
    error = b"data: " + wire.error_body("made to fail", "server_error", "overloaded") + b"\n\n"
    lines = b"".join([*parts, DONE])
    plans: dict[str, list[Step]] = {
        "error-frame-first": [answers.streamed([error, DONE])],
        "garbage-frame-first": [answers.streamed([b"data: {nonsense\n\n", DONE])],
        "role-only-then-drop": [answers.streamed(parts[:1], ended=False), Wait(0.02), End("reset")],
        "role-only-then-stall": [answers.streamed(parts[:1], ended=False), End("hang")],
        "empty": [answers.streamed([parts[0], DONE])],
        "no-done-but-finish": [answers.streamed(parts)],
        "no-last-newline": [answers.streamed([*parts, b"data: [DONE]"])],
        "comments": [
            answers.streamed([b": ping\n\n", *[b": ping\n\n" + part for part in parts], DONE])
        ],
        "crlf": [answers.streamed([lines.replace(b"\n", b"\r\n")])],
        "one-packet": [answers.streamed([lines])],
        "until-close": answers.until_close(wire.EVENTS, lines),
        "until-close-truncated": answers.until_close(wire.EVENTS, b"".join(parts[:3])),
        "spaced": [answers.streamed([*[part.replace(b'":', b'": ') for part in parts], DONE])],
    }
    return plans[name]


def _split_bytes(ask: Ask) -> list[Step]:
    if not ask.stream:
        return answers.ordinary(ask)
    body = b"".join([*answers.frames(ask), DONE])
    plan: list[Step] = [Send(wire.chunked_head())]
    for place in range(len(body)):
        plan += [Send(wire.chunked(body[place : place + 1])), Wait(0)]
    return [*plan, Send(wire.chunked(b""))]


def _changed(ask: Ask, name: str) -> list[Step]:
    """Return an ordinary answer whose objects are changed."""
    if not ask.stream:
        answer = wire.completion(ask, answers.text(ask), _MESSAGES.get(name))
        values = [answer]
    elif name in _MESSAGES:
        values = [wire.chunk(ask, {"role": "assistant", "content": None})]
        values += [wire.chunk(ask, delta) for delta in _deltas(name)]
        values.append(wire.chunk(ask, {}, "tool_calls" if name == "tools" else "stop"))
    else:
        values = wire.chunks(ask, answers.text(ask))
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
        return [answers.streamed([*[wire.frame(value) for value in values], DONE])]
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
    return answers.ordinary(replace(ask, n=int(n)))


def _length(ask: Ask) -> list[Step]:
    """Return an ordinary answer that stops at its limit."""
    values = wire.chunks(ask, answers.text(ask))
    if not ask.stream:
        values = [wire.completion(ask, answers.text(ask))]
    for value in values:
        for choice in value["choices"]:
            choice["finish_reason"] = choice["finish_reason"] and "length"
    if ask.stream:
        return [answers.streamed([*[wire.frame(value) for value in values], DONE])]
    return [Send(wire.http(200, orjson.dumps(values[0])))]


def _huge(ask: Ask) -> list[Step]:
    return _chunks(ask, "1", str(1 << 20))


def _around(ask: Ask, name: str) -> list[Step]:
    """Return an ordinary answer, with something before or after it on the wire."""
    answer = answers.ordinary(ask)
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
        (r"error-(\d{3})(?:-retry-after(-ms)?-(\d+))?", faults.error),
        (
            r"error-(400-context|vllm-context|401-secret|ollama|fastapi|html|no-body|in-200)",
            faults.shaped,
        ),
        (r"(drop|truncate|cut|done|error-frame|stall)-after-(\d+)", faults.after),
        (r"slow-first-(\d+)(ms|s)", _slow_first),
        (r"slow-token-(\d+)(ms|s)", _slow_token),
        (r"(reset|close|hang|garbage|html|json|endless-headers|many-headers)", faults.raw),
        (r"redirect-(\d+)", faults.redirect),
        (
            (
                r"(error-frame-first|garbage-frame-first|role-only-then-(?:drop|stall)|empty"
                r"|no-done-but-finish|no-last-newline|comments|crlf|one-packet|spaced"
                r"|until-close|until-close-truncated)"
            ),
            _odd_stream,
        ),
        (r"split-bytes", _split_bytes),
        (r"(tools|reasoning|refusal|logprobs|no-model|model-last|renamed)", _changed),
        (r"n-(\d+)", _many),
        (r"length", _length),
        (r"huge", _huge),
        (r"(continue-100|close-after|stray)", _around),
    )
)
