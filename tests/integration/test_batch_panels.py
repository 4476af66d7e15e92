"""Panels inside batches, with the real openai SDK over real sockets and the methods that ship."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from coe.composition import load
from coe.testing.upstream import FakeUpstream

from .conftest import Serve
from .test_batches import Desk, request

pytestmark = pytest.mark.anyio

TRIO = {"a": "x", "b": "y", "c": "z", "w": "scribe"}
LAST_IS_SLOW = {"a": "ax", "b": "ay", "c": "slow-first-500ms"}
"""Experts that are asked as much as others have their turn in the order of their models' names."""
PRICE = "cost: {input: 1 USD/M, output: 2 USD/M}"


def composition(
    upstream: FakeUpstream,
    panel: str,
    models: Mapping[str, str] = TRIO,
    *,
    members: str = "a, b, c",
    more: str = "",
) -> str:
    experts = "".join(
        f'  {name}: {{backend: up, model: "{model}", {PRICE}}}\n' for name, model in models.items()
    )
    return (
        f'version: 1\nbackends: {{up: "{upstream.url}"}}\nexperts:\n{experts}'
        f"aggregation:\n  all: {{experts: [{members}], {panel}}}\n"
        "models: {coe/all: {aggregate: all}}\ndefault: a\n"
        f"timeouts: {{connect: 2s, first_token: 5s, idle: 5s, total: 20s}}\n{more}"
    )


def lines(count: int, model: str = "coe/all") -> Iterator[bytes]:
    return (request(number, f"question {number}", model) for number in range(count))


