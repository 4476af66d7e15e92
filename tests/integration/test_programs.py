"""Prompt programs as clients see them: the real openai SDK, real sockets, real experts below."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from itertools import count
from pathlib import Path
from typing import Any

import openai
import pytest

from coe.composition import load
from coe.composition.programs import Recipe
from coe.testing.upstream import FakeUpstream

from .conftest import Coe, Running, Serve
from .test_scheduling import Held, plugin

__all__ = ["plugin"]  # installs the type `held` for every test

pytestmark = pytest.mark.anyio

FILE = """
version: 1
backends: {{up: "{url}"}}
experts:
  coder: {{backend: up, model: "{model}", cost: {{input: 1 USD/M, output: 2 USD/M}}}}
  terse: {{recipe: {{over: coder, system: Be terse.}}}}
  shown: {{recipe: {{over: coder, examples: {{file: shots.jsonl, nearest: 2}}}}}}
  voted: {{recipe: {{over: terse, samples: 5, vote: number, temperature: 0.9}}}}
  hello: {{constant: "Hello! I am {{model}}."}}
  no: {{refuse: "I may not answer this."}}
  memo: {{cached: coder}}
encoders: {{small: {{type: hashed}}}}
default: coder
timeouts: {{connect: 2s, first_token: 5s, idle: 5s, total: 20s}}
"""
SHOTS = [("what is 2 plus 2", "4"), ("name a tree", "oak"), ("what is 3 plus 3", "6")]
ADD = [{"role": "user", "content": "what is 4 plus 4"}]
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}


class Desk:
    """Serves the programs, over an expert that behaves as a test wants."""

    def __init__(self, serve: Serve, upstream: FakeUpstream, folder: Path) -> None:
        self._serve = serve
        self.upstream = upstream
        lines = [json.dumps({"prompt": prompt, "answer": answer}) for prompt, answer in SHOTS]
        (folder / "shots.jsonl").write_text("\n".join(lines))

    def text(self, model: str = "ok") -> str:
        return FILE.format(url=self.upstream.url, model=model)

    def gateway(self, model: str = "ok") -> AbstractAsyncContextManager[Running]:
        return self._serve(self.text(model), admin="loopback")

    @property
    def sent(self) -> Any:
        return self.upstream.requests[-1].json

    def count_up(self, *numbers: int) -> None:
        """Answer the next requests with these numbers, whoever comes."""
        turn = count()
        self.upstream.says = lambda _: f"so it is {numbers[next(turn)]}"


@pytest.fixture
def desk(serve: Serve, upstream: FakeUpstream, tmp_path: Path) -> Desk:
    return Desk(serve, upstream, tmp_path)


def client(running: Running, key: str = "unused") -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=running.url, api_key=key, max_retries=0)


async def ask(running: Running, model: str, key: str = "unused", **fields: Any) -> Any:
    async with client(running, key) as api:
        return await api.chat.completions.create(model=model, **{"messages": ADD, **fields})


async def chunks(running: Running, model: str, key: str = "unused", **fields: Any) -> list[Any]:
    async with client(running, key) as api:
        fields = {"messages": ADD, **fields}
        stream = await api.chat.completions.create(model=model, stream=True, **fields)
        return [chunk async for chunk in stream]


def text_of(parts: list[Any]) -> str:
    return "".join(c.choices[0].delta.content or "" for c in parts if c.choices)


# ---------------------------------------------------------------- recipes


async def test_a_recipe_puts_its_system_prompt_first(desk: Desk) -> None:
    messages = [{"role": "system", "content": "You are kind."}, *ADD]
    async with desk.gateway() as running:
        answer = await ask(running, "terse", messages=messages, temperature=0.1)

    assert answer.model == "terse"
    assert answer.choices[0].message.content == "echo: what is 4 plus 4"
    assert desk.sent["messages"][0]["content"] == "Be terse.\n\nYou are kind."
    assert desk.sent["messages"][1:] == ADD
    assert desk.sent["temperature"] == 0.1
    assert desk.sent["model"] == "ok"


async def test_a_recipes_stream_passes_through_as_it_comes(desk: Desk) -> None:
    async with desk.gateway() as running:
        found = await chunks(running, "terse", stream_options={"include_usage": True})

    assert text_of(found) == "echo: what is 4 plus 4"
    assert len(found) > 5
    assert {chunk.model for chunk in found} == {"terse"}
    assert found[-1].usage.total_tokens == 11


async def test_the_nearest_examples_are_shown_the_nearest_last(desk: Desk) -> None:
    async with desk.gateway() as running:
        await ask(running, "shown")

    *shown, last = desk.sent["messages"]
    assert last == ADD[0]
    assert [message["role"] for message in shown] == ["user", "assistant"] * 2
    assert {message["content"] for message in shown} == {
        "what is 2 plus 2", "4", "what is 3 plus 3", "6",
    }  # fmt: skip


async def test_samples_are_voted_on_and_their_tokens_are_summed(desk: Desk) -> None:
    desk.count_up(7, 8, 8, 9, 8)
    async with desk.gateway() as running:
        answer = await ask(running, "voted", seed=3)

    assert answer.choices[0].message.content == "so it is 8"
    assert answer.model == "voted"
    bodies = [request.json for request in desk.upstream.requests]
    assert {body["temperature"] for body in bodies} == {0.9}
    assert len({body["seed"] for body in bodies}) == len(bodies)
    assert all(body["messages"][0]["content"] == "Be terse." for body in bodies)
    ended = answer.usage.prompt_tokens // 5
    assert 3 <= ended <= 5  # the vote may be over before all have ended
    assert answer.usage.completion_tokens == 4 * ended


async def test_a_vote_is_streamed_in_proper_chunks(desk: Desk) -> None:
    desk.count_up(8, 8, 8, 8, 8)
    async with desk.gateway() as running:
        found = await chunks(running, "voted", stream_options={"include_usage": True})

    assert text_of(found) == "so it is 8"
    assert found[0].choices[0].delta.role == "assistant"
    assert found[-2].choices[0].finish_reason == "stop"
    assert found[-1].choices == []
    assert found[-1].usage.total_tokens % 9 == 0
    assert len({chunk.id for chunk in found}) == 1


async def test_a_vote_may_be_on_what_follows_a_mark(desk: Desk) -> None:
    marked = "vote: {answer: number, after: '####'}"
    text = desk.text().replace("vote: number", marked)
    turn = count()
    said = ["1 #### 8 ", "#### 9 (not 8)", "8 and 2 #### 8", "#### 8", "8 #### 7"]
    desk.upstream.says = lambda _: said[next(turn)]
    async with desk._serve(text) as running:
        answer = await ask(running, "voted")

    assert answer.choices[0].message.content in {said[0], said[2], said[3]}


async def test_a_sample_that_fails_is_no_vote(desk: Desk) -> None:
    desk.count_up(8, 8, 8)
    desk.upstream.plan(["error-500", "garbage"])
    async with desk.gateway() as running:
        answer = await ask(running, "voted")

    assert answer.choices[0].message.content == "so it is 8"


async def test_where_all_samples_fail_the_reason_is_told(desk: Desk) -> None:
    async with desk.gateway("error-500") as running, client(running) as api:
        with pytest.raises(openai.InternalServerError) as failed:
            await api.chat.completions.create(model="voted", messages=ADD)

    assert failed.value.status_code == 502
    assert desk.upstream.received == 5


async def test_where_all_samples_refuse_the_refusal_is_the_answer(desk: Desk) -> None:
    async with desk.gateway("refusal") as running:
        answer = await ask(running, "voted")

    assert answer.choices[0].message.refusal == "I would rather not"
    assert answer.model == "voted"


async def test_several_choices_of_a_vote_are_refused(desk: Desk) -> None:
    async with desk.gateway() as running, client(running) as api:
        with pytest.raises(openai.BadRequestError, match="`n` cannot be more") as refused:
            await api.chat.completions.create(model="voted", messages=ADD, n=2)

    assert refused.value.param == "n"
    assert desk.upstream.received == 0


async def test_a_turn_with_tools_has_one_owner(desk: Desk) -> None:
    async with desk.gateway("tools") as running:
        answer = await ask(running, "voted", tools=[TOOL], temperature=0.2)

    assert answer.choices[0].message.tool_calls[0].function.name == "add"
    assert desk.upstream.received == 1
    assert desk.sent["temperature"] == 0.2


# ---------------------------------------------------------------- what costs nothing


async def test_a_constant_asks_nobody(desk: Desk) -> None:
    async with desk.gateway() as running:
        whole = await ask(running, "hello")
        streamed = await chunks(running, "hello")

    assert whole.choices[0].message.content == text_of(streamed) == "Hello! I am hello."
    assert whole.usage.total_tokens == 0
    assert desk.upstream.received == 0


async def test_a_refusal_is_openais(desk: Desk) -> None:
    async with desk.gateway() as running:
        whole = await ask(running, "no")
        streamed = await chunks(running, "no")

    assert whole.choices[0].message.refusal == "I may not answer this."
    assert whole.choices[0].message.content is None
    assert whole.choices[0].finish_reason == "content_filter"
    assert streamed[0].choices[0].delta.refusal == "I may not answer this."
    assert streamed[-1].choices[0].finish_reason == "content_filter"


async def test_the_same_request_is_answered_once(desk: Desk) -> None:
    async with desk.gateway() as running:
        first = await ask(running, "memo")
        again = await ask(running, "memo")
        streamed = await chunks(running, "memo", stream_options={"include_usage": True})
        other = await ask(running, "memo", temperature=0.5)

    assert first.model == again.model == other.model == "memo"
    content = first.choices[0].message.content
    assert again.choices[0].message.content == text_of(streamed) == content
    assert again.id != first.id
    assert (first.usage.total_tokens, again.usage.total_tokens) == (11, 0)
    assert streamed[-1].usage.total_tokens == 0
    assert desk.upstream.received == 2


async def test_a_stream_is_kept_once_it_is_whole(desk: Desk) -> None:
    async with desk.gateway() as running:
        first = await chunks(running, "memo")
        again = await ask(running, "memo")

    assert again.choices[0].message.content == text_of(first)
    assert desk.upstream.received == 1


async def test_a_stream_that_breaks_is_not_kept(desk: Desk) -> None:
    desk.upstream.plan(["truncate-after-2", "ok"])
    async with desk.gateway() as running:
        with pytest.raises(openai.APIError):
            await chunks(running, "memo")
        again = await ask(running, "memo")

    assert again.choices[0].message.content == "echo: what is 4 plus 4"


async def test_what_one_client_was_told_is_not_told_to_another(desk: Desk) -> None:
    async with desk.gateway() as running:
        await ask(running, "memo", key="one")
        await ask(running, "memo", key="two")
        await ask(running, "memo", key="two")

    assert desk.upstream.received == 2


# ---------------------------------------------------------------- who leaves, and what changes


@pytest.mark.parametrize(("model", "calls"), [("terse", 1), ("voted", 5), ("memo", 1)])
async def test_who_leaves_ends_the_calls_below(desk: Desk, model: str, calls: int) -> None:
    async with desk.gateway("hang") as running:
        waiting = asyncio.create_task(ask(running, model))
        await desk.upstream.arrived(calls)
        waiting.cancel()
        async with asyncio.timeout(1):
            await desk.upstream.client_gone(calls)


async def test_who_leaves_a_stream_ends_the_call_below(desk: Desk) -> None:
    async with desk.gateway("stall-after-2") as running, client(running) as api:
        stream = await api.chat.completions.create(model="terse", messages=ADD, stream=True)
        await anext(aiter(stream))
        await stream.close()
        async with asyncio.timeout(1):
            await desk.upstream.client_gone()


async def test_a_changed_recipe_is_served_at_once(desk: Desk) -> None:
    async with desk.gateway() as running:
        await ask(running, "memo")
        await ask(running, "terse")
        changed = {"recipe": {"over": "coder", "system": "Be long."}}
        url = f"{running.url}/experts/terse"
        assert (await running.request("PATCH", url, json=changed)).status == 200
        answer = await ask(running, "terse")
        await ask(running, "memo")

    assert answer.model == "terse"
    assert desk.upstream.received == 3  # what was kept is still kept
    assert desk.sent["messages"][0]["content"] == "Be long."


async def test_another_expert_below_forgets_what_was_kept(desk: Desk) -> None:
    async with desk.gateway() as running:
        await ask(running, "memo")
        changed = {"defaults": {"temperature": 0.3}}
        url = f"{running.url}/experts/coder"
        assert (await running.request("PATCH", url, json=changed)).status == 200
        await ask(running, "memo")

    assert desk.upstream.received == 2
    assert desk.sent["temperature"] == 0.3


async def test_an_expert_that_others_stand_on_stays(desk: Desk) -> None:
    async with desk.gateway() as running:
        answer = await running.request("DELETE", f"{running.url}/experts/terse")

        assert answer.status == 409
        assert "`voted` stands on it" in (await answer.json())["error"]["message"]


async def test_a_program_may_stand_on_an_expert_that_is_retired(desk: Desk) -> None:
    async with desk.gateway() as running:
        keys = {"status": "retired"}
        await running.request("PATCH", f"{running.url}/experts/terse", json=keys)
        desk.count_up(8, 8, 8, 8, 8)
        answer = await ask(running, "voted")

    assert answer.choices[0].message.content == "so it is 8"


# ---------------------------------------------------------------- batches, auditions


async def test_a_batch_runs_through_a_recipe(desk: Desk, tmp_path: Path) -> None:
    desk.upstream.says = lambda body: f"so it is {len(body['messages'])}"
    state = str(tmp_path / "state")
    async with desk._serve(desk.text(), state_dir=state) as running, client(running) as api:
        rows = [
            {
                "custom_id": f"line-{number}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {"model": "voted", "messages": ADD, "seed": number},
            }
            for number in range(3)
        ]
        content = "\n".join(json.dumps(row) for row in rows).encode()
        file = await api.files.create(file=("in.jsonl", content), purpose="batch")
        batch = await api.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        while batch.status not in {"completed", "failed"}:
            await asyncio.sleep(0.02)
            batch = await api.batches.retrieve(batch.id)
        assert batch.output_file_id is not None
        answers = (await api.files.content(batch.output_file_id)).text.splitlines()

    said = [json.loads(line)["response"]["body"] for line in answers]
    assert [row["choices"][0]["message"]["content"] for row in said] == ["so it is 2"] * 3
    assert {row["model"] for row in said} == {"voted"}


@pytest.fixture
def folder(desk: Desk, tmp_path: Path) -> Path:
    (tmp_path / "experts.yaml").write_text(desk.text())
    return tmp_path


async def test_a_recipe_is_auditioned_like_any_expert(
    coe: Coe, folder: Path, upstream: FakeUpstream
) -> None:
    def knows(body: Mapping[str, Any]) -> str:
        return "8" if body["messages"][0]["content"] == "Be terse." else "it is eight"

    upstream.says = knows
    row = {"prompt": "what is 4 plus 4", "answer": "8"}
    rows = [{**row, "id": str(n), "body": {"seed": n}} for n in range(8)]
    (folder / "k.jsonl").write_text("".join(json.dumps(line) + "\n" for line in rows))

    def command(*words: str) -> Any:
        done = coe(*words)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    run = asyncio.to_thread
    found = await run(command, "experts", "audition", "terse", "--kshot", "k.jsonl", "--json")
    plain = await run(command, "experts", "audition", "coder", "--kshot", "k.jsonl", "--json")
    voted = await run(command, "experts", "audition", "voted", "--kshot", "k.jsonl", "--json")
    free = await run(command, "experts", "audition", "hello", "--kshot", "k.jsonl", "--json")

    assert found["quality"]["value"] == voted["quality"]["value"] == 1.0
    assert plain["quality"]["value"] == free["quality"]["value"] == 0.0


# ---------------------------------------------------------------- memory

SCHEDULED = """
version: 1
backends: {{box: {{type: held, url: "{url}", memory: 1GiB}}}}
experts:
  a: {{backend: box, model: a, memory: 1GiB}}
  b: {{backend: box, model: b, memory: 1GiB}}
  steps: {{recipe: {{over: a, system: Think., samples: 3, vote: text}}}}
