"""The bytes of a small OpenAI server: bodies, frames and HTTP around them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson

_CREATED = 1_700_000_000
JSON = "application/json"
EVENTS = "text/event-stream; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Ask:
    """What a fake server reads of a request.

    Attributes:
        prompt: the text of the last message, or of the first input of an embedding.
        said: what an ordinary answer says; None means the prompt, echoed.
        usage: whether a stream is to end with its usage.
    """

    model: str = "ok"
    prompt: str = ""
    stream: bool = False
    n: int = 1
    usage: bool = False
    endpoint: str = "chat/completions"
    inputs: tuple[str, ...] = ()
    said: str | None = None

    @classmethod
    def read(cls, body: Mapping[str, Any], endpoint: str) -> Ask:
        """Read a request's body; what is missing or odd gets the default."""
        inputs = body.get("input") or ()
        texts = (inputs,) if isinstance(inputs, str) else tuple(str(text) for text in inputs)
        messages = body.get("messages") or [{}]
        content = messages[-1].get("content") or ""
        if isinstance(content, list):
            content = " ".join(str(part.get("text", "")) for part in content)
        options = body.get("stream_options") or {}
        return cls(
            model=str(body.get("model", "ok")),
            prompt=str(content),
            stream=body.get("stream") is True,
            n=int(body.get("n") or 1),
            usage=bool(options.get("include_usage")),
            endpoint=endpoint,
            inputs=texts,
        )

    def identity(self) -> dict[str, Any]:
        """Return the fields that an answer and each of its chunks begin with."""
        kind = "chat.completion.chunk" if self.stream else "chat.completion"
        return {"id": "chatcmpl-fake", "object": kind, "created": _CREATED, "model": self.model}


def pieces(text: str) -> list[str]:
    """Cut a text into words, each with the space before it."""
    words = text.split(" ")
    return [words[0], *(f" {word}" for word in words[1:])]


def usage(ask: Ask, text: str) -> dict[str, int]:
    """Return a usage object that counts words."""
    sent, made = len(ask.prompt.split()), len(text.split())
    return {"prompt_tokens": sent, "completion_tokens": made, "total_tokens": sent + made}


def completion(ask: Ask, text: str, message: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the object of an answer that is not streamed."""
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "content": text, **(message or {})},
            "logprobs": None,
            "finish_reason": "tool_calls" if message and "tool_calls" in message else "stop",
        }
        for index in range(ask.n)
    ]
    return {**ask.identity(), "choices": choices, "usage": usage(ask, text)}


def chunk(
    ask: Ask, delta: Mapping[str, Any], finish: str | None = None, index: int = 0, **more: Any
) -> dict[str, Any]:
    """Return one chunk object of a stream."""
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {**ask.identity(), "choices": [{**choice, **more}]}


def chunks(ask: Ask, text: str) -> list[dict[str, Any]]:
    """Return the chunk objects of an ordinary stream: role, words, finish, usage if wanted."""
    made = []
    for index in range(ask.n):
        made.append(chunk(ask, {"role": "assistant", "content": ""}, index=index))
        made += [chunk(ask, {"content": piece}, index=index) for piece in pieces(text)]
        made.append(chunk(ask, {}, "stop", index=index))
    if ask.usage:
        made.append({**ask.identity(), "choices": [], "usage": usage(ask, text)})
    return made


def error_body(message: str, kind: str, code: object = None, param: str | None = None) -> bytes:
    """Return OpenAI's error object."""
    return orjson.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}})


def embeddings(ask: Ask, dim: int) -> bytes:
    """Return deterministic vectors, not of unit length, one per input."""
    rows = [
        {"object": "embedding", "index": index, "embedding": vector(text, dim)}
        for index, text in enumerate(ask.inputs)
    ]
    tokens = sum(len(text.split()) for text in ask.inputs)
    counted = {"prompt_tokens": tokens, "total_tokens": tokens}
    return orjson.dumps({"object": "list", "data": rows, "model": ask.model, "usage": counted})


def vector(text: str, dim: int) -> list[float]:
    """Return the vector of a text: its hash, stretched to `dim` numbers in [-2, 2]."""
    stream = hashlib.shake_256(text.encode("utf-8", "surrogatepass")).digest(dim * 2)
    return [
        int.from_bytes(stream[place : place + 2], "big") / 16384 - 2
        for place in range(0, dim * 2, 2)
    ]


def frame(value: object) -> bytes:
    """Return a chunk object as a server-sent event."""
    return b"data: " + orjson.dumps(value) + b"\n\n"


def http(status: int, body: bytes, kind: str = JSON, headers: Sequence[str] = ()) -> bytes:
    """Return a whole HTTP answer."""
    more = "".join(f"{line}\r\n" for line in headers)
    head = f"HTTP/1.1 {status} {_phrase(status)}\r\ncontent-type: {kind}\r\n{more}"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def chunked_head(kind: str = EVENTS) -> bytes:
    """Return the headers of an HTTP answer whose body is chunked."""
    return f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n".encode()


def chunked(body: bytes) -> bytes:
    """Return one HTTP chunk; the empty body is the last one."""
    return b"%x\r\n%b\r\n" % (len(body), body)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
