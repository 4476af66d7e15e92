"""Panels over real sockets, as the openai SDK sees them.

The method is a plugin that is found as a third party's is: a script of steps.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from coe.drafts import (
    Ask,
    Conflict,
    Consult,
    Merge,
    Pick,
    Question,
    Relay,
    Step,
    Table,
    Wait,
    Write,
)
from coe.protocols import AggregatorSpec
from coe.testing.upstream import FakeUpstream

from .conftest import Coe, Running, Serve
from .plugins import install

pytestmark = pytest.mark.anyio

HELLO = [{"role": "user", "content": "what is six times seven"}]


class Scripted:
    """An aggregator: asks everybody, waits for the quorum, and ends as its option says."""

    def __init__(self, spec: AggregatorSpec) -> None:
        self.name = spec.name
        self._judge = spec.judge
        self._writer = spec.writer
        self._how = spec.options.get("how", "pick")

    def next(self, table: Table) -> Step:
        if self._how == "raises":
            raise RuntimeError("a mistake")
        if self._how == "cascade":
            return self._cascade(table)
        if not table.asked:
            return Ask(tuple(range(len(table.members))))
        if self._how == "twice" and not table.is_closing:
            return Ask((0,))
        if table.pending and len(table.good) < table.quorum and not table.is_closing:
            return Wait()
        return self._last(table)

    def _cascade(self, table: Table) -> Step:
        if not table.asked:
            return Ask((0,))
        if table.pending:
            return Wait()
        if table.unasked:
            return Relay(member=table.unasked[0], why="the first was not sure")
        return Pick(member=table.good[0].member, why="nobody else is left")

    def _last(self, table: Table) -> Step:  # noqa: PLR0911 - an end for each test
        places = tuple(draft.member for draft in table.good)
        if self._how == "failed":
            return Pick(member=next(d.member for d in table.drafts if d.has_failed))
        if self._how == "judge":
            if not table.consulted and not table.is_closing:
                messages = ({"role": "user", "content": "which is best"},)
                return Consult((Question(key="best", expert=self._judge or "", messages=messages),))
            if table.open_questions:
                return Wait()
            remark = table.remarks["best"]
            return Pick(member=places[-1], why=remark.text or remark.error)
        if self._how == "write":
            texts = "\n".join(draft.text for draft in table.good)
            message = {"role": "user", "content": f"merge: {texts}"}
            writer = self._writer or table.members[0].expert
            return Write(expert=writer, messages=(message,), used=places, why="merged")
        if self._how in {"join", "choices"}:
            return Merge(members=places, as_choices=self._how == "choices")
        texts_of = {draft.text: [] for draft in table.good}  # type: dict[str, list[int]]
        for draft in table.good:
            texts_of[draft.text].append(draft.member)
        conflicts = tuple(Conflict(answer=t, members=tuple(m)) for t, m in texts_of.items())
        return Pick(
            member=places[0], why="the first", conflicts=conflicts if len(conflicts) > 1 else ()
        )


@pytest.fixture(autouse=True)
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install `Scripted` as the method `scripted`."""
    install(tmp_path, monkeypatch, {"coe.aggregators": Scripted})


def composition(
    upstream: FakeUpstream, models: dict[str, str], panel: str = "", more: str = ""
) -> str:
    experts = "".join(
        f'  {name}: {{backend: up, model: "{model}", cost: {{input: 1 USD/M, output: 2 USD/M}}}}\n'
        for name, model in models.items()
    )
    named = ", ".join(name for name in models if len(name) == 1)
    return (
        f'version: 1\nbackends: {{up: "{upstream.url}"}}\nexperts:\n{experts}'
        f"aggregation:\n  trio: {{method: scripted, experts: [{named}]{panel}}}\n"
        "models: {coe/trio: {aggregate: trio}}\ndefault: a\n"
        f"timeouts: {{connect: 2s, first_token: 5s, idle: 5s, total: 20s}}\n{more}"
    )


@asynccontextmanager
async def served(
    serve: Serve,
    upstream: FakeUpstream,
    models: dict[str, str],
    panel: str = "",
    more: str = "",
) -> AsyncIterator[tuple[Running, openai.AsyncOpenAI]]:
    async with (
        serve(composition(upstream, models, panel, more)) as running,
        openai.AsyncOpenAI(base_url=running.url, api_key="none", max_retries=0, timeout=30) as sdk,
    ):
        yield running, sdk


