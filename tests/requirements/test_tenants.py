"""What is one key's is never another's: files, batches, sessions, decisions. SEC-06, continued."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest

from coe.access.key import Wish
from coe.composition import load
from coe.stores.batches import BatchState
from coe.stores.files import Room
from coe.testing.upstream import FakeUpstream
from tests.integration.conftest import Running, Serve

pytestmark = pytest.mark.anyio

CLOSED = """
version: 1
server: {{auth: keys}}
backends: {{up: "{url}"}}
experts:
  good: {{backend: up, model: ok}}
  other: {{backend: up, model: ok}}
  slow: {{backend: up, model: slow-first-300ms}}
categories:
  code: {{keywords: [python], experts: [good]}}
default: good
routing: {{sessions: {{key: ["header:x-session-id"], stick: always}}}}
timeouts: {{connect: 2s, first_token: 5s, idle: 5s, total: 20s}}
"""
OPEN = CLOSED.replace("server: {{auth: keys}}\n", "")


class Client:
    """The real SDK with one key."""

    def __init__(self, running: Running, text: str) -> None:
        self.api = openai.AsyncOpenAI(base_url=running.url, api_key=text, max_retries=0)

    async def upload(self, *models: str) -> str:
        lines = [
            json.dumps(
                {
                    "custom_id": str(number),
                    "method": "POST",
                    "url": "/v1/chat/completions",
                    "body": {"model": model, "messages": [{"role": "user", "content": "hello"}]},
                }
            )
            for number, model in enumerate(models)
        ]
        content = "\n".join(lines).encode()
        return (await self.api.files.create(file=("in.jsonl", content), purpose="batch")).id

    async def begin(self, file: str) -> Any:
        return await self.api.batches.create(
            input_file_id=file, endpoint="/v1/chat/completions", completion_window="24h"
        )

    async def end(self, batch: Any) -> Any:
        async with asyncio.timeout(15):
            while batch.status not in {"completed", "failed", "expired", "cancelled"}:
                await asyncio.sleep(0.02)
                batch = await self.api.batches.retrieve(batch.id)
        return batch

    async def say(self, text: str, session: str) -> Any:
        return await self.api.chat.completions.with_raw_response.create(
            model="coe/auto",
            messages=[{"role": "user", "content": text}],
            extra_headers={"x-session-id": session},
        )


async def made(running: Running, **wish: Any) -> tuple[str, str]:
    """Return the id and the text of a new key."""
    premises = running.gateway.premises
    assert premises is not None
    assert premises.keys is not None
    key, text = await premises.keys.add(Wish(name="test", **wish), by="the test")
    return key.id, text


@asynccontextmanager
async def clients(running: Running, *texts: str) -> AsyncIterator[list[Client]]:
    async with AsyncExitStack() as stack:
        found = [Client(running, text) for text in texts]
        for one in found:
            stack.push_async_callback(one.api.close)
        yield found


async def test_sec_06_another_key_s_files_and_batches_are_not_there(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with serve(CLOSED.format(url=upstream.url), batch_concurrency=2) as running:
        keys = [(await made(running, team="same"))[1] for _ in range(2)]
        async with clients(running, *keys) as (mine, other):
            file = await mine.upload("good", "good")
            batch = await mine.end(await mine.begin(file))
            assert batch.status == "completed"
            assert [row.id for row in (await mine.api.batches.list()).data] == [batch.id]
            owned = {row.id for row in (await mine.api.files.list()).data}
            assert owned == {file, batch.output_file_id}
            assert "hello" in (await mine.api.files.content(batch.output_file_id)).text

            assert (await other.api.files.list()).data == []
            assert (await other.api.batches.list()).data == []
            asked = [other.api.batches.retrieve, other.api.batches.cancel]
            for ask in asked:
                with pytest.raises(openai.NotFoundError):
                    await ask(batch.id)
            for name in owned:
                for ask in (
                    other.api.files.retrieve,
                    other.api.files.content,
                    other.api.files.delete,
                ):
                    with pytest.raises(openai.NotFoundError):
                        await ask(name)
            with pytest.raises(openai.BadRequestError, match="input_file_id"):
                await other.begin(file)
            with pytest.raises(openai.NotFoundError):
                await other.api.files.list(after=file)
            with pytest.raises(openai.NotFoundError):
                await other.api.batches.list(after=batch.id)
            assert len((await mine.api.files.list()).data) == 2


@pytest.mark.parametrize("composition", [CLOSED, OPEN], ids=["keys", "open"])
async def test_sec_06_the_error_file_of_a_batch_that_is_refused_is_its_owner_s(
    serve: Serve, upstream: FakeUpstream, composition: str
) -> None:
    async with serve(composition.format(url=upstream.url)) as running:
        keys = [(await made(running))[1] for _ in range(2)] if composition == CLOSED else ["a", "b"]
        async with clients(running, *keys) as (mine, other):
            batch = await mine.end(await mine.begin(await mine.upload(*["nobody"] * 101)))
            assert batch.status == "failed"
            rows = (await mine.api.files.content(batch.error_file_id)).text.splitlines()
            assert len(rows) == 101
            for ask in (
                other.api.files.retrieve,
                other.api.files.content,
                other.api.files.delete,
            ):
                with pytest.raises(openai.NotFoundError):
                    await ask(batch.error_file_id)

            files = (await mine.api.files.list()).data
            assert {row.purpose for row in files} == {"batch", "batch_output"}
        state = _state(running)
        tenant = (await asyncio.to_thread(state.batches.get, batch.id)).tenant
        room = Room(1 << 20, tenant)
        assert state.files.left(room) == room.most - sum(row.bytes for row in files)


async def test_the_lines_of_a_batch_are_asked_by_the_key_that_made_it(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with serve(CLOSED.format(url=upstream.url)) as running:
        key_id, text = await made(running, team="search")
        seen: list[tuple[str, str]] = []

        class Listener:
            async def admit(self, call: Any, claim: Any) -> None:
                del call
                seen.append((claim.identity.key, claim.identity.team))

        live = running.live.current.gateway
        object.__setattr__(live, "keepers", (*live.keepers, Listener()))
        async with clients(running, text) as (mine,):
            batch = await mine.end(await mine.begin(await mine.upload("good", "coe/auto")))
        assert batch.status == "completed"
        assert seen == [(key_id, "search")] * 2


async def test_a_key_that_is_revoked_ends_its_batch_and_the_batch_says_so(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with serve(CLOSED.format(url=upstream.url), batch_concurrency=1) as running:
        key_id, text = await made(running)
        admin = (await made(running, scopes=("data",)))[1]
        async with clients(running, text, admin) as (mine, _):
            batch = await mine.begin(await mine.upload(*["slow"] * 40))
            async with asyncio.timeout(10):
                while (await mine.api.batches.retrieve(batch.id)).request_counts.completed < 1:
                    await asyncio.sleep(0.02)
        premises = running.gateway.premises
        assert premises is not None
        assert premises.keys is not None
        await premises.keys.revoke(key_id, by="the test")
        state = _state(running)
        async with asyncio.timeout(10):
            while not (now := await asyncio.to_thread(state.batches.get, batch.id)).has_ended:
                await asyncio.sleep(0.02)
        assert now.status == "failed"
        assert [row.code for row in now.mistakes] == ["invalid_api_key"]
        assert "was revoked" in now.mistakes[0].message
        assert 1 <= now.completed < 10
        output = state.files.path(now.output_file_id).read_bytes().splitlines()
        errors = state.files.path(now.error_file_id).read_bytes().splitlines()
        assert len(output) == now.completed
        assert len(output) + len(errors) == 40
        assert json.loads(errors[-1])["error"]["code"] == "invalid_api_key"


def _state(running: Running) -> Any:
    return BatchState.open(running.live._settings.state_folder)


async def test_an_open_gateway_keeps_clients_apart_by_what_they_show(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with serve(OPEN.format(url=upstream.url)) as running:
        async with clients(running, "one", "two") as (one, two):
            file = await one.upload("good")
            assert [row.id for row in (await one.api.files.list()).data] == [file]
            assert (await two.api.files.list()).data == []
        answer = await running.request("GET", f"{running.url}/files")
        assert (await answer.json())["data"] == []


async def test_what_nobody_in_particular_left_is_everybody_s_on_an_open_gateway_alone(
    serve: Serve, upstream: FakeUpstream
) -> None:
    line = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions"}
    form = {"purpose": "batch", "file": json.dumps({**line, "body": {"model": "good"}})}
    async with serve(OPEN.format(url=upstream.url)) as running:
        data = aiohttp.FormData()
        data.add_field("purpose", "batch")
        data.add_field("file", form["file"], filename="in.jsonl")
        answer = await running.request("POST", f"{running.url}/files", data=data)
        file = (await answer.json())["id"]
        async with clients(running, "one") as (one,):
            assert [row.id for row in (await one.api.files.list()).data] == [file]
    async with serve(CLOSED.format(url=upstream.url)) as running:
        _, text = await made(running)
        async with clients(running, text) as (mine,):
            assert (await mine.api.files.list()).data == []
            with pytest.raises(openai.NotFoundError):
                await mine.api.files.retrieve(file)


async def test_sec_06_another_key_s_session_is_not_steered_by_naming_it(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with serve(CLOSED.format(url=upstream.url)) as running:
        keys = [(await made(running))[1] for _ in range(2)]
        async with clients(running, *keys) as (mine, other):
            await mine.say("python", "s1")
            again = await mine.say("and now", "s1")
            assert again.headers["x-coe-reason"] == "session"
            assert again.headers["x-coe-category"] == "code"
            theirs = await other.say("and now", "s1")
            assert theirs.headers["x-coe-reason"] != "session"


async def test_sec_06_another_key_s_decision_is_not_there_unless_the_key_is_for_experiments(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with serve(CLOSED.format(url=upstream.url)) as running:
        keys = [(await made(running))[1] for _ in range(2)]
        analyst = (await made(running, scopes=("experiments",)))[1]
        async with clients(running, *keys) as (mine, _):
            said = await mine.say("python", "s1")
        url = f"{running.url}/decisions/{said.headers['x-coe-decision-id']}"
        found = []
        for key in (*keys, analyst):
            headers = {"authorization": f"Bearer {key}"}
            found.append((await running.request("GET", url, headers=headers)).status)
        assert found == [200, 404, 200]
        body = {"decision_id": said.headers["x-coe-decision-id"], "value": True}
        headers = {"authorization": f"Bearer {analyst}"}
        refused = await running.request(
            "POST", f"{running.url}/feedback", json=body, headers=headers
        )
        assert refused.status == 403


TEAMS = """
experiments:
  swap:
    status: running
    unit: team
    audience: {{{audience}}}
    arms:
      control: 50%
      swapped: {{share: 50%, set: {{routing.routes.code: [other, good]}}}}