def calls(row: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return who was asked for a line, what for, and what became of it."""
    told = row["response"]["body"]["coe"]["provenance"]
    return [(call["expert"], call["role"], call["status"]) for call in told["calls"]]


def texts(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    return [row["response"]["body"]["choices"][0]["message"]["content"] for row in rows]


def visits(upstream: FakeUpstream) -> list[str]:
    """Return the models in the order in which they were asked, each run of calls once."""
    return [model for model, _ in groupby(r.json["model"] for r in upstream.requests)]


def say(upstream: FakeUpstream, **said: str | None) -> None:
    upstream.says = lambda body: said.get(body["model"])


async def test_each_expert_is_asked_for_all_lines_before_the_next_one_is(
    serve: Serve, upstream: FakeUpstream
) -> None:
    say(upstream, x="it is 42", y="I say 42", z="rather 7")
    text = composition(upstream, "method: vote, answer: number, options: 2")
    async with serve(text, batch_concurrency=1) as running, Desk(running) as desk:
        done = await desk.end(await desk.begin([*lines(10), request(10, "alone", "a")]))
        rows = await desk.rows(done.output_file_id)

        assert running.metric('coe_panels_total{panel="all",result="answered"}') == 10

    assert done.request_counts is not None
    assert done.request_counts.to_dict() == {"total": 11, "completed": 11, "failed": 0}
    assert visits(upstream) == ["x", "y", "z"]
    assert upstream.received == 31
    assert [row["custom_id"] for row in rows] == [f"line-{number}" for number in range(11)]
    assert texts(rows) == ["it is 42"] * 11
    for row in rows[:10]:
        body = row["response"]["body"]
        assert calls(row) == [
            ("a", "draft", "answer"),
            ("b", "draft", "unused"),
            ("c", "draft", "unused"),
        ]
        provenance = body["coe"]["provenance"]
        assert [one["answer"] for one in provenance["conflicts"]] == ["42", "7"]
        assert body["usage"]["prompt_tokens"] == sum(
            call["prompt_tokens"] for call in provenance["calls"]
        )
        assert row["coe"]["panel"] == "all"
        assert (row["coe"]["expert"], row["coe"]["calls"]) == ("a", 3)
        assert row["coe"]["cost"] == pytest.approx(provenance["cost"])
    assert "panel" not in rows[10]["coe"]
    assert done.usage is not None
    assert done.usage.input_tokens == sum(
        row["response"]["body"]["usage"]["prompt_tokens"] for row in rows
    )
    experts = {row["expert"]: row for row in done.model_extra["coe"]["experts"]}
    assert {name: (row["lines"], row["done"]) for name, row in experts.items()} == {
        "a": (11, 11),
        "b": (10, 10),
        "c": (10, 10),
    }


async def test_the_answers_are_written_in_a_round_of_their_own(
    serve: Serve, upstream: FakeUpstream
) -> None:
    say(upstream, x="one", y="two", z="three", scribe="all of it")
    text = composition(upstream, "method: synthesize, writer: w")
    async with serve(text, batch_concurrency=4) as running, Desk(running) as desk:
        done = await desk.end(await desk.begin(lines(20)))
        rows = await desk.rows(done.output_file_id)

    assert visits(upstream) == ["x", "y", "z", "scribe"]
    assert upstream.received == 80
    assert texts(rows) == ["all of it"] * 20
    for row in rows:
        assert calls(row)[-1] == ("w", "writer", "answer")
        assert [status for *_, status in calls(row)[:-1]] == ["used"] * 3
        assert row["response"]["body"]["model"] == "w"
    written = [r.json for r in upstream.requests if r.json["model"] == "scribe"]
    assert "two" in json.dumps(written[0]["messages"])


async def test_a_judge_is_asked_between_drafts_and_answer(
    serve: Serve, upstream: FakeUpstream
) -> None:
    say(upstream, x="one", y="two", scribe="TIE")
    text = composition(upstream, "method: best_of, judge: w", members="a, b")
    async with serve(text, batch_concurrency=1) as running, Desk(running) as desk:
        done = await desk.end(await desk.begin(lines(5)))
        rows = await desk.rows(done.output_file_id)

    assert visits(upstream) == ["x", "y", "scribe"]
    assert upstream.received == 5 * 4  # both orders
    assert texts(rows) == ["one"] * 5
    assert [role for _, role, _ in calls(rows[0])] == ["draft", "draft", "judge", "judge"]


async def test_a_cascade_asks_the_next_member_only_where_it_has_to(
    serve: Serve, upstream: FakeUpstream
) -> None:
    def says(body: Mapping[str, Any]) -> str:
        is_hard = body["messages"][-1]["content"].endswith(("1", "2"))
        return "no idea" if body["model"] == "x" and is_hard else '{"right": true}'

    upstream.says = says
    panel = "method: first_good, good_when: {check: {type: json}}"
    text = composition(upstream, panel, members="a, b")
    async with serve(text, batch_concurrency=1) as running, Desk(running) as desk:
        done = await desk.end(await desk.begin(lines(6)))
        rows = await desk.rows(done.output_file_id)

    assert visits(upstream) == ["x", "y"]
    assert upstream.received == 8
    assert [row["response"]["body"]["model"] for row in rows] == ["a", "b", "b", "a", "a", "a"]
    assert calls(rows[1]) == [("a", "draft", "unused"), ("b", "draft", "answer")]


async def test_a_vote_in_waves_asks_no_more_than_it_needs(
    serve: Serve, upstream: FakeUpstream
) -> None:
    def says(body: Mapping[str, Any]) -> str:
        is_odd = body["messages"][-1]["content"].endswith("3")
        return "7" if body["model"] == "y" and is_odd else "42"

    upstream.says = says
    text = composition(upstream, "method: vote, answer: number, wave: 2")
    async with serve(text, batch_concurrency=1) as running, Desk(running) as desk:
        done = await desk.end(await desk.begin(lines(6)))
        rows = await desk.rows(done.output_file_id)

    assert texts(rows) == ["42"] * 6
    assert visits(upstream) == ["x", "y", "z"]
    assert upstream.received == 2 * 6 + 1


@pytest.mark.parametrize(
    ("model", "status"), [("error-400-context", "failed"), ("refusal", "dropped")]
)
async def test_who_fails_is_left_out_and_reported(
    serve: Serve, upstream: FakeUpstream, model: str, status: str
) -> None:
    text = composition(upstream, "method: vote, answer: number", {**TRIO, "b": model})
    say(upstream, x="42", z="42")
    async with serve(text) as running, Desk(running) as desk:
        done = await desk.end(await desk.begin(lines(3)))
        rows = await desk.rows(done.output_file_id)

        assert running.metric("coe_panel_losses_total") == 3

    assert done.error_file_id is None
    assert texts(rows) == ["42"] * 3
    for row in rows:
        assert calls(row)[1] == ("b", "draft", status)
        assert row["response"]["body"]["coe"]["provenance"]["calls"][1]["reason"]


async def test_a_writer_that_fails_leaves_the_best_draft(
    serve: Serve, upstream: FakeUpstream
) -> None:
    models = {**TRIO, "w": "error-400-context"}
    text = composition(upstream, "method: synthesize, writer: w", models)
    say(upstream, x="one", y="two", z="three")
    async with serve(text) as running, Desk(running) as desk:
        done = await desk.end(await desk.begin(lines(3)))
        rows = await desk.rows(done.output_file_id)

    assert texts(rows) == ["one"] * 3
    assert calls(rows[0])[-1] == ("w", "writer", "failed")


async def test_a_panel_without_a_draft_is_the_line_s_error(
    serve: Serve, upstream: FakeUpstream
) -> None:
    models = {"a": "error-400-context", "b": "refusal", "c": "error-400-context"}
    alike = dict.fromkeys("abc", "error-400-context")
    for given, code, status in (
        (models, "no_draft", 502),
        (alike, "context_length_exceeded", 400),
    ):
        text = composition(upstream, "method: vote, answer: number", given)
        async with serve(text) as running, Desk(running) as desk:
            done = await desk.end(await desk.begin(lines(2)))
            rows = await desk.rows(done.error_file_id)

        assert done.request_counts is not None
        assert done.request_counts.failed == 2
        for row in rows:
            assert row["response"]["status_code"] == status
            assert row["response"]["body"]["error"]["code"] == code
            assert row["coe"]["panel"] == "all"


async def test_who_is_not_on_the_panel_answers_where_it_has_no_draft(
    serve: Serve, upstream: FakeUpstream
) -> None:
    models = {**dict.fromkeys("ab", "refusal"), "spare": "ok"}
    more = "routing: {none: [a, spare]}\n"
    panel = "method: vote, answer: number"
    text = composition(upstream, panel, models, members="a, b", more=more)
    async with serve(text, batch_concurrency=1) as running, Desk(running) as desk:
        done = await desk.end(await desk.begin(lines(3)))
        rows = await desk.rows(done.output_file_id)

    assert visits(upstream) == ["refusal", "ok"]
    assert upstream.received == 9
    assert [row["response"]["body"]["model"] for row in rows] == ["spare"] * 3
    assert [row["coe"]["reason"] for row in rows] == ["fallback"] * 3


async def test_the_cost_of_a_line_is_capped(serve: Serve, upstream: FakeUpstream) -> None:
    say(upstream, x="one", y="two", z="three", scribe="all")
    panel = "method: synthesize, writer: w, max_cost: {} USD"
    for cap, outcomes in (
        ("0.0009", {"answer"}),  # the drafts, and no more
        ("0.0000001", set[str]()),
    ):
        text = composition(upstream, panel.format(cap))
        async with serve(text) as running, Desk(running) as desk:
            long = request(0, "a question", "coe/all", max_tokens=100)
            done = await desk.end(await desk.begin([long]))
            if not outcomes:
                (row,) = await desk.rows(done.error_file_id)
                assert "max_cost" in row["response"]["body"]["error"]["message"]
                continue
            (row,) = await desk.rows(done.output_file_id)

        assert row["response"]["body"]["coe"]["provenance"]["cost"] <= float(cap)
        assert all(call.json["max_tokens"] <= 100 for call in upstream.requests)


async def test_deadlines_are_not_for_batches(serve: Serve, upstream: FakeUpstream) -> None:
    models = {**TRIO, "b": "slow-first-250ms"}
    panel = "method: vote, answer: number, deadline: 50ms, draft_deadline: 50ms"
    async with serve(composition(upstream, panel, models)) as running, Desk(running) as desk:
        done = await desk.end(await desk.begin(lines(1)))
        (row,) = await desk.rows(done.output_file_id)

    assert [status for *_, status in calls(row)] == ["answer", "unused", "unused"]


async def test_drafts_count_as_parts_of_lines(serve: Serve, upstream: FakeUpstream) -> None:
    text = composition(upstream, "method: vote, answer: number", LAST_IS_SLOW)
    async with serve(text) as running, Desk(running) as desk:
        batch = await desk.begin(lines(4))
        await upstream.arrived(12)
        raw = await desk.api.batches.with_raw_response.retrieve(batch.id)
        await desk.api.batches.cancel(batch.id)
        done = await desk.until(batch, "cancelled")

    told = raw.parse().model_extra["coe"]
    assert told["phase"] == "running"
    assert told["progress"] == pytest.approx(0.5)  # two of three drafts, and what follows
    assert told["routed"] == 4
    assert raw.parse().request_counts.completed == 0
    assert done.request_counts is not None
    assert done.request_counts.completed == 4  # what was in flight has ended, and was the last


async def test_what_a_panel_said_is_kept_only_until_its_line_is_done(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path
) -> None:
    text = composition(upstream, "method: vote, answer: number", LAST_IS_SLOW)
    async with serve(text) as running, Desk(running) as desk:
        batch = await desk.begin(lines(2))
        await upstream.arrived(6)
        with closing(sqlite3.connect(tmp_path / ".coe" / "batches.sqlite")) as database:
            kept = database.execute("SELECT number, key FROM calls WHERE done = 1").fetchall()
            assert sorted(kept) == [(n, f"draft {m}") for n in (1, 2) for m in (0, 1)]
        await desk.end(batch)
        with closing(sqlite3.connect(tmp_path / ".coe" / "batches.sqlite")) as database:
            assert database.execute("SELECT count(*) FROM calls").fetchone() == (0,)


async def test_a_batch_that_is_cancelled_between_drafts_does_not_go_on(
    serve: Serve, upstream: FakeUpstream
) -> None:
    upstream.says = lambda body: f"I am {body['model']}"
    text = composition(upstream, "method: synthesize, writer: w", {**LAST_IS_SLOW, "w": "z"})
    async with serve(text, batch_concurrency=2) as running, Desk(running) as desk:
        batch = await desk.begin(lines(6))
        await upstream.arrived(14)
        await desk.api.batches.cancel(batch.id)
        done = await desk.until(batch, "cancelled")
        rows = await desk.rows(done.error_file_id)

    assert upstream.received == 14
    assert {row["error"]["code"] for row in rows} == {"batch_cancelled"}
    assert len(rows) == 6


async def test_another_composition_asks_its_own_panel(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path
) -> None:
    say(upstream, x="1", y="2", z="3")
    text = composition(upstream, "method: vote, answer: number", {**TRIO, "c": "slow-first-100ms"})
    async with serve(text, batch_concurrency=1) as running, Desk(running) as desk:
        batch = await desk.begin(lines(6))
        await upstream.arrived(14)
        moved = tmp_path / "moved.yaml"
        moved.write_text(composition(upstream, "method: vote, answer: number", members="b, w"))
        await running.live.replace(load(moved))
        done = await desk.end(batch)
        rows = await desk.rows(done.output_file_id)

    assert [row["custom_id"] for row in rows] == [f"line-{number}" for number in range(6)]
    panels = ["".join(expert for expert, *_ in calls(row)) for row in rows]
    assert set(panels) == {"abc", "bw"}