def provenance(thing: Any) -> dict[str, Any]:
    """Return the provenance of a completion, or of a chunk."""
    return thing.model_extra["coe"]["provenance"]


def statuses(thing: Any) -> list[tuple[str, str, str]]:
    return [(c["expert"], c["role"], c["status"]) for c in provenance(thing)["calls"]]


async def ask(sdk: openai.AsyncOpenAI, **more: Any) -> Any:
    return await sdk.chat.completions.create(model="coe/trio", messages=HELLO, **more)


TRIO = {"a": "x", "b": "y", "c": "z"}


async def test_the_answer_is_one_of_the_drafts(serve: Serve, upstream: FakeUpstream) -> None:
    async with served(serve, upstream, TRIO) as (running, sdk):
        raw = await sdk.chat.completions.with_raw_response.create(model="coe/trio", messages=HELLO)
        answer = raw.parse()

        assert answer.choices[0].message.content == "echo: what is six times seven"
        assert answer.model == "a"
        assert answer.usage.total_tokens == 3 * 11
        assert statuses(answer) == [
            ("a", "draft", "answer"),
            ("b", "draft", "unused"),
            ("c", "draft", "unused"),
        ]
        assert provenance(answer)["panel"] == "trio"
        assert provenance(answer)["why"] == "the first"
        assert raw.headers["x-coe-expert"] == "a"
        assert raw.headers["x-coe-panel"] == "trio"
        assert raw.headers["x-coe-calls"] == "3"
        assert float(raw.headers["x-coe-cost-usd"]) == pytest.approx(3 * (5 + 2 * 6) / 1e6)
        assert running.metric('coe_panels_total{panel="trio",result="answered"}') == 1
        assert running.metric('coe_panel_calls_total{panel="trio",use="unnecessary"}') == 2
        assert running.metric("coe_panel_cpu_seconds_count") == 1


async def test_a_draft_is_streamed_as_chunks(serve: Serve, upstream: FakeUpstream) -> None:
    async with served(serve, upstream, TRIO) as (_, sdk):
        chunks = [chunk async for chunk in await ask(sdk, stream=True)]

        deltas = [chunk.choices[0].delta for chunk in chunks]
        assert deltas[0].role == "assistant"
        assert "".join(d.content or "" for d in deltas) == "echo: what is six times seven"
        assert {chunk.model for chunk in chunks} == {"a"}
        assert len({chunk.id for chunk in chunks}) == 1
        assert chunks[-1].choices[0].finish_reason == "stop"
        assert all(chunk.choices[0].finish_reason is None for chunk in chunks[:-1])
        assert len(provenance(chunks[-1])["calls"]) == 3


async def test_a_stream_ends_with_the_sum_of_all_usage(
    serve: Serve, upstream: FakeUpstream
) -> None:
    for how in ("pick", "write"):
        async with served(serve, upstream, TRIO, f", how: {how}") as (_, sdk):
            options = {"include_usage": True}
            stream = await ask(sdk, stream=True, stream_options=options)
            chunks = [chunk async for chunk in stream]

            assert chunks[-1].choices == []
            calls = provenance(chunks[-1])["calls"]
            assert len(calls) == (3 if how == "pick" else 4)
            assert chunks[-1].usage.prompt_tokens == sum(c["prompt_tokens"] for c in calls)
            assert chunks[-1].usage.completion_tokens == sum(c["completion_tokens"] for c in calls)
            assert chunks[-2].choices[0].finish_reason == "stop"
            assert [c for c in chunks[:-1] if c.usage is not None] == []


