"""Experts that come and go while the gateway serves: the file, the swap, and who is let in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import openai
import pytest

from coe.composition import load
from coe.errors import ConfigError
from coe.live import Live
from coe.settings import Settings
from coe.telemetry import Telemetry
from coe.testing.upstream import FakeUpstream
from coe.wiring import wire

from .conftest import Running, Serve

pytestmark = pytest.mark.anyio

FILE = """\
# Who answers here.
version: 1
backends:
  up: "{url}"      # ours
experts:
  general: up/ok
  coder: {{backend: up, model: ok}}
categories:
  code:
    utterances: &code
      - write a python function
      - fix the bug in this python function
      - explain this python stack trace
      - refactor this python class
      - write a python unit test
    experts: [coder, general]   # ranked
encoders: {{small: {{type: hashed}}}}
routers: {{default: {{type: embedding, encoder: small}}}}
routing: {{threshold: 0.3}}
default: general
"""
CODE = "write a python function"


class Site:
    """Serves the file and speaks to its endpoints."""

    def __init__(self, serve: Serve, upstream: FakeUpstream, folder: Path) -> None:
        self._serve = serve
        self.upstream = upstream
        self.file = folder / "experts.yaml"

    @property
    def text(self) -> str:
        return FILE.format(url=self.upstream.url)

    def running(self, admin: str = "loopback") -> AbstractAsyncContextManager[Running]:
        return self._serve(self.text, admin=admin)

    async def add(self, running: Running, **body: Any) -> tuple[int, Any]:
        answer = await running.request("POST", f"{running.url}/experts", json=body)
        return answer.status, await answer.json()

    async def remove(self, running: Running, name: str) -> int:
        answer = await running.request("DELETE", f"{running.url}/experts/{name}")
        return answer.status


@pytest.fixture
def site(serve: Serve, upstream: FakeUpstream, tmp_path: Path) -> Site:
    return Site(serve, upstream, tmp_path)


async def ready(running: Running) -> None:
    """Return once the router is loaded."""
    async with asyncio.timeout(10):
        while set(running.live.readiness.values()) != {"ready"}:
            await asyncio.sleep(0)


async def test_an_expert_is_served_at_once_and_stands_in_the_file(site: Site) -> None:
    async with site.running() as running:
        status, card = await site.add(running, name="judge", backend="up", model="ok")
        answered = await running.chat("judge")

        assert (status, answered.status) == (201, 200)
        assert answered.headers["x-coe-expert"] == "judge"
        assert card["status"] == "canary"
        assert card["composition"] == load(site.file).fingerprint
        line = "  judge: {backend: up, model: ok, status: canary}\n"
        assert site.file.read_text() == site.text.replace("categories:\n", f"{line}categories:\n")


async def test_an_expert_is_ranked_first_or_last_in_its_categories(site: Site) -> None:
    async with site.running() as running:
        await ready(running)
        body = {"backend": "up", "model": "ok", "categories": ["code"], "status": "live"}
        _, first = await site.add(running, name="first", **body)
        await site.add(running, name="last", rank="last", **body)
        answered = await running.chat(text=CODE)

        assert first["categories"] == ["code"]
        assert answered.headers["x-coe-expert"] == "first"
        ranked = load(site.file).routing.routes["code"]
        assert ranked == ("first", "coder", "general", "last")
        assert "    experts: [first, coder, general, last]   # ranked" in site.file.read_text()


async def test_what_has_not_changed_is_not_built_again(site: Site) -> None:
    async with site.running() as running:
        await ready(running)
        await running.chat("coder")
        before = running.live.current.gateway
        await site.add(running, name="judge", backend="up", model="ok", categories=["code"])
        await running.chat("judge")
        after = running.live.current.gateway

        assert after is not before
        assert after.classifier is before.classifier
        assert after.backends["up"] is before.backends["up"]
        assert dict(after.encoders)["small"] is dict(before.encoders)["small"]
        assert site.upstream.accepted == 1


async def test_a_router_that_looks_at_experts_is_built_again(site: Site) -> None:
    rows = [{"text": f"{CODE} {i}", "expert": "coder"} for i in range(12)]
    (site.file.parent / "best.jsonl").write_text("\n".join(map(json.dumps, rows)))
    text = site.text.replace("type: embedding,", "type: pilot, queries: best.jsonl,")
    async with site._serve(text, admin="loopback") as running:
        await ready(running)
        before = running.live.current.gateway
        status, _ = await site.add(running, name="judge", backend="up", model="ok")
        after = running.live.current.gateway

        assert status == 201
        assert after.classifier is not before.classifier
        assert after.classifier is not None
        assert after.classifier.ready
        assert after.encoders["small"] is before.encoders["small"]


async def test_a_judge_that_is_another_one_now_is_asked_anew(site: Site) -> None:
    """What the router remembers of texts is the old judge's word."""
    judge = "routers: {default: {type: llm, expert: general}}"
    lines = site.text.splitlines(keepends=True)
    text = "".join(f"{judge}\n" if line.startswith("routers:") else line for line in lines)
    site.upstream.says = lambda body: "code" if "categor" in str(body).lower() else None
    async with site._serve(text, admin="loopback") as running:
        await ready(running)
        before = running.live.current.gateway.classifier
        await site.add(running, name="other", backend="up", model="ok")
        same = running.live.current.gateway.classifier
        url = f"{running.url}/experts/general"
        changed = await running.request("PATCH", url, json={"defaults": {"temperature": 0.5}})
        after = running.live.current.gateway.classifier

        assert changed.status == 200
        assert same is before
        assert after is not before