"""


async def arm(running: Running, key: str) -> str:
    body = {"model": "coe/auto", "messages": [{"role": "user", "content": "python"}]}
    headers = {"authorization": f"Bearer {key}"}
    url = f"{running.url}/chat/completions"
    answer = await running.request("POST", url, json=body, headers=headers)
    assert answer.status == 200
    return str(answer.headers.get("x-coe-experiment", ""))


async def test_a_team_is_one_unit_of_an_experiment(serve: Serve, upstream: FakeUpstream) -> None:
    file = CLOSED.format(url=upstream.url) + TEAMS.format(audience="")
    async with serve(file) as running:
        arms = []
        for team in "abcdefghijkl":
            keys = [(await made(running, team=team))[1] for _ in range(3)]
            found = {await arm(running, key) for key in keys}
            assert len(found) == 1, "all keys of a team are in one arm"
            arms += found
        assert set(arms) == {"swap:control", "swap:swapped"}
        assert await arm(running, (await made(running))[1]) == "", "without a team: no part"


@pytest.mark.parametrize(
    ("audience", "inside"), [("teams: [a]", {"a"}), ("teams_not: [a]", {"b", ""})]
)
async def test_an_audience_may_be_of_teams(
    serve: Serve, upstream: FakeUpstream, audience: str, inside: set[str]
) -> None:
    teams = TEAMS.format(audience=audience).replace("unit: team", "unit: key")
    async with serve(CLOSED.format(url=upstream.url) + teams) as running:
        for team in ("a", "b", ""):
            key = (await made(running, team=team))[1]
            assert bool(await arm(running, key)) is (team in inside)


async def test_a_key_for_experiments_reads_reports_of_all_and_pauses_one(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path
) -> None:
    file = CLOSED.format(url=upstream.url) + TEAMS.format(audience="")
    async with serve(file) as running:
        for team in "ab":
            await arm(running, (await made(running, team=team))[1])
        key = (await made(running, scopes=("experiments",)))[1]

        async def ask(method: str, path: str) -> Any:
            headers = {"authorization": f"Bearer {key}"}
            url = f"{running.url}/experiments{path}"
            answer = await running.request(method, url, headers=headers)
            return answer.status, await answer.json()

        _, listed = await ask("GET", "")
        assert [(row["name"], row["status"]) for row in listed["data"]] == [("swap", "running")]
        async with asyncio.timeout(10):
            while sum(row["requests"] for row in (await report(ask))["arms"]) < 2:
                await asyncio.sleep(0.02)  # the log is written behind the answers
        assert (await ask("GET", "/none"))[0] == 404
        status, paused = await ask("POST", "/swap/pause")
        assert (status, paused["status"]) == (200, "paused")
        assert running.live.composition.experiments["swap"].status == "paused"
        assert load(tmp_path / "experts.yaml").experiments["swap"].status == "paused"
        assert await arm(running, (await made(running, team="a"))[1]) == ""


async def report(ask: Any) -> Any:
    status, found = await ask("GET", "/swap")
    assert status == 200
    return found["report"]