async def test_what_a_writer_writes_is_passed_on_as_it_comes(
    serve: Serve, upstream: FakeUpstream
) -> None:
    models = {**TRIO, "scribe": "slow-token-20ms"}
    async with served(serve, upstream, models, ", how: write, writer: scribe") as (running, sdk):
        raw = await sdk.chat.completions.with_raw_response.create(
            model="coe/trio", messages=HELLO, stream=True
        )
        chunks = [chunk async for chunk in raw.parse()]

        assert raw.headers["x-coe-expert"] == "scribe"
        assert raw.headers["x-coe-calls"] == "4"
        assert {chunk.model for chunk in chunks} == {"scribe"}
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        assert text.startswith("echo: merge: echo: what is six times seven")
        assert len([c for c in chunks if c.choices[0].delta.content]) > 5
        assert chunks[-1].choices[0].finish_reason == "stop"
        assert statuses(chunks[-1])[-1] == ("scribe", "writer", "answer")
        assert [status for *_, status in statuses(chunks[-1])[:-1]] == ["used"] * 3
        assert upstream.requests[-1].json["messages"][0]["content"].startswith("merge:")
        assert running.metric('coe_panel_calls_total{panel="trio",use="unnecessary"}') == 0


async def test_a_writer_s_whole_answer_says_who_wrote_what(
    serve: Serve, upstream: FakeUpstream
) -> None:
    models = {**TRIO, "scribe": "w"}
    async with served(serve, upstream, models, ", how: write, writer: scribe") as (_, sdk):
        answer = await ask(sdk, temperature=0.3, max_tokens=50)

        assert answer.model == "scribe"
        assert answer.choices[0].message.content.startswith("echo: merge:")
        assert len(provenance(answer)["calls"]) == 4
        assert all(request.json["temperature"] == 0.3 for request in upstream.requests)
        assert all(request.json["max_tokens"] == 50 for request in upstream.requests)
        assert sum(c["cost"] for c in provenance(answer)["calls"]) == pytest.approx(
            provenance(answer)["cost"]
        )


async def test_members_are_asked_side_by_side(serve: Serve, upstream: FakeUpstream) -> None:
    models = dict.fromkeys("abc", "slow-first-300ms")
    async with served(serve, upstream, models) as (_, sdk):
        answer = await ask(sdk)

        times = [call["ms"] for call in provenance(answer)["calls"]]
        assert min(times) >= 290
        first, *_, last = (request for request in upstream.requests)
        assert first is not last
        assert upstream.accepted == 3


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "model",
    ["error-500", "reset", "garbage", "html", "json", "empty", "error-in-200", "truncate-after-2"],
)
async def test_who_fails_is_left_out_and_reported(
    serve: Serve, upstream: FakeUpstream, model: str, *, stream: bool
) -> None:
    async with served(serve, upstream, {"a": model, "b": "y", "c": "z"}) as (running, sdk):
        answer = await ask(sdk, stream=stream)
        if stream:
            answer = [chunk async for chunk in answer][-1]

        assert answer.model == "b"
        assert statuses(answer)[0][2] in {"failed", "dropped"}
        assert provenance(answer)["calls"][0]["reason"]
        assert running.metric("coe_panel_losses_total") == 1
        assert running.metric('coe_panel_calls_total{panel="trio",use="unnecessary"}') == 0


@pytest.mark.parametrize("model", ["refusal", "tools"])
async def test_an_answer_without_text_is_no_draft(
    serve: Serve, upstream: FakeUpstream, model: str
) -> None:
    async with served(serve, upstream, {"a": model, "b": "y", "c": "z"}) as (_, sdk):
        answer = await ask(sdk)

        assert answer.model == "b"
        assert statuses(answer)[0][2] == "dropped"


async def test_where_all_fail_alike_the_client_is_told_what_they_say(
    serve: Serve, upstream: FakeUpstream
) -> None:
    models = dict.fromkeys("abc", "error-429-retry-after-2")
    async with served(serve, upstream, models) as (running, sdk):
        with pytest.raises(openai.RateLimitError) as caught:
            await ask(sdk)

        assert caught.value.response.headers["x-coe-attempts"] == "3"
        assert running.metric('coe_panels_total{panel="trio",result="failed"}') == 1


async def test_where_all_fail_each_in_its_way_there_is_no_draft(
    serve: Serve, upstream: FakeUpstream
) -> None:
    models = {"a": "error-500", "b": "empty", "c": "reset"}
    async with served(serve, upstream, models) as (_, sdk):
        for stream in (True, False):
            with pytest.raises(openai.InternalServerError) as caught:
                await ask(sdk, stream=stream)

            assert caught.value.status_code == 502
            assert caught.value.code == "no_draft"
            for name in "abc":
                assert f"{name}: " in str(caught.value)


