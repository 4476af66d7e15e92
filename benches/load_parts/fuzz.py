"""Bodies that nobody should send: none of them may be answered by 500, or hang.

Three in four are good requests with something changed in their JSON, the rest are changed in their
bytes, too. What is sent is drawn from a seed, so that a finding can be sent again.
"""

from __future__ import annotations

import asyncio
import copy
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

HANGS_S = 20.0
AT_ONCE = 32

_TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
_CHAT = {
    "model": "coe/auto",
    "messages": [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "why does this crash?"}]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function"}]},
        {"role": "tool", "tool_call_id": "1", "content": "done"},
        {"role": "user", "content": "and now?"},
    ],
    "temperature": 0.2,
    "max_tokens": 20,
    "n": 1,
    "stop": ["x"],
    "stream": False,
    "stream_options": {"include_usage": True},
    "tools": [_TOOL],
    "tool_choice": "auto",
    "response_format": {"type": "json_object"},
    "logit_bias": {"1": 1},
    "metadata": {"a": "b"},
    "user": "somebody",
}
GOOD: Mapping[str, dict[str, Any]] = {
    "/v1/chat/completions": _CHAT,
    "/v1/completions": {
        "model": "coe/auto",
        "prompt": "once upon",
        "max_tokens": 5,
        "echo": False,
        "logprobs": 1,
        "suffix": None,
        "stream": False,
    },
    "/v1/responses": {
        "model": "coe/auto",
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "hello"}]}],
        "instructions": "be brief",
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
        "reasoning": {"effort": "low"},
        "text": {"format": {"type": "text"}},
        "max_output_tokens": 20,
        "stream": False,
    },
    "/v1/messages": {
        "model": "coe/auto",
        "max_tokens": 20,
        "system": [{"type": "text", "text": "be brief"}],
        "messages": [
            {"role": "user", "content": "hello"},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "1", "name": "f", "input": {}}],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "1", "content": "x"}],
            },
        ],
        "tools": [{"name": "f", "input_schema": {"type": "object"}}],
        "stream": False,
    },
    "/v1/messages/count_tokens": {
        "model": "coe/auto",
        "messages": [{"role": "user", "content": "hello"}],
    },
    "/v1/embeddings": {"model": "minilm", "input": ["a", "b"], "encoding_format": "float"},
    "/v1/route": _CHAT,
    "/v1/feedback": {"decision_id": "x", "value": True, "tags": {"a": "b"}},
}
_ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63) - 1, 1e308, -1e308, 0.1, "", " ",
    "\x00", "\ud800", "é" * 300, "a" * 5000, [], {}, [[]], [{}], [None], {"": ""},
    {"type": "text"}, {"role": "user"}, {"type": "image_url", "image_url": {"url": "x"}},
    ["a", 1, None], "NaN", "coe/", "../../etc/passwd", "${env:HOME}", "{{7*7}}", "' OR 1=1 --",
    {"$ref": "#"}, float("nan"), float("inf"), {"a": {"a": {"a": {"a": {}}}}}, [[[[[[[[]]]]]]]],
    "user", "system", "assistant",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A request that was answered by 500, or not at all."""

    path: str
    body: bytes
    what: str


@dataclass(slots=True, kw_only=True)
class Found:
    """What became of all bodies.

    Attributes:
        statuses: how often each was seen.
    """

    statuses: dict[int, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def bodies(count: int, seed: int, paths: Sequence[str] = tuple(GOOD)) -> list[tuple[str, bytes]]:
    """Return what is sent: a path, and a body for it."""
    draw = random.Random(seed)
    return [_one(draw, paths[number % len(paths)]) for number in range(count)]


def _one(draw: random.Random, path: str) -> tuple[str, bytes]:
    body = copy.deepcopy(GOOD[path])
    for _ in range(draw.choice((1, 1, 1, 2, 3, 8))):
        _change(draw, body)
    raw = _spelt(body)
    if draw.random() < 0.75:
        return path, raw
    for _ in range(draw.choice((1, 2, 5))):
        raw = _damaged(draw, raw)
    return path, raw


def _spelt(body: object) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _change(draw: random.Random, body: dict[str, Any]) -> None:
    """Put something odd at a random place of a JSON tree."""
    here: Any = body
    while True:
        if isinstance(here, dict):
            if not here or draw.random() < 0.1:
                here[draw.choice(("extra", "", "stream", "tools", "é", "__class__"))] = draw.choice(
                    _ODD
                )
                return
            key: Any = draw.choice(list(here))
        elif isinstance(here, list) and here:
            key = draw.randrange(len(here))
        else:
            return
        below = here[key]
        if isinstance(below, dict | list) and below and draw.random() < 0.7:
            here = below
            continue
        if draw.random() < 0.2:
            del here[key]
        elif draw.random() < 0.1 and isinstance(here, list):
            here.extend([below] * draw.choice((1, 5, 300)))
        else:
            here[key] = copy.deepcopy(draw.choice(_ODD))
        return


def _damaged(draw: random.Random, raw: bytes) -> bytes:
    """Change a body's bytes."""
    at = draw.randrange(len(raw) + 1)
    head, tail = raw[:at], raw[at:]
    odd = draw.choice((b"{", b"[", b'"', b",", b":", b"NaN", b"1e999", draw.randbytes(64)))
    return draw.choice(
        (
            head,
            head + draw.randbytes(1) + tail[1:],
            head + draw.randbytes(4) + tail,
            head + odd + tail,
            b"[" * draw.choice((10, 70, 2000)) + raw,
            raw + raw,
            raw.replace(b'"model"', b'"model": 1, "model"', 1),
        )
    )


async def send(
    url: str, wanted: Sequence[tuple[str, bytes]], headers: Mapping[str, str] | None = None
) -> Found:
    """Send bodies to a gateway, some at once, and say what became of them.

    Args:
        url: of the gateway, without a path.
        wanted: as `bodies` returns them.
        headers: of every request, such as a key's.
    """
    found = Found()
    gate = asyncio.Semaphore(AT_ONCE)
    timeout = aiohttp.ClientTimeout(total=HANGS_S)
    told = {"content-type": "application/json", **(headers or {})}
    async with aiohttp.ClientSession(timeout=timeout, headers=told) as session:

        async def one(path: str, body: bytes) -> None:
            async with gate:
                try:
                    async with session.post(url + path, data=body) as response:
                        await response.read()
                        status = response.status
                except (aiohttp.ClientError, TimeoutError) as error:
                    found.findings.append(
                        Finding(path=path, body=body, what=str(error) or type(error).__name__)
                    )
                    return
            found.statuses[status] = found.statuses.get(status, 0) + 1
            if status == 500:
                found.findings.append(Finding(path=path, body=body, what="500"))

        await asyncio.gather(*(one(path, body) for path, body in wanted))
    return found
