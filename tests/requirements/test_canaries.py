"""SEC-15: strings that are nowhere else are sent in, and looked for in everything that comes out.

A real `coe serve` at the level `debug`, with keys, traces, decisions and metrics, in front of an
upstream that repeats whatever it was sent in its errors, its answers and its headers.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from coe.testing.collector import Collector
from tests.e2e.conftest import COE, Server

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

PROVIDER_KEY = "canary-provider-5f1c0a77b2e94d3e"
PROMPT = "canaryprompt8d21c06ef7a94b52"
TOOL = "canarytool3b9e6d40c85f4a17"
OWN = "canaryown9c40b6f2d18e4a73"
HEADER = "canaryheader60d7e2b91f3c48aa"
ANSWER = "canaryanswer17ab94ce02d844f9"

KEYS = {
    "asker": ["--scope", "data"],
    "private": ["--scope", "data", "--no-text"],
    "boss": ["--scope", "admin", "--scope", "metrics", "--scope", "experiments"],
}
PATHS = (
    "/metrics", "/v1/keys", "/v1/experts", "/v1/scheduling", "/v1/limits/all", "/openapi.json",
    "/health/ready", "/v1/decisions", "/v1/composition", "/v1/cache", "/v1/versions",
)  # fmt: skip
COMPOSITION = """
version: 1
server: {{auth: keys}}
backends:
  up: {{url: "{upstream}", api_key: "${{env:UP_KEY}}", headers: {{x-team: "${{env:UP_TEAM}}"}}}}
experts:
  good: up/ok
  refuses: up/e400
  denies: up/e401
  fails: up/e500
  strange: up/garbage
  midway: up/mid
  other: up/ok
categories:
  poems: {{keywords: [poem], experts: [fails, good]}}
  strange: {{keywords: [odd], experts: [strange, good]}}
aggregation:
  both: {{method: vote, experts: [good, fails, other]}}
  best: {{method: best_of, experts: [good, other], judge: refuses}}