async def test_who_is_not_on_the_panel_answers_where_all_of_it_fails(
    serve: Serve, upstream: FakeUpstream
) -> None:
    models = {**dict.fromkeys("abc", "error-503"), "spare": "ok"}
    more = "routing: {none: [a, spare]}\n"
    async with served(serve, upstream, models, more=more) as (_, sdk):
        raw = await sdk.chat.completions.with_raw_response.create(model="coe/trio", messages=HELLO)

        assert raw.parse().model == "spare"
        assert raw.headers["x-coe-reason"] == "fallback"
        assert raw.headers["x-coe-attempts"] == "4"


async def test_a_slow_member_is_dropped(serve: Serve, upstream: FakeUpstream) -> None:
    models = {"a": "hang", "b": "y", "c": "z"}
    async with served(serve, upstream, models, ", draft_deadline: 100ms") as (_, sdk):
        answer = await ask(sdk)

        assert answer.model == "b"
        assert statuses(answer)[0] == ("a", "draft", "failed")
        assert "0.1 s" in provenance(answer)["calls"][0]["reason"]
        await upstream.client_gone()


async def test_the_deadline_makes_the_answer_of_what_is_there(
    serve: Serve, upstream: FakeUpstream
) -> None:
    models = {"a": "hang", "b": "y", "c": "hang"}
    async with served(serve, upstream, models, ", deadline: 150ms") as (running, sdk):
        answer = await ask(sdk)

        assert answer.model == "b"
        assert [status for *_, status in statuses(answer)] == ["late", "answer", "late"]
        await upstream.client_gone(2)
        assert running.metric('coe_panel_losses_total{panel="trio",why="late"}') == 2


async def test_past_the_deadline_the_first_draft_is_the_answer(
    serve: Serve, upstream: FakeUpstream
) -> None:
    models = {"a": "hang", "b": "slow-first-250ms", "c": "hang"}
    async with served(serve, upstream, models, ", deadline: 50ms") as (_, sdk):
        assert (await ask(sdk)).model == "b"


async def test_a_quorum_does_not_wait_for_the_others(serve: Serve, upstream: FakeUpstream) -> None:
    models = {"a": "hang", "b": "y", "c": "z"}
    async with served(serve, upstream, models, ", quorum: 2") as (_, sdk):
        answer = await ask(sdk)

        assert [status for *_, status in statuses(answer)] == ["late", "answer", "unused"]
        late = provenance(answer)["calls"][0]
        assert (late["ms"], late["cost"], late["prompt_tokens"]) == (None, None, None)
        await upstream.client_gone()


async def test_a_judge_is_asked_and_does_not_see_the_client_s_own_request(
    serve: Serve, upstream: FakeUpstream
) -> None:
    models = {**TRIO, "wise": "j"}
    async with served(serve, upstream, models, ", how: judge, judge: wise") as (_, sdk):
        answer = await ask(sdk, temperature=0.9)

        assert answer.model == "c"
        assert statuses(answer)[-1] == ("wise", "judge", "used")
        asked = upstream.requests[-1].json
        assert asked["temperature"] == 0.0
        assert asked["max_tokens"] == 16
        assert answer.usage.total_tokens == sum(
            c["prompt_tokens"] + c["completion_tokens"] for c in provenance(answer)["calls"]
        )


async def test_a_judge_that_says_nothing_is_not_awaited_past_the_deadline(
    serve: Serve, upstream: FakeUpstream
) -> None:
    models = {**TRIO, "wise": "hang"}
    panel = ", how: judge, judge: wise, deadline: 150ms"
    async with served(serve, upstream, models, panel) as (_, sdk):
        answer = await ask(sdk)

        assert answer.model == "c"
        assert statuses(answer)[-1] == ("wise", "judge", "late")
        assert provenance(answer)["why"] == "the deadline passed first"
        await upstream.client_gone()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("model", ["error-500", "empty", "reset"])