async def test_sessions_outlive_a_swap(site: Site) -> None:
    async with site.running() as running:
        await ready(running)
        headers = {"x-session-id": "one"}

        async def turn(*texts: str) -> Any:
            messages = [{"role": "user", "content": text} for text in texts]
            body = {"model": "coe/auto", "messages": messages}
            url = f"{running.url}/chat/completions"
            return await running.request("POST", url, json=body, headers=headers)

        await turn(CODE)
        await site.add(running, name="judge", backend="up", model="ok")
        second = await running.request(
            "POST",
            f"{running.url}/route",
            json={
                "messages": [
                    {"role": "user", "content": CODE},
                    {"role": "assistant", "content": "done"},
                    {"role": "user", "content": "and what now"},
                ]
            },
            headers=headers,
        )

        assert (await second.json())["session"]["previous"] == "code"


async def test_a_stream_that_began_before_ends_on_the_old_one(site: Site) -> None:
    async with (
        site.running() as running,
        openai.AsyncOpenAI(base_url=running.url, api_key="unused") as api,
    ):
        await site.add(running, name="slow", backend="up", model="slow-token-100ms")
        stream = await api.chat.completions.create(
            model="slow", messages=[{"role": "user", "content": "a b c d"}], stream=True
        )
        pieces = aiter(stream)
        await anext(pieces)
        old = running.live.current
        assert await site.remove(running, "slow") == 204
        gone = await running.chat("slow")

        text = [chunk.choices[0].delta.content or "" async for chunk in pieces if chunk.choices]

        assert "".join(text).endswith("d")
        assert gone.status == 404
        assert running.live.current is not old
        async with asyncio.timeout(5):
            while old.users:
                await asyncio.sleep(0)


async def test_what_only_the_old_one_used_is_closed_once_its_requests_have_ended(
    site: Site,
) -> None:
    async with FakeUpstream() as other, site.running() as running:
        text = site.text.replace(
            "experts:\n", f'  two: "{other.url}"\nexperts:\n  b: two/hang\n', 1
        )
        site.file.write_text(text)
        await running.live.replace(load(site.file))
        calling = asyncio.create_task(running.chat("b"))
        await other.arrived()
        site.file.write_text(site.text)
        await running.live.replace(load(site.file))

        assert other.connections == 1  # the call is still on it
        calling.cancel()
        async with asyncio.timeout(5):
            await other.disconnected()
        assert (await running.chat("general")).status == 200


async def test_a_bad_expert_changes_neither_the_file_nor_the_gateway(site: Site) -> None:
    async with site.running() as running:
        before = running.live.current
        wrong: list[tuple[dict[str, Any], int, str]] = [
            ({"name": "judge", "backend": "nowhere", "model": "x"}, 400, "judge.backend"),
            ({"name": "judge", "backend": "up"}, 400, "`model` is missing"),
            ({"name": "judge", "backend": "up", "model": "m", "statu": 1}, 400, "`status`?"),
            ({"name": "judge", "backend": "up", "model": "m", "categories": ["x"]}, 400, "`x`"),
            ({"name": "judge", "backend": "up", "model": "m", "rank": 1}, 400, "`last`"),
            ({"name": "coder", "backend": "up", "model": "m"}, 409, "already"),
            ({"backend": "up", "model": "m"}, 400, "`name`"),
            ({"name": "no space", "backend": "up", "model": "m"}, 400, "cannot be a name"),
        ]
        for body, expected, why in wrong:
            status, answer = await site.add(running, **body)
            assert (status, why in answer["error"]["message"]) == (expected, True), answer

        assert running.live.current is before
        assert site.file.read_text() == site.text


async def test_an_expert_that_others_need_is_not_removed(site: Site) -> None:
    async with site.running() as running:
        answer = await running.request("DELETE", f"{running.url}/experts/general")
        error = (await answer.json())["error"]

        assert answer.status == 409
        assert error["code"] == "conflict"
        assert "`default`" in error["message"]
        assert await site.remove(running, "nobody") == 404
        assert site.file.read_text() == site.text


async def test_a_status_is_changed_and_a_key_removed(site: Site) -> None:
    async with site.running() as running:
        await site.add(running, name="judge", backend="up", model="ok", share="20%")
        url = f"{running.url}/experts/judge"
        live = await running.request("PATCH", url, json={"status": "live", "share": None})
        nothing = await running.request("PATCH", url, json={})
        shown = await running.request("GET", url)
        listed = await running.request("GET", f"{running.url}/experts")

        assert (await live.json())["status"] == "live"
        assert nothing.status == 400
        assert (await shown.json())["status"] == "live"
        assert [row["name"] for row in (await listed.json())["data"]] == [
            "general",
            "coder",
            "judge",
        ]
        assert "  judge: {backend: up, model: ok, status: live}\n" in site.file.read_text()