models: {{coe/both: {{aggregate: both}}, coe/best: {{aggregate: best}}}}
default: good
observe: {{traces: "{collector}", trace_sample: 100%}}
timeouts: {{connect: 2s, first_token: 5s, idle: 5s, total: 10s}}
"""


@asynccontextmanager
async def repeating_upstream() -> AsyncIterator[str]:
    """Serve one that repeats what it was sent wherever a server can."""

    async def answer(request: web.Request) -> web.StreamResponse:
        sent = await request.text()
        body = json.loads(sent)
        said = f"{ANSWER} to {sent} with {dict(request.headers)}"
        status = {"e400": 400, "e401": 401, "e500": 500}.get(body["model"])
        if status is not None:
            error = {"message": said, "type": said, "code": said, "param": said}
            return web.json_response({"error": error}, status=status, headers={"x-said": PROMPT})
        if body["model"] == "garbage":
            return web.Response(text=said)
        message = {"role": "assistant", "content": said}
        whole = {"id": "a1", "object": "chat.completion", "created": 1, "model": "ok"}
        usage = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        if not body.get("stream"):
            return web.json_response({**whole, "choices": [choice], "usage": usage})
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        delta = {"index": 0, "delta": message, "finish_reason": None}
        await response.write(f"data: {json.dumps({**whole, 'choices': [delta]})}\n\n".encode())
        if body["model"] == "mid":
            broken = json.dumps({"error": {"message": said, "type": said}})
            await response.write(f"data: {broken}\n\n".encode())
            return response
        last = {"index": 0, "delta": {}, "finish_reason": "stop"}
        ended = {**whole, "choices": [last], "usage": usage}
        await response.write(f"data: {json.dumps(ended)}\n\ndata: [DONE]\n\n".encode())
        return response

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    try:
        yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/v1"  # type: ignore[attr-defined]
    finally:
        await runner.cleanup()


@dataclass
class Seen:
    """What came out, by where."""

    keys: dict[str, str] = field(default_factory=dict)
    answers: list[bytes] = field(default_factory=list)
    errors: list[bytes] = field(default_factory=list)
    admin: list[bytes] = field(default_factory=list)
    statuses: set[int] = field(default_factory=set)


async def served(folder: Path, *, form: str, more: str = "") -> tuple[Seen, bytes, bytes]:
    """Send requests of every kind; return what came back, the log, and what the collector got."""
    seen = Seen()
    async with repeating_upstream() as upstream, Collector() as collector:
        text = COMPOSITION.format(upstream=upstream, collector=collector.url)
        (folder / "experts.yaml").write_text(text.replace("observe: {", "observe: {" + more))
        env = {"UP_KEY": PROVIDER_KEY, "UP_TEAM": f"team-{PROVIDER_KEY}"}
        env |= {"COE_LOG_LEVEL": "debug", "COE_LOG_FORMAT": form}
        env["COE_STATE_DIR"] = str(folder / "s")
        for name, words in KEYS.items():
            seen.keys[name] = await _key(folder, [name, *words], env)
        server = Server(cwd=folder, env=env)
        try:
            url = await asyncio.to_thread(lambda: server.url)
            async with aiohttp.ClientSession() as session:
                for body in _bodies():
                    await _ask(session, url, seen, body)
                own = {"model": "good", "messages": [{"role": "user", "content": OWN}]}
                bearer = {"authorization": f"Bearer {seen.keys['private']}"}
                await _ask(session, url, seen, (own, bearer))
                await _look(session, url, seen)
        finally:
            await asyncio.to_thread(server.stop)
        return seen, server.log.encode(), b"".join(collector.bodies)


async def _key(folder: Path, words: list[str], env: dict[str, str]) -> str:
    """Make a key; return what a client shows."""
    process = await asyncio.create_subprocess_exec(
        *(str(COE), "keys", "add", *words),
        cwd=folder,
        env={**os.environ, **env},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return next(word for word in out.decode().split() if word.startswith("coe-"))


def _bodies() -> list[tuple[dict[str, Any] | None, dict[str, str]]]:
    """Return requests of every kind, each with the headers that go with it."""
    tool = {"type": "function", "function": {"name": "f", "parameters": {"x": TOOL}}}
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": TOOL}}
    messages = [
        {"role": "system", "content": f"a poem about {PROMPT}"},
        {"role": "user", "content": f"odd {PROMPT}"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": TOOL},
        {"role": "user", "content": PROMPT},
    ]
    models = ["good", "refuses", "denies", "fails", "strange", "midway", "coe/both", "coe/best"]
    bodies: list[tuple[dict[str, Any] | None, dict[str, str]]] = [
        ({"model": model, "messages": messages, "stream": stream}, {})
        for model in [*models, "coe/poems", "coe/strange", "coe/auto", "poem", "nobody"]
        for stream in (False, True)
    ]
    good = {"model": "good", "messages": messages}
    bodies += [
        ({**good, "tools": [tool], "user": PROMPT, "metadata": {PROMPT: PROMPT}}, {}),
        ({**good, "messages": PROMPT}, {}),
        ({**good, "messages": [{"role": PROMPT, "content": PROMPT}]}, {}),
        ({**good, "n": PROMPT}, {}),
        ({**good, PROMPT: {PROMPT: PROMPT}}, {"x-coe-lane": HEADER}),
        (good, {"x-session-id": HEADER, "x-custom": HEADER, "user-agent": HEADER}),
        (good, {"traceparent": HEADER, "tracestate": HEADER, "cookie": HEADER, "baggage": HEADER}),
        (good, {"authorization": f"Bearer coe-{HEADER}"}),
        (None, {}),
    ]
    return bodies


async def _ask(
    session: aiohttp.ClientSession,
    url: str,
    seen: Seen,
    asked: tuple[dict[str, Any] | None, dict[str, str]],
) -> None:
    body, headers = asked
    given = {"authorization": f"Bearer {seen.keys['asker']}", **headers}
    sent = b"{" + PROMPT.encode() if body is None else json.dumps(body).encode()
    path = f"{url}/v1/chat/completions"
    async with session.post(path, data=sent, headers=given) as response:
        raw = await response.read()
        head = repr(dict(response.headers)).encode()
    seen.statuses.add(response.status)
    for line in raw.split(b"\n\n"):  # of a stream that broke, the answer's part is an answer
        is_error = response.status != 200 or line.startswith(b'data: {"error"')
        (seen.errors if is_error else seen.answers).append(head + line)


async def _look(session: aiohttp.ClientSession, url: str, seen: Seen) -> None:
    """Read everything that operators can read."""
    boss = {"authorization": f"Bearer {seen.keys['boss']}"}
    for path in PATHS:
        async with session.get(f"{url}{path}", headers=boss) as response:
            seen.admin.append(path.encode() + await response.read())


def found(where: bytes, *words: str) -> list[str]:
    return [word for word in words if word.encode() in where]


def state(folder: Path) -> bytes:
    """Return every byte of the state folder."""
    return b"".join(f.read_bytes() for f in sorted((folder / "s").rglob("*")) if f.is_file())


@pytest.mark.parametrize("form", ["text", "json"])
async def test_sec_15_what_is_said_and_who_says_it_come_out_nowhere_else(
    tmp_path: Path, form: str
) -> None:
    seen, log, spans = await served(tmp_path, form=form)
    secrets = (PROVIDER_KEY, *seen.keys.values())
    said = (PROMPT, OWN, TOOL, HEADER, ANSWER)

    # Every way was gone: answers, refusals, failures.
    assert seen.statuses >= {200, 400, 401, 404, 502}
    assert found(b"".join(seen.answers), PROMPT) == [PROMPT]
    assert b"coe_requests_total" in b"".join(seen.admin)
    assert b"chat ok" in spans
    assert b"coe.request" in log

    assert found(log, *secrets, *said) == []
    assert found(spans, *secrets, *said) == []
    assert found(b"".join(seen.admin), *secrets, *said) == []
    assert found(state(tmp_path), *secrets, *said) == []
    assert found(b"".join(seen.errors), *secrets, HEADER) == []
    assert found(b"".join(seen.answers), seen.keys["asker"], HEADER) == []


async def test_sec_16_prompts_are_kept_only_where_composition_and_key_say_so(
    tmp_path: Path,
) -> None:
    _, log, spans = await served(tmp_path, form="json", more="keep_prompts: text, ")

    assert found(state(tmp_path), PROMPT) == [PROMPT]
    assert found(state(tmp_path), OWN, ANSWER, PROVIDER_KEY) == []
    assert found(log, PROMPT) == []
    assert found(spans, PROMPT) == []