async def test_where_the_writer_fails_at_first_the_best_draft_is_the_answer(
    serve: Serve, upstream: FakeUpstream, model: str, *, stream: bool
) -> None:
    models = {**TRIO, "scribe": model}
    async with served(serve, upstream, models, ", how: write, writer: scribe") as (_, sdk):
        answer = await ask(sdk, stream=stream)
        if stream:
            answer = [chunk async for chunk in answer][-1]

        assert answer.model == "a"
        assert statuses(answer)[-1] == ("scribe", "writer", "failed")
        assert statuses(answer)[0] == ("a", "draft", "answer")
        assert provenance(answer)["why"].startswith("the writer failed")


async def test_a_writer_that_dies_in_the_middle_is_no_whole_answer(
    serve: Serve, upstream: FakeUpstream
) -> None:
    models = {**TRIO, "scribe": "drop-after-2"}
    async with served(serve, upstream, models, ", how: write, writer: scribe") as (running, sdk):
        seen = []
        with pytest.raises(openai.APIError):
            async for chunk in await ask(sdk, stream=True):
                seen.append(chunk.choices[0].delta.content or "")  # noqa: PERF401

        assert "".join(seen) == "one two"
        response = await running.chat("coe/trio", stream=True)
        body = await response.text()
        assert "[DONE]" not in body
        assert '"error"' in body
        assert running.metric('coe_panels_total{panel="trio",result="answered"}') == 2


@pytest.mark.parametrize("stream", [True, False])
async def test_a_cascade_passes_the_last_member_s_answer_on(
    serve: Serve, upstream: FakeUpstream, *, stream: bool
) -> None:
    async with served(serve, upstream, {"a": "x", "b": "y"}, ", how: cascade") as (_, sdk):
        answer = await ask(sdk, stream=stream)
        if stream:
            chunks = [chunk async for chunk in answer]
            assert len(chunks) > 4
            answer = chunks[-1]

        assert answer.model == "b"
        assert statuses(answer) == [("a", "draft", "unused"), ("b", "draft", "answer")]
        assert upstream.received == 2