@pytest.mark.parametrize("key", ["name", "draft"])
async def test_a_key_that_experts_do_not_have_is_refused(site: Site, key: str) -> None:
    async with site.running() as running:
        url = f"{running.url}/experts/coder"
        answer = await running.request("PATCH", url, json={key: "other"})
        error = (await answer.json())["error"]

        assert answer.status == 400
        assert f"`{key}`" in error["message"] or f".{key}" in error["message"]
        assert site.file.read_text() == site.text


async def test_it_is_off_unless_it_is_switched_on(site: Site) -> None:
    async with site.running(admin="off") as running:
        status, answer = await site.add(running, name="judge", backend="up", model="ok")

        assert status == 403
        assert "COE_ADMIN=loopback" in answer["error"]["message"]
        assert site.file.read_text() == site.text


@pytest.mark.parametrize(
    "headers",
    [
        {"x-forwarded-for": "10.0.0.1"},
        {"forwarded": "for=10.0.0.1"},
        {"origin": "http://evil.example"},
        {"host": "evil.example"},
    ],
)
async def test_neither_a_proxy_nor_a_web_page_is_let_in(
    site: Site, headers: dict[str, str]
) -> None:
    async with site.running() as running:
        answer = await running.request("GET", f"{running.url}/experts", headers=headers)

        assert answer.status == 403


async def test_no_request_fails_while_experts_come_and_go(site: Site) -> None:
    """The real SDK, streamed and not, against thirty swaps; some of them refused."""
    async with (
        site.running() as running,
        openai.AsyncOpenAI(base_url=running.url, api_key="unused", max_retries=0) as api,
    ):
        await ready(running)
        stop = asyncio.Event()
        answered = 0

        async def ask(model: str, *, stream: bool) -> None:
            nonlocal answered
            messages: Any = [{"role": "user", "content": CODE}]
            while not stop.is_set():
                if stream:
                    chunks: AsyncIterator[Any] = await api.chat.completions.create(
                        model=model, messages=messages, stream=True
                    )
                    said = [c.choices[0].delta.content or "" async for c in chunks if c.choices]
                    assert "".join(said) == f"echo: {CODE}"
                else:
                    whole = await api.chat.completions.create(model=model, messages=messages)
                    assert whole.choices[0].message.content == f"echo: {CODE}"
                answered += 1

        async with asyncio.TaskGroup() as asking:
            for model in ("coe/auto", "general", "coder"):
                asking.create_task(ask(model, stream=True))
                asking.create_task(ask(model, stream=False))
            for turn in range(15):
                body = {"backend": "up", "model": "ok", "categories": ["code"]}
                both = await asyncio.gather(
                    site.add(running, name=f"new{turn}", **body),
                    site.add(running, name=f"new{turn}", **body),
                    site.add(running, name=f"bad{turn}", backend="nowhere", model="x"),
                )
                assert sorted(status for status, _ in both) == [201, 400, 409]
                assert await site.remove(running, f"new{turn}") == 204
            stop.set()

        assert answered > 30
        assert site.file.read_text() == site.text
        assert running.live.telemetry.in_flight == 0


async def test_the_endpoints_are_documented(site: Site) -> None:
    async with site.running() as running:
        url = running.url.removesuffix("/v1")
        document = await (await running.request("GET", f"{url}/openapi.json")).json()

    post = document["paths"]["/v1/experts"]["post"]
    keys = post["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert {"name", "categories", "backend", "model", "status"} <= set(keys)
    assert {"get", "delete", "patch"} <= set(document["paths"]["/v1/experts/{name}"])


async def test_a_composition_that_cannot_be_built_keeps_the_old_one(site: Site) -> None:
    async with site.running() as running:
        before = running.live.current
        broken = site.text.replace('up: "', 'local: {type: local, no_such_key: 1}\n  up: "')
        site.file.write_text(
            broken.replace("  general: up/ok", "  general: up/ok\n  x: local/gpt2")
        )

        with pytest.raises(ConfigError):
            await running.live.replace(load(site.file))

        assert running.live.current is before
        assert (await running.chat("general")).status == 200


async def test_what_is_loaded_while_another_one_is_prepared_is_ready(site: Site) -> None:
    site.file.write_text(site.text)
    composition, settings = load(site.file), Settings(config=site.file)
    live = Live(wire(composition, settings, Telemetry(log_requests=False)), settings)
    async with live.running():
        await asyncio.sleep(0)
        assert live.readiness == {"router": "loading"}
        async with live.replacing(composition), asyncio.timeout(10):
            while live.readiness != {"router": "ready"}:
                await asyncio.sleep(0)

        assert live.readiness == {"router": "ready"}