default: a
"""


async def test_a_recipe_over_an_expert_in_memory_is_no_swap(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with serve(SCHEDULED.format(url=upstream.url)) as running:
        box = running.gateway.backends["box"]
        assert isinstance(box, Held)
        for model in ("a", "steps", "b", "steps"):
            await ask(running, model)

    assert box.moves == ["+a", "-a", "+b", "-b", "+a"]


async def test_the_calls_of_a_recipe_wait_as_the_request_does(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with serve(SCHEDULED.format(url=upstream.url)) as running:
        box, slots = running.gateway.backends["box"], running.gateway.slots["box"]
        assert isinstance(box, Held)
        box.gate.clear()
        waiting = asyncio.create_task(ask(running, "steps", extra_headers={"x-coe-lane": "bulk"}))
        while not slots.views()[0].bulk:
            await asyncio.sleep(0)
        assert (slots.views()[0].expert, slots.views()[0].bulk) == ("a", 3)
        box.gate.set()
        answer = await waiting

    assert answer.model == "steps"
    assert answer.choices[0].message.content == "echo: what is 4 plus 4"


# ---------------------------------------------------------------- like any expert


async def test_a_recipe_sits_on_a_panel(desk: Desk) -> None:
    desk.upstream.says = lambda body: f"so it is {len(body['messages'])}"
    panel = (
        "aggregation: {{all: {{method: vote, answer: number, experts: [coder, terse, hello],"
        " weighted: false}}}}\nmodels: {{coe/all: {{aggregate: all}}}}\n"
    )
    text = desk.text() + panel.format()
    async with desk._serve(text) as running:
        answer = await running.chat("coe/all", "what is 4 plus 4")
        body = await answer.json()

    assert answer.status == 200, body
    assert body["choices"][0]["message"]["content"] in {"so it is 1", "so it is 2"}
    prompt, completion = body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"]
    assert completion in {4, 8}
    assert float(answer.headers["x-coe-cost-usd"]) == pytest.approx(
        (prompt * 1 + completion * 2) / 1e6
    )


async def test_two_recipes_are_compared_by_an_experiment(desk: Desk) -> None:
    text = desk.text() + (
        "experiments: {prompt: {status: running, unit: user, arms:"
        " {control: 50%, long: {share: 50%, set: {experts.terse.recipe.system: Be long.}}}}}\n"
    )
    text = text.replace("default: coder", "default: terse")
    said = set()
    async with desk._serve(text) as running:
        for user in map(str, range(12)):
            answer = await running.chat("coe/auto", "hello", user=user)
            arm = answer.headers["x-coe-experiment"].removeprefix("prompt:")
            said.add((arm, desk.sent["messages"][0]["content"]))

    assert said == {("control", "Be terse."), ("long", "Be long.")}


async def test_a_program_is_a_fallback_and_has_one(desk: Desk) -> None:
    text = (
        desk.text("error-500") + "categories: {sums: {keywords: [plus], experts: [voted, hello]}}\n"
    )
    async with desk._serve(text) as running:
        answer = await running.chat("coe/auto", "what is 4 plus 4")
        body = await answer.json()

    assert answer.headers["x-coe-expert"] == "hello"
    assert answer.headers["x-coe-reason"] == "fallback"
    assert body["choices"][0]["message"]["content"] == "Hello! I am hello."


async def test_the_limits_of_the_model_below_are_those_of_the_program(desk: Desk) -> None:
    limits = "timeouts: {first_token: 100ms, total: 200ms}"
    text = (
        desk.text("hang")
        .replace('up: "', 'up: {url: "', 1)
        .replace('"}\nexperts', f'", {limits}}}}}\nexperts', 1)
    )
    async with desk._serve(text) as running:
        for model, stream in (("terse", True), ("voted", False), ("memo", True)):
            answer = await running.chat(model, stream=stream)
            assert answer.status == 504, await answer.text()


async def test_a_program_is_listed_and_explained(desk: Desk) -> None:
    async with desk.gateway() as running:
        models = await (await running.request("GET", f"{running.url}/models")).json()
        card = await (await running.request("GET", f"{running.url}/experts/voted")).json()

    assert {"terse", "voted", "hello", "no", "memo"} <= {row["id"] for row in models["data"]}
    assert (card["kind"], card["backend"]) == ("program", "program")


async def test_a_checkup_tries_a_program(coe: Coe) -> None:
    done = await asyncio.to_thread(coe, "experts", "check", "terse", "voted", "hello", "--json")

    assert done.returncode == 0, done.stdout
    assert [row["ok"] for row in json.loads(done.stdout)] == [True] * 3


async def test_a_program_judges_for_a_router(
    coe: Coe, folder: Path, upstream: FakeUpstream
) -> None:
    def says(body: Mapping[str, Any]) -> str:
        is_asked = body["messages"][0]["content"].startswith("Be terse.")
        return json.dumps({"category": "sums" if is_asked else "trips", "confidence": 0.9})

    upstream.says = says
    file = folder / "experts.yaml"
    file.write_text(
        file.read_text()
        + "categories: {sums: {description: sums, experts: [coder]},"
        + " trips: {description: trips, experts: [coder]}}\n"
        + "routers: {default: {type: llm, expert: terse}}\n"
    )

    done = await asyncio.to_thread(coe, "route", "what is 4 plus 4", "--json")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["category"] == "sums"


async def test_a_recipe_is_added_from_the_command_line(coe: Coe, folder: Path) -> None:
    add = ("experts", "add", "long", "--set", "recipe={over: coder, system: Be long.}")

    done = await asyncio.to_thread(coe, *add)

    assert done.returncode == 0, done.stderr
    added = load(folder / "experts.yaml", {}).experts["long"]
    assert added.program == Recipe(over="coder", system="Be long.")
    assert added.status == "canary"


# ---------------------------------------------------------------- the experts that ship

EMBEDDED = """
version: 1
backends: {{embedded: {{type: local}}}}
experts:
  tiny: {{backend: embedded, model: {root}/experts/base, context: 512, status: retired}}
  arithmetic: {{base: tiny, adapter: {root}/experts/adapters/arithmetic}}
  steps:
    recipe:
      over: arithmetic
      examples: {{file: {root}/experts/heldout/arithmetic.jsonl, nearest: 2}}
      temperature: 0.2
      samples: 3
      vote: {{answer: text, after: "="}}
  plain: {{recipe: {{over: arithmetic, system: You add.}}}}
encoders: {{small: {{type: hashed}}}}
default: steps
"""


async def test_recipes_over_the_embedded_experts(serve: Serve, root: Path) -> None:
    pytest.importorskip("peft")
    sum_of = [{"role": "user", "content": "what is 17 * 24?"}]
    async with serve(EMBEDDED.format(root=root)) as running:
        voted = await ask(running, "steps", messages=sum_of)
        streamed = await chunks(running, "plain", messages=sum_of)

    assert voted.choices[0].message.content.rpartition("=")[2].strip() == "408"
    assert voted.usage.total_tokens == voted.usage.prompt_tokens + voted.usage.completion_tokens
    assert text_of(streamed).rpartition("=")[2].strip() == "408"
    assert len(streamed) > 3