async def test_a_cascade_whose_last_member_fails_takes_the_draft_before(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with served(serve, upstream, {"a": "x", "b": "error-500"}, ", how: cascade") as (_, sdk):
        answer = await ask(sdk)

        assert answer.model == "a"
        assert statuses(answer) == [("a", "draft", "answer"), ("b", "draft", "failed")]


@pytest.mark.parametrize(
    ("how", "why"),
    [("twice", "asks member 0 again"), ("raises", "RuntimeError: a mistake")],
)
async def test_a_method_that_breaks_its_contract_still_answers(
    serve: Serve, upstream: FakeUpstream, how: str, why: str
) -> None:
    async with served(serve, upstream, TRIO, f", how: {how}") as (running, sdk):
        answer = await ask(sdk)

        assert answer.model == "a"
        assert why in provenance(answer)["fault"]
        assert running.metric('coe_panels_total{panel="trio",result="broken"}') == 1


async def test_a_method_that_picks_a_failed_draft_still_answers(
    serve: Serve, upstream: FakeUpstream
) -> None:
    models = {"a": "error-500", "b": "y", "c": "z"}
    async with served(serve, upstream, models, ", how: failed") as (_, sdk):
        answer = await ask(sdk)

        assert answer.model == "b"
        assert "member 0, which has no good draft" in provenance(answer)["fault"]


JOINED = "**a**\n\nI am x\n\n**b**\n\nI am y\n\n**c**\n\nI am z"


@pytest.mark.parametrize("stream", [True, False])
async def test_drafts_one_after_the_other_or_as_choices(
    serve: Serve, upstream: FakeUpstream, *, stream: bool
) -> None:
    upstream.says = lambda body: f"I am {body['model']}"
    for how, expected in (("join", [JOINED]), ("choices", ["I am x"])):
        async with served(serve, upstream, TRIO, f", how: {how}") as (_, sdk):
            answer = await ask(sdk, stream=stream)
            texts: dict[int, str] = {}
            if stream:
                async for chunk in answer:
                    for one in chunk.choices:
                        texts[one.index] = texts.get(one.index, "") + (one.delta.content or "")
            else:
                texts = {one.index: one.message.content for one in answer.choices}

            assert texts[0] == expected[0]
            assert len(texts) == (1 if how == "join" else 3)


async def test_conflicts_between_drafts_are_listed(serve: Serve, upstream: FakeUpstream) -> None:
    upstream.says = lambda body: "41" if body["model"] == "y" else "42"
    async with served(serve, upstream, TRIO) as (_, sdk):
        answer = await ask(sdk)

        assert provenance(answer)["conflicts"] == [
            {"answer": "42", "experts": ["a", "c"]},
            {"answer": "41", "experts": ["b"]},
        ]


async def test_samples_of_one_expert_differ(serve: Serve, upstream: FakeUpstream) -> None:
    text = composition(upstream, {"a": "x"}).replace(
        "experts: [a]}", "experts: {named: [a], samples: 3}}"
    )
    async with (
        serve(text) as running,
        openai.AsyncOpenAI(base_url=running.url, api_key="none", max_retries=0) as sdk,
    ):
        answer = await ask(sdk, seed=7)

        assert [call.get("sample", 0) for call in provenance(answer)["calls"]] == [0, 1, 2]
        assert sorted(request.json["seed"] for request in upstream.requests) == [7, 8, 9]
        temperatures = [request.json.get("temperature") for request in upstream.requests]
        assert sorted(temperatures, key=str) == [0.7, 0.7, None]


async def test_a_tool_turn_has_one_owner(serve: Serve, upstream: FakeUpstream) -> None:
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    async with served(serve, upstream, TRIO) as (running, sdk):
        first = await ask(sdk, tools=[tool])
        loop = [
            *HELLO,
            {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function"}]},
            {"role": "tool", "tool_call_id": "1", "content": "42"},
        ]
        second = await sdk.chat.completions.create(model="coe/trio", messages=loop)
        route = await running.request(
            "POST", running.url + "/route", json={"model": "coe/trio", "messages": loop}
        )

        assert first.model == second.model == "a"
        assert upstream.received == 2
        assert "coe" not in (first.model_extra or {})
        assert (await route.json())["panel"] == {"alone": "tools: one owner"}


async def test_who_called_the_tools_goes_on_with_them(serve: Serve, upstream: FakeUpstream) -> None:
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    loop = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function"}]},
        {"role": "tool", "tool_call_id": "1", "content": "42"},
    ]
    more = (
        "categories: {sums: {keywords: [times], experts: [a, b, c], aggregate: trio}}\n"
        "routers: {default: keyword}\n"
    )
    async with served(serve, upstream, TRIO, more=more) as (_, sdk):

        async def turn(messages: list[Any], **fields: Any) -> Any:
            return await sdk.chat.completions.create(
                model="coe/auto",
                messages=messages,
                extra_headers={"x-session-id": "one"},
                **fields,
            )

        together = await turn(HELLO)
        upstream.plan(["error-503"])  # the owner to be fails once
        called = await turn(HELLO, tools=[tool])
        went_on = await turn(loop, tools=[tool])
        again = await turn([*loop, {"role": "assistant", "content": "42"}, *HELLO])

        assert provenance(together)["panel"] == provenance(again)["panel"] == "trio"
        assert called.model == went_on.model == "b"


async def test_several_choices_are_asked_of_one_expert(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with served(serve, upstream, {"a": "n-3", "b": "y"}) as (_, sdk):
        answer = await ask(sdk, n=3)

        assert len(answer.choices) == 3
        assert upstream.received == 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.mark.parametrize(
    ("panel", "why"),
    [
        ("{method: vote, answer: colour}", "aggregation.trio.answer"),
        ("{method: vote, quorom: 2}", "quorom"),
        ("{method: votes}", "did you mean `vote`?"),
    ],
)
def test_a_check_finds_what_a_method_refuses(coe: Coe, folder: Path, panel: str, why: str) -> None:
    text = (
        "version: 1\nbackends: {up: http://127.0.0.1:9}\nexperts: {a: up/a, b: up/b}\n"
        f"aggregation: {{trio: {panel}}}\nmodels: {{coe/trio: {{aggregate: trio}}}}\ndefault: a\n"
    )
    (folder / "experts.yaml").write_text(text)

    done = coe("check")

    assert done.returncode == 2
    assert why in done.stderr


def test_a_route_by_the_command_line_shows_the_panel(coe: Coe, folder: Path) -> None:
    text = (
        "version: 1\nbackends: {up: http://127.0.0.1:9}\nexperts: {a: up/a, b: up/b}\n"
        "aggregation: {duo: {method: vote, experts: [a, b]}}\n"
        "models: {coe/duo: {aggregate: duo}}\ndefault: a\n"
    )
    (folder / "experts.yaml").write_text(text)

    assert "panel     duo: a, b (" in coe("route", "--model", "coe/duo", "hello").stdout


async def test_the_route_shows_the_panel(serve: Serve, upstream: FakeUpstream) -> None:
    async with served(serve, upstream, TRIO) as (running, _):
        response = await running.request(
            "POST", running.url + "/route", json={"model": "coe/trio", "input": "hello"}
        )
        panel = (await response.json())["panel"]

        assert panel["panel"] == "trio"
        assert [member["expert"] for member in panel["members"]] == ["a", "b", "c"]
        assert panel["detail"]
        assert upstream.received == 0


async def test_who_names_an_expert_gets_that_expert(serve: Serve, upstream: FakeUpstream) -> None:
    async with served(serve, upstream, TRIO) as (_, sdk):
        answer = await sdk.chat.completions.create(model="b", messages=HELLO)

        assert answer.model == "b"
        assert upstream.received == 1


@pytest.mark.parametrize("http_client", ["lean", "aiohttp"])
async def test_a_panel_whose_members_lead_back_to_it_is_one_panel(
    serve: Serve, upstream: FakeUpstream, http_client: str
) -> None:
    """The members are this very gateway, asked for the panel itself."""
    relay = await asyncio.start_server(lambda *ends: passing(ends, running.url), "127.0.0.1", 0)
    port = relay.sockets[0].getsockname()[1]
    text = f"""\
version: 1
backends:
  up: "{upstream.url}"
  self: http://127.0.0.1:{port}
experts:
  here: {{backend: self, model: coe/trio}}
  again: {{backend: self, model: coe/trio}}
  good: {{backend: up, model: x}}
aggregation: {{trio: {{method: scripted, how: write, experts: [here, again]}}}}
models: {{coe/trio: {{aggregate: trio}}}}
routing: {{none: [good]}}
default: good
"""
    async with (
        relay,
        serve(text, http_client=http_client) as running,
        openai.AsyncOpenAI(base_url=running.url, api_key="none", max_retries=0) as sdk,
    ):
        answer = await ask(sdk)

        assert len(provenance(answer)["calls"]) == 3
        assert running.metric("coe_panels_total") == 1


async def passing(ends: tuple[asyncio.StreamReader, asyncio.StreamWriter], url: str) -> None:
    """Pass what comes on to the gateway, and back."""
    host, port = url.removeprefix("http://").removesuffix("/v1").split(":")
    there = await asyncio.open_connection(host, int(port))

    async def pour(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while piece := await source.read(65536):
            target.write(piece)
        target.close()

    await asyncio.gather(pour(ends[0], there[1]), pour(there[0], ends[1]))


@pytest.mark.parametrize("how", ["pick", "write"])
@pytest.mark.parametrize("stream", [True, False])
async def test_who_leaves_takes_every_call_with_him(
    serve: Serve, upstream: FakeUpstream, how: str, *, stream: bool
) -> None:
    models = dict.fromkeys("abc", "hang") if how == "pick" else {**TRIO, "scribe": "hang"}
    writer = ", writer: scribe" if how == "write" else ""
    async with served(serve, upstream, models, f", how: {how}{writer}") as (running, sdk):
        asking = asyncio.create_task(ask(sdk, stream=stream))
        await upstream.arrived(3 if how == "pick" else 4)
        asking.cancel()

        await asyncio.wait_for(upstream.client_gone(3 if how == "pick" else 1), 1)
        await until(lambda: running.metric("coe_inflight") == 0)


async def test_who_leaves_in_the_middle_of_a_stream_ends_it(
    serve: Serve, upstream: FakeUpstream
) -> None:
    models = {**TRIO, "scribe": "stall-after-2"}
    async with served(serve, upstream, models, ", how: write, writer: scribe") as (running, sdk):
        stream = await ask(sdk, stream=True)
        await anext(stream)
        await stream.close()

        await asyncio.wait_for(upstream.client_gone(), 1)
        await until(lambda: running.metric("coe_inflight") == 0)


async def test_long_drafts_arrive_whole(serve: Serve, upstream: FakeUpstream) -> None:
    said = " ".join(str(number) for number in range(2500))
    upstream.says = lambda _: said
    assert len(said) > 10_000
    for how in ("pick", "write"):
        async with served(serve, upstream, TRIO, f", how: {how}") as (_, sdk):
            whole = await ask(sdk)
            chunks = [chunk async for chunk in await ask(sdk, stream=True)]

            assert whole.choices[0].message.content == said
            assert "".join(c.choices[0].delta.content or "" for c in chunks) == said


async def test_the_money_that_is_left_is_shared_among_the_calls(
    serve: Serve, upstream: FakeUpstream
) -> None:
    """A call without a limit of its own gets one, so that the sum cannot pass the limit."""
    async with served(serve, upstream, TRIO, ", max_cost: 0.004 USD") as (_, sdk):
        answer = await ask(sdk)

        limits = [request.json["max_tokens"] for request in upstream.requests]
        assert len(limits) == 3
        assert max(limits) - min(limits) < 60
        assert sum(limits) * 2e-6 < 0.004
        assert provenance(answer)["cost"] == pytest.approx(3 * (5 + 2 * 6) / 1e6)


async def test_where_the_money_is_up_the_answer_is_made_of_what_is_there(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with served(serve, upstream, TRIO, ", max_cost: 0.0007 USD") as (running, sdk):
        answer = await ask(sdk, max_tokens=100)

        assert upstream.received == 2
        assert statuses(answer) == [
            ("a", "draft", "answer"),
            ("b", "draft", "unused"),
            ("c", "draft", "dropped"),
        ]
        assert "max_cost" in provenance(answer)["calls"][2]["reason"]
        assert provenance(answer)["calls"][2]["cost"] == 0
        assert running.metric('coe_panel_losses_total{panel="trio",why="dropped"}') == 1


async def test_a_writer_that_is_too_dear_is_not_asked(serve: Serve, upstream: FakeUpstream) -> None:
    panel = ", how: write, max_cost: 0.001 USD"
    async with served(serve, upstream, {"a": "x", "b": "y"}, panel) as (_, sdk):
        upstream.says = lambda _: "word " * 100
        answer = await ask(sdk, max_tokens=100)

        assert upstream.received == 2
        assert answer.model == "a"
        assert statuses(answer)[2] == ("a", "writer", "dropped")
        assert provenance(answer)["why"].startswith("max_cost")


async def test_where_no_call_can_be_paid_for_the_client_is_told(
    serve: Serve, upstream: FakeUpstream
) -> None:
    models = {**TRIO, "spare": "ok"}
    more = "routing: {none: [a, spare]}\n"
    async with served(serve, upstream, models, ", max_cost: 0.00001 USD", more) as (_, sdk):
        with pytest.raises(openai.UnprocessableEntityError, match="max_cost"):
            await ask(sdk)

        assert upstream.received == 0


async def test_a_limit_and_no_price_is_no_member(serve: Serve, upstream: FakeUpstream) -> None:
    text = f"""\
version: 1
backends: {{up: "{upstream.url}"}}
experts:
  a: {{backend: up, model: x, cost: {{input: 1 USD/M, output: 2 USD/M}}}}
  b: {{backend: up, model: y}}
  c: {{backend: up, model: z, cost: {{input: 0 USD/M, output: 0 USD/M}}}}
categories:
  sums: {{keywords: [times], experts: [a, b, c], aggregate: trio}}
aggregation:
  trio: {{method: scripted, max_cost: 1 USD}}
default: a
"""
    async with (
        serve(text) as running,
        openai.AsyncOpenAI(base_url=running.url, api_key="none", max_retries=0) as sdk,
    ):
        answer = await sdk.chat.completions.create(model="coe/sums", messages=HELLO)
        route = await running.request(
            "POST", running.url + "/route", json={"model": "coe/sums", "messages": HELLO}
        )

        assert [call["expert"] for call in provenance(answer)["calls"]] == ["a", "c"]
        (excluded,) = (await route.json())["panel"]["excluded"]
        assert (excluded["expert"], excluded["rule"]) == ("b", "price")


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(2):
        while not holds():
            await asyncio.sleep(0.002)
