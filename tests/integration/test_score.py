"""Experts are scored, over real sockets, into a real file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from coe.composition import load
from coe.errors import CoEError, ConfigError
from coe.scoring.rows import read_rows
from coe.scoring.run import Happened, Options, Work, prepare
from coe.scoring.session import score
from coe.settings import Settings
from coe.stores.outcomes import OutcomeStore
from coe.testing.upstream import FakeUpstream

pytestmark = pytest.mark.anyio

FILE = """
version: 1
backends:
  up: {url: "URL", concurrency: 3, timeouts: {connect: 1s, first_token: 5s, idle: 5s, total: 5s}}
experts:
  one: {backend: up, model: ok, cost: {input: 1 USD/M, output: 1 USD/M}}
  base: {backend: up, model: base, status: retired}
  other: {backend: up, model: other, status: shadow}
  tuned: {base: base, adapter: some-adapter}
  short: {backend: up, model: ok, context: 20}
routers:
  default: keyword
categories:
  sums: {keywords: [plus], experts: [one]}
  trips: {keywords: [train], experts: [tuned]}
default: one
"""

Row = Mapping[str, Any]


class Bench:
    """A composition in a folder, with an upstream behind it, and what is scored there."""

    def __init__(self, folder: Path, upstream: FakeUpstream) -> None:
        self.folder = folder
        self.upstream = upstream
        self.text = FILE.replace("URL", upstream.url)
        self.told: list[tuple[str, int, int]] = []

    @asynccontextmanager
    async def prepared(
        self, rows: Sequence[Row], experts: Sequence[str], **options: Any
    ) -> AsyncIterator[tuple[Work, OutcomeStore, Settings]]:
        file = self.folder / "experts.yaml"
        file.write_text(self.text)
        prompts = self.folder / "prompts.jsonl"
        prompts.write_text("\n".join(map(json.dumps, rows)))
        composition = load(file)
        found = read_rows(
            prompts, categories=tuple(composition.categories), experts=tuple(composition.experts)
        )
        settings = Settings(config=file)
        with OutcomeStore.open(settings.state_folder / "outcomes.sqlite") as store:
            yield prepare(composition, found, experts, store, Options(**options)), store, settings

    async def score(
        self, rows: Sequence[Row], experts: Sequence[str], *, routed: bool = False, **options: Any
    ) -> Happened:
        async with self.prepared(rows, experts, **options) as (work, store, settings):
            return await score(work, settings, store, self.note, routed=routed)

    def note(self, doing: str, done: int, total: int) -> None:
        self.told.append((doing, done, total))

    @property
    def store(self) -> OutcomeStore:
        return OutcomeStore.open(self.folder / ".coe" / "outcomes.sqlite")

    def scores(self) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {}
        with self.store as store:
            for outcome in store.read():
                found.setdefault(outcome.expert, []).append(outcome.score)
        return found

    @property
    def models(self) -> list[str]:
        return [json.loads(request.body)["model"] for request in self.upstream.requests]


@pytest.fixture
def bench(tmp_path: Path, upstream: FakeUpstream) -> Bench:
    return Bench(tmp_path, upstream)


def echoed(count: int, *, wrong: int = 0) -> list[Row]:
    """Return rows that an upstream which echoes gets right, but for some."""
    right = [{"prompt": f"number {i}", "answer": f"echo: number {i}"} for i in range(count)]
    return right + [{"prompt": f"wrong {i}", "answer": "?"} for i in range(wrong)]


async def test_every_answer_is_checked_and_kept(bench: Bench) -> None:
    happened = await bench.score(echoed(2, wrong=1), ["one", "other"])

    assert happened.is_complete
    assert bench.scores() == {"one": [1.0, 1.0, 0.0], "other": [1.0, 1.0, 0.0]}
    assert ("asking one", 3, 3) in bench.told


@pytest.mark.parametrize("status", ["canary", "shadow", "draining", "retired"])
async def test_whoever_is_named_is_scored_whatever_its_status(bench: Bench, status: str) -> None:
    bench.text = bench.text.replace("status: shadow", f"status: {status}")

    happened = await bench.score(echoed(2), ["other"])

    assert happened.is_complete
    assert bench.scores() == {"other": [1.0, 1.0]}


async def test_what_an_answer_cost_and_took_is_known(bench: Bench) -> None:
    happened = await bench.score(echoed(1), ["one", "other"])

    with bench.store as store:
        one, other = store.read()
    assert one.cost is not None
    assert one.cost == pytest.approx(happened.spent)
    assert one.cost == pytest.approx((happened.prompt_tokens + happened.answer_tokens) / 2e6)
    assert 0 < one.cost < 1e-3
    assert one.latency_s is not None
    assert 0 < one.latency_s < 5
    assert other.cost is None
    assert one.at > 1e9
    assert one.revision
    assert one.revision != other.revision


async def test_what_is_kept_is_not_asked_again(bench: Bench) -> None:
    await bench.score(echoed(3), ["one"])
    asked = bench.upstream.received

    await bench.score(echoed(5), ["one"])
    await bench.score(echoed(5), ["one"])

    assert bench.upstream.received == asked + 2


async def test_an_expert_that_answers_otherwise_now_is_asked_again(bench: Bench) -> None:
    await bench.score(echoed(2), ["one"])
    bench.text = bench.text.replace("model: ok, cost", "model: ok, force: {seed: 1}, cost")

    await bench.score(echoed(2), ["one"])

    with bench.store as store:
        assert [row.outcomes for row in store.counts()] == [2, 2]


async def test_another_source_is_asked_again(bench: Bench) -> None:
    await bench.score(echoed(2), ["one"])

    await bench.score(echoed(2), ["one"], source="shadow")

    assert bench.upstream.received == 4


async def test_experts_are_asked_one_after_the_other_those_on_a_base_together(
    bench: Bench,
) -> None:
    await bench.score(echoed(4), ["tuned", "other", "base", "one"])

    by_base = [{"ok"}, {"base", "some-adapter"}, {"other"}]
    places = [next(i for i, models in enumerate(by_base) if m in models) for m in bench.models]
    assert places == sorted(places)
    assert len(places) == 16


async def test_no_more_calls_are_in_flight_than_the_backend_takes(bench: Bench) -> None:
    seen: list[int] = []

    def says(body: Mapping[str, Any]) -> None:
        del body
        seen.append(bench.upstream.connections)

    bench.upstream.says = says
    bench.upstream.latency = lambda: 0.01

    await bench.score(echoed(12), ["one"], concurrency=8)
    assert max(seen) == 3

    await bench.score(echoed(6), ["other"], concurrency=1)
    assert bench.upstream.received == 18
    assert max(seen) == 3


async def test_an_error_is_not_a_score_and_is_asked_again_next_time(bench: Bench) -> None:
    bench.upstream.plan(["error-500", "error-500"])

    happened = await bench.score(echoed(4), ["one"], concurrency=1)

    assert happened.failures == {"one": 2}
    assert "500" in happened.reasons["one"]
    assert not happened.is_complete
    assert bench.scores() == {"one": [1.0, 1.0]}
    again = await bench.score(echoed(4), ["one"])
    assert again.is_complete
    assert bench.scores() == {"one": [1.0] * 4}


async def test_who_fails_again_and_again_is_not_asked_any_more_and_others_are(
    bench: Bench,
) -> None:
    bench.text = bench.text.replace("model: ok, cost", "model: error-503, cost")

    happened = await bench.score(echoed(20), ["one", "other"], concurrency=1)

    assert happened.stopped == ["one"]
    assert happened.failures == {"one": 5}
    assert bench.scores() == {"other": [1.0] * 20}


async def test_who_says_when_to_come_back_is_asked_again_then(bench: Bench) -> None:
    bench.upstream.plan(["error-429-retry-after-ms-50"])

    happened = await bench.score(echoed(1), ["one"])

    assert happened.is_complete
    assert bench.upstream.received == 2


async def test_prompts_over_the_context_are_no_scores_and_stop_nobody(bench: Bench) -> None:
    long = [{"prompt": f"{i} " * 100, "answer": "?"} for i in range(8)]

    happened = await bench.score([*long, *echoed(1)], ["short"])

    assert happened.failures == {"short": 8}
    assert "context" in happened.reasons["short"]
    assert happened.stopped == []
    assert bench.scores() == {"short": [1.0]}


async def test_an_answer_without_text_is_a_wrong_one(bench: Bench) -> None:
    bench.text = bench.text.replace("model: ok, cost", "model: refusal, cost")

    await bench.score(echoed(1), ["one"])

    assert bench.scores() == {"one": [0.0]}


async def test_the_cap_is_never_passed_and_a_higher_one_goes_on(bench: Bench) -> None:
    rows = echoed(30)

    first = await bench.score(rows, ["one"], max_cost=3e-4, max_tokens=200)

    assert first.capped == ["one"]
    assert 0 < first.spent <= 3e-4
    done = len(bench.scores()["one"])
    assert 0 < done < 30
    second = await bench.score(rows, ["one"], max_cost=1.0, max_tokens=200)
    assert second.is_complete
    assert bench.scores()["one"] == [1.0] * 30
    assert bench.upstream.received == 30


async def test_experts_without_a_price_are_asked_beyond_the_cap(bench: Bench) -> None:
    happened = await bench.score(echoed(2), ["one", "other"], max_cost=1e-9, max_tokens=20)

    assert happened.capped == ["one"]
    assert bench.scores() == {"other": [1.0, 1.0]}


async def test_a_cap_needs_a_limit_on_answers(bench: Bench) -> None:
    with pytest.raises(ConfigError, match=r"prompts\.jsonl:1: a cap needs .*--max-tokens"):
        await bench.score(echoed(1), ["one"], max_cost=1.0)


async def test_prices_in_two_currencies_are_refused(bench: Bench) -> None:
    bench.text = bench.text.replace(
        "model: other,", "model: other, cost: {input: 1 EUR/M, output: 1 EUR/M},"
    )

    with pytest.raises(ConfigError, match="several currencies: EUR, USD"):
        await bench.score(echoed(1), ["one", "other"])


async def test_an_unknown_expert_is_refused(bench: Bench) -> None:
    with pytest.raises(ConfigError, match=r"no expert `two` .*there are: one, base"):
        await bench.score(echoed(1), ["two"])


async def test_a_retired_expert_is_scored_where_it_is_named(bench: Bench) -> None:
    assert (await bench.score(echoed(1), ["base"])).is_complete


async def test_prompts_are_routed_and_what_the_router_said_is_kept(bench: Bench) -> None:
    rows = [
        {"prompt": "two plus two", "answer": "?"},
        {"prompt": "hello", "answer": "?", "category": "trips"},
    ]

    await bench.score(rows, ["one"], routed=True)

    with bench.store as store:
        sums, nothing = store.read()
        matrix = store.matrix(experts=["one"], categories=["sums", "trips"])
    assert sums.probabilities == {"sums": 1.0}
    assert nothing.probabilities == {"sums": 0.0, "trips": 0.0}
    assert nothing.category == "trips"
    assert matrix.memberships.tolist() == [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]


async def test_a_changed_router_is_asked_again_and_no_expert_is(bench: Bench) -> None:
    rows = [{"prompt": "two plus two", "answer": "?"}]
    await bench.score(rows, ["one"], routed=True)
    bench.text = bench.text.replace("[plus]", "[minus]").replace("[train]", "[two]")

    await bench.score(rows, ["one"], routed=True)

    with bench.store as store:
        (outcome,) = store.read()
    assert outcome.probabilities == {"trips": 1.0}
    assert bench.upstream.received == 1


async def test_texts_are_kept_only_where_they_are_asked_for(bench: Bench) -> None:
    await bench.score(echoed(1), ["one"])
    with bench.store as store:
        assert [prompt.body for prompt in store.prompts()] == [None]

    await bench.score(echoed(1), ["one"], keep_prompts=True)

    with bench.store as store:
        (prompt,) = store.prompts()
    assert prompt.body == {"messages": [{"role": "user", "content": "number 0"}]}


def judging(verdict: str) -> Any:
    """Return an upstream's words: a verdict where it is to compare, else the echo."""

    def says(body: Mapping[str, Any]) -> str | None:
        if not body["messages"][0]["content"].startswith("You compare"):
            return None
        shown = body["messages"][1]["content"]
        ours_first = shown.index("echo:") < shown.index("the reference")
        winner = {"ours": "A" if ours_first else "B", "first": "A"}[verdict]
        return f"VERDICT: {winner}"

    return says


@pytest.mark.parametrize(("verdict", "expected"), [("ours", 1.0), ("first", 0.5)])
async def test_a_judge_is_asked_in_both_orders(bench: Bench, verdict: str, expected: float) -> None:
    bench.upstream.says = judging(verdict)
    check = {"type": "judge", "answer": "the reference", "expert": "one"}

    happened = await bench.score([{"prompt": "Why?", "check": check}], ["other"])

    assert bench.scores() == {"other": [expected]}
    assert bench.models == ["other", "ok", "ok"]
    assert happened.spent > 0
    with bench.store as store:
        assert [outcome.cost for outcome in store.read()] == [None]


async def test_a_judge_that_says_nothing_is_not_the_experts_failure(bench: Bench) -> None:
    check = {"type": "judge", "answer": "the reference", "expert": "one"}
    rows = [{"prompt": f"Why {i}?", "check": check} for i in range(9)]

    happened = await bench.score(rows, ["other"], concurrency=1)

    assert happened.failures == {"one": 5}
    assert happened.stopped == ["one"]
    assert bench.scores() == {}
    assert bench.models.count("other") == 5  # no answer is paid for that nobody judges


async def test_code_is_run_only_where_that_is_allowed(bench: Bench) -> None:
    bench.upstream.says = lambda _: "```python\ndef double(x):\n    return 2 * x\n```"
    tests = {"type": "tests", "code": "assert double(2) == 4"}
    rows = [{"prompt": "Write `double`.", "check": tests}]

    with pytest.raises(ConfigError, match=r":1: `check`: tests run code .*--run-code"):
        await bench.score(rows, ["one"])
    assert bench.upstream.received == 0

    await bench.score(rows, ["one"], run_code=True)
    assert bench.scores() == {"one": [1.0]}


async def test_a_store_that_fails_ends_the_run_and_is_nobodys_failure(bench: Bench) -> None:
    def says(body: Mapping[str, Any]) -> None:
        del body
        with closing(sqlite3.connect(bench.folder / ".coe" / "outcomes.sqlite")) as other:
            other.execute("DROP TABLE IF EXISTS outcomes")

    bench.upstream.says = says

    with pytest.raises(CoEError, match="no such table: outcomes"):
        await bench.score(echoed(20), ["one", "other"])


async def test_the_cost_is_estimated_before_anybody_is_asked(bench: Bench) -> None:
    async with bench.prepared(echoed(10), ["one", "other"], max_tokens=100) as (work, _, _):
        assert work.calls == 20
        assert work.cost("one") == pytest.approx(10 * (6 + 100) / 1e6)
        assert work.cost("other") is None
