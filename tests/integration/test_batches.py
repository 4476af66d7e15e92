"""Files and batches, with the real openai SDK over real sockets."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import openai
import pytest
from openai.types import Batch

from coe.composition import load
from coe.testing.upstream import FakeUpstream

from .conftest import Running, Serve

pytestmark = pytest.mark.anyio

FILE = """
version: 1
backends:
  up: "{url}"
  other: "{url}"
experts:
  sums: {{backend: up, model: sums}}
  words: {{backend: up, model: words}}
  far: {{backend: other, model: far}}
  odd: {{backend: up, model: "{odd}"}}
encoders: {{small: {{type: hashed}}}}
routers: {{default: {{type: keyword}}}}
categories:
  sums: {{keywords: [add, plus], experts: [sums]}}
  words: {{keywords: [spell, word], experts: [words]}}
default: far
timeouts: {{connect: 2s, first_token: 5s, idle: 5s, total: 20s}}
"""


def request(number: int, text: str = "hello", model: str = "coe/auto", **fields: Any) -> bytes:
    body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
    return line(f"line-{number}", body)


def line(custom_id: str, body: dict[str, Any], url: str = "/v1/chat/completions") -> bytes:
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": url, "body": body}).encode()


class Desk:
    """What a client does with files and batches."""

    def __init__(self, running: Running) -> None:
        self.api = openai.AsyncOpenAI(base_url=running.url, api_key="unused", max_retries=0)

    async def __aenter__(self) -> Self:  # noqa: D105
        return self

    async def __aexit__(self, *_: object) -> None:  # noqa: D105
        await self.api.close()

    async def begin(self, lines: Iterable[bytes], **fields: Any) -> Batch:
        content = b"".join(row + b"\n" for row in lines)
        file = await self.api.files.create(file=("in.jsonl", content), purpose="batch")
        fields = {"endpoint": "/v1/chat/completions", "completion_window": "24h", **fields}
        return await self.api.batches.create(input_file_id=file.id, **fields)

    async def end(self, batch: Batch) -> Batch:
        return await self.until(batch, "completed", "failed", "expired", "cancelled")

    async def until(self, batch: Batch, *statuses: str) -> Batch:
        while batch.status not in statuses:
            await asyncio.sleep(0.02)
            batch = await self.api.batches.retrieve(batch.id)
        return batch

    async def rows(self, file_id: str | None) -> list[dict[str, Any]]:
        assert file_id is not None
        content = await self.api.files.content(file_id)
        return [json.loads(row) for row in content.text.splitlines()]


def composition(upstream: FakeUpstream, odd: str = "ok") -> str:
    return FILE.format(url=upstream.url, odd=odd)


async def test_a_batch_is_answered_by_the_experts_of_its_lines(
    serve: Serve, upstream: FakeUpstream
) -> None:
    texts = ["add one", "spell cat", "good day", "plus two", "a word"]
    async with serve(composition(upstream)) as running, Desk(running) as desk:
        batch = await desk.begin(request(i, text) for i, text in enumerate(texts))
        assert batch.status == "validating"
        done = await desk.end(batch)
        rows = await desk.rows(done.output_file_id)

    assert done.status == "completed"
    assert done.errors is None
    assert done.error_file_id is None
    assert done.request_counts is not None
    assert done.request_counts.to_dict() == {"total": 5, "completed": 5, "failed": 0}
    assert [row["custom_id"] for row in rows] == [f"line-{i}" for i in range(5)]
    assert [row["response"]["body"]["model"] for row in rows] == [
        *("sums", "words", "far", "sums", "words")
    ]
    assert [row["response"]["body"]["choices"][0]["message"]["content"] for row in rows] == [
        f"echo: {text}" for text in texts
    ]
    assert all(row["response"]["status_code"] == 200 and row["error"] is None for row in rows)
    assert rows[0]["coe"]["category"] == "sums"
    assert done.created_at <= done.in_progress_at <= done.finalizing_at <= done.completed_at
    assert done.usage is not None
    assert done.usage.total_tokens > 0


async def test_lines_are_run_expert_by_expert_and_written_in_the_order_of_the_file(
    serve: Serve, upstream: FakeUpstream
) -> None:
    texts = ["add one", "spell cat"] * 20
    async with serve(composition(upstream), batch_concurrency=1) as running, Desk(running) as desk:
        done = await desk.end(await desk.begin(request(i, text) for i, text in enumerate(texts)))
        rows = await desk.rows(done.output_file_id)
        switches = running.metric("coe_batch_experts_total")

    asked = [received.json["model"] for received in upstream.requests]
    assert asked in (["sums"] * 20 + ["words"] * 20, ["words"] * 20 + ["sums"] * 20)
    assert switches == 2
    assert [row["custom_id"] for row in rows] == [f"line-{i}" for i in range(40)]


async def test_an_embeddings_batch(serve: Serve, upstream: FakeUpstream) -> None:
    rows = [
        line("here", {"model": "small", "input": "a text"}, "/v1/embeddings"),
        line("there", {"model": "far", "input": ["a", "b"]}, "/v1/embeddings"),
        line("wrong", {"model": "small", "input": 7}, "/v1/embeddings"),
    ]
    async with serve(composition(upstream)) as running, Desk(running) as desk:
        done = await desk.end(await desk.begin(rows, endpoint="/v1/embeddings"))
        good = await desk.rows(done.output_file_id)
        bad = await desk.rows(done.error_file_id)

    assert [row["custom_id"] for row in good] == ["here", "there"]
    assert len(good[0]["response"]["body"]["data"][0]["embedding"]) > 8
    assert len(good[1]["response"]["body"]["data"]) == 2
    assert bad[0]["response"]["status_code"] == 400
    assert bad[0]["response"]["body"]["error"]["param"] == "input"


async def test_a_line_that_fails_is_an_error_of_its_own(
    serve: Serve, upstream: FakeUpstream
) -> None:
    rows = [
        request(0, "add"),
        line("no-messages", {"model": "sums"}),
        request(2, model="odd"),
        request(3, "spell", n=99),
    ]
    async with serve(composition(upstream, "error-400-context")) as running, Desk(running) as desk:
        done = await desk.end(await desk.begin(rows))
        good = await desk.rows(done.output_file_id)
        bad = {row["custom_id"]: row for row in await desk.rows(done.error_file_id)}

    assert done.status == "completed"
    assert done.request_counts is not None
    assert done.request_counts.to_dict() == {"total": 4, "completed": 1, "failed": 3}
    assert [row["custom_id"] for row in good] == ["line-0"]
    assert bad["no-messages"]["response"]["body"]["error"]["param"] == "messages"
    assert bad["line-2"]["response"]["body"]["error"]["code"] == "context_length_exceeded"
    assert bad["line-3"]["response"]["body"]["error"]["param"] == "n"
    assert {row["response"]["status_code"] for row in bad.values()} == {400}


async def test_every_mistake_of_the_input_is_named_with_its_line(
    serve: Serve, upstream: FakeUpstream
) -> None:
    good = request(0)
    rows = [
        good,
        b"{not json",
        b"",
        b'["a list"]',
        b'{"custom_id": "a", "custom_id": "b"}',
        line("x", {"model": "sums", "messages": []}, "/v1/embeddings"),
        line("y", {"model": "nobody", "messages": []}),
        line("z", {"model": "sums", "messages": [], "stream": True}),
        good,
        line("", {"model": "sums"}),
        json.dumps({"method": "POST", "url": "/v1/chat/completions", "body": {}}).encode(),
        json.dumps({"custom_id": "m", "method": "GET", "url": "/v1/chat/completions"}).encode(),
        json.dumps({"custom_id": "b", "url": "/v1/chat/completions", "body": []}).encode(),
        json.dumps({"custom_id": "c", "url": "/v1/chat/completions"}).encode(),
        line("d", {"messages": []}),
        b"\xff\xfe{}",
    ]
    async with serve(composition(upstream)) as running, Desk(running) as desk:
        batch = await desk.end(await desk.begin(rows))

    assert batch.status == "failed"
    assert batch.failed_at is not None
    assert batch.in_progress_at is None
    assert batch.errors is not None
    assert [(row.line, row.code) for row in batch.errors.data or ()] == [
        (2, "invalid_json_line"),
        (4, "invalid_json_line"),
        (5, "invalid_json_line"),
        (6, "mismatched_url"),
        (7, "model_not_found"),
        (8, "stream_not_supported"),
        (9, "duplicate_custom_id"),
        (10, "invalid_custom_id"),
        (11, "missing_required_parameter"),
        (12, "invalid_method"),
        (13, "invalid_body"),
        (14, "missing_required_parameter"),
        (15, "missing_required_parameter"),
        (16, "invalid_json_line"),
    ]
    assert "line 1" in str(batch.errors.data[6].message)
    assert upstream.received == 0


async def test_more_mistakes_than_are_shown_are_all_in_the_error_file(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with serve(composition(upstream)) as running, Desk(running) as desk:
        batch = await desk.end(await desk.begin([b"{}"] * 250))
        rows = await desk.rows(batch.error_file_id)

    assert batch.errors is not None
    assert batch.errors.data is not None
    assert len(batch.errors.data) == 101
    assert batch.errors.data[-1].code == "more_errors"
    assert [row["error"]["line"] for row in rows] == list(range(1, 251))


@pytest.mark.parametrize("content", [b"", b"\n\n  \r\n"])
async def test_a_file_without_lines(serve: Serve, upstream: FakeUpstream, content: bytes) -> None:
    async with serve(composition(upstream)) as running, Desk(running) as desk:
        batch = await desk.end(await desk.begin([content] if content else []))

    assert batch.status == "failed"
    assert batch.errors is not None
    assert [row.code for row in batch.errors.data or ()] == ["empty_file"]


async def test_a_file_of_another_system_is_read_as_it_is(
    serve: Serve, upstream: FakeUpstream
) -> None:
    rows = [b"\xef\xbb\xbf" + request(0, "add") + b"\r", request(1, "spell ünïcödé") + b"\r"]
    async with serve(composition(upstream)) as running, Desk(running) as desk:
        content = b"\n".join(rows)
        file = await desk.api.files.create(file=("in.jsonl", content), purpose="batch")
        batch = await desk.api.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        done = await desk.end(batch)
        answers = await desk.rows(done.output_file_id)

    assert [row["custom_id"] for row in answers] == ["line-0", "line-1"]
    assert answers[1]["response"]["body"]["choices"][0]["message"]["content"].endswith("ünïcödé")


async def test_too_many_lines(serve: Serve, upstream: FakeUpstream) -> None:
    async with serve(composition(upstream), batch_max_lines=3) as running, Desk(running) as desk:
        batch = await desk.end(await desk.begin(request(i) for i in range(5)))

    assert batch.errors is not None
    assert batch.errors.data is not None
    assert [(row.code, row.line) for row in batch.errors.data] == [("too_many_lines", 4)]
    assert "COE_BATCH_MAX_LINES" in str(batch.errors.data[0].message)


async def test_what_fails_for_a_while_is_tried_again(serve: Serve, upstream: FakeUpstream) -> None:
    upstream.plan(["error-429-retry-after-ms-50", "reset"])
    async with serve(composition(upstream)) as running, Desk(running) as desk:
        done = await desk.end(await desk.begin([request(0, "add"), request(1, "plus")]))

    assert done.request_counts is not None
    assert done.request_counts.to_dict() == {"total": 2, "completed": 2, "failed": 0}
    assert [received.json["model"] for received in upstream.requests] == ["sums"] * 4


async def test_a_fallback_answers_a_line_that_its_expert_cannot(
    serve: Serve, upstream: FakeUpstream
) -> None:
    upstream.plan(["error-400-context", "error-400-context"])
    async with serve(composition(upstream)) as running, Desk(running) as desk:
        done = await desk.end(await desk.begin([request(0, "add")]))
        rows = await desk.rows(done.output_file_id)

    assert rows[0]["response"]["body"]["model"] == "far"
    assert rows[0]["coe"]["expert"] == "far"
    assert rows[0]["coe"]["reason"] == "fallback"


async def test_cancelling_keeps_what_is_done_and_names_the_rest(
    serve: Serve, upstream: FakeUpstream
) -> None:
    upstream.latency = lambda: 0.05
    async with serve(composition(upstream), batch_concurrency=2) as running, Desk(running) as desk:
        batch = await desk.begin(request(i, "add") for i in range(60))
        await upstream.arrived(5)
        cancelling = await desk.api.batches.cancel(batch.id)
        done = await desk.end(batch)
        good = await desk.rows(done.output_file_id)
        rest = await desk.rows(done.error_file_id)
        with pytest.raises(openai.BadRequestError, match="cancelled"):
            await desk.api.batches.cancel(batch.id)

    assert cancelling.status == "cancelling"
    assert done.status == "cancelled"
    assert done.cancelled_at is not None
    assert done.completed_at is None
    assert upstream.received == len(good) < 30
    assert upstream.aborted == 0
    assert {row["error"]["code"] for row in rest} == {"batch_cancelled"}
    names = sorted(row["custom_id"] for row in good + rest)
    assert names == sorted(f"line-{i}" for i in range(60))
    assert done.request_counts is not None
    assert done.request_counts.completed == len(good)


async def test_an_expired_batch_keeps_what_is_done(serve: Serve, upstream: FakeUpstream) -> None:
    upstream.latency = lambda: 0.1
    async with serve(composition(upstream), batch_concurrency=1) as running, Desk(running) as desk:
        done = await desk.end(
            await desk.begin((request(i, "add") for i in range(99)), completion_window="1s")
        )
        good = await desk.rows(done.output_file_id)
        rest = await desk.rows(done.error_file_id)

    assert done.status == "expired"
    assert done.expired_at is not None
    assert done.expired_at >= (done.expires_at or 0)
    assert {row["error"]["code"] for row in rest} == {"batch_expired"}
    assert len(good) + len(rest) == 99
    assert len(good) > 1


async def test_a_batch_yields_to_interactive_requests(serve: Serve, upstream: FakeUpstream) -> None:
    """While one is in flight, at most one line is begun beside those that were in flight."""
    upstream.latency = lambda: 0.02
    serving = serve(composition(upstream, "slow-first-1s"), batch_concurrency=8)
    async with serving as running, Desk(running) as desk:
        batch = await desk.begin(request(i, "add") for i in range(400))
        await upstream.arrived(20)
        asking = asyncio.create_task(running.chat("odd"))
        while running.gateway.telemetry.in_flight == 0:
            await asyncio.sleep(0)
        seen: list[int] = []
        while not asking.done():
            await asyncio.sleep(0.01)
            seen.append(running.gateway.telemetry.batch_in_flight)
        await asking
        await desk.api.batches.cancel(batch.id)
        await desk.end(batch)

    assert max(seen[20:]) == 1


async def test_progress_and_eta(serve: Serve, upstream: FakeUpstream) -> None:
    upstream.latency = lambda: 0.03
    async with serve(composition(upstream), batch_concurrency=2) as running, Desk(running) as desk:
        batch = await desk.begin(request(i, "add") for i in range(60))
        seen = []
        while batch.status != "completed":
            raw = await desk.api.batches.with_raw_response.retrieve(batch.id)
            batch = raw.parse()
            seen.append((batch.to_dict()["coe"], raw.headers))
            await asyncio.sleep(0.05)

    shares = [coe["progress"] for coe, _ in seen]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert len(set(shares)) > 3
    etas = [coe["eta_s"] for coe, _ in seen if coe["eta_s"] is not None]
    assert all(eta < 30 for eta in etas)
    assert etas[-1] == 0
    assert float(seen[-1][1]["x-coe-batch-progress"]) == 1
    assert seen[-1][0]["experts"] == [{"expert": "sums", "backend": "up", "lines": 60, "done": 60}]


async def test_batches_are_listed_page_by_page(serve: Serve, upstream: FakeUpstream) -> None:
    async with serve(composition(upstream)) as running, Desk(running) as desk:
        made = [await desk.begin([request(i)], metadata={"number": str(i)}) for i in range(5)]
        for batch in made:
            await desk.end(batch)
        listed = [batch async for batch in desk.api.batches.list(limit=2)]
        with pytest.raises(openai.NotFoundError):
            await desk.api.batches.list(after="batch_none")

    assert [batch.id for batch in listed] == [batch.id for batch in reversed(made)]
    assert listed[0].metadata == {"number": "4"}


async def test_a_life_of_a_file(serve: Serve, upstream: FakeUpstream, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_bytes(request(1) + b"\n")
    async with serve(composition(upstream)) as running, Desk(running) as desk:
        api = desk.api
        assert [file async for file in api.files.list()] == []
        files = [await api.files.create(file=path, purpose="batch") for _ in range(3)]
        again = await api.files.retrieve(files[0].id)
        content = await api.files.content(files[0].id)
        newest = [file.id async for file in api.files.list(limit=2)]
        oldest = [file.id async for file in api.files.list(order="asc", purpose="batch")]
        others = [file.id async for file in api.files.list(purpose="batch_output")]
        gone = await api.files.delete(files[0].id)
        with pytest.raises(openai.NotFoundError):
            await api.files.retrieve(files[0].id)
        with pytest.raises(openai.NotFoundError):
            await api.files.content(files[0].id)

    assert (again.filename, again.bytes, again.purpose) == (
        "mine.jsonl",
        path.stat().st_size,
        "batch",
    )
    assert content.content == path.read_bytes()
    assert newest == [file.id for file in reversed(files)]
    assert oldest == [file.id for file in files]
    assert others == []
    assert gone.deleted


async def test_a_file_that_a_batch_reads_is_not_deleted(
    serve: Serve, upstream: FakeUpstream
) -> None:
    upstream.latency = lambda: 0.05
    async with serve(composition(upstream), batch_concurrency=1) as running, Desk(running) as desk:
        batch = await desk.begin(request(i) for i in range(20))
        with pytest.raises(openai.BadRequestError, match=batch.id):
            await desk.api.files.delete(batch.input_file_id)
        await desk.api.batches.cancel(batch.id)
        await desk.end(batch)
        assert (await desk.api.files.delete(batch.input_file_id)).deleted


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"endpoint": "/v1/completions"}, "endpoint"),
        ({"input_file_id": "file-none"}, "input_file_id"),
        ({"completion_window": "soon"}, "completion_window"),
        ({"completion_window": "0s"}, "completion_window"),
        ({"completion_window": "31d"}, "completion_window"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"metadata": {str(i): "x" for i in range(17)}}, "metadata"),
        ({"metadata": {"a": "x" * 513}}, "metadata"),
        ({"extra_body": {"output_expires_after": {}}}, "output_expires_after"),
    ],
)
async def test_a_batch_that_is_asked_for_wrongly(
    serve: Serve, upstream: FakeUpstream, fields: dict[str, Any], param: str
) -> None:
    async with serve(composition(upstream)) as running, Desk(running) as desk:
        file = await desk.api.files.create(file=("in.jsonl", request(0)), purpose="batch")
        asked = {
            "input_file_id": file.id,
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            **fields,
        }
        with pytest.raises(openai.BadRequestError) as caught:
            await desk.api.batches.create(**asked)

    assert caught.value.param == param


async def test_unknown_ids(serve: Serve, upstream: FakeUpstream) -> None:
    async with serve(composition(upstream)) as running, Desk(running) as desk:
        for made in (False, True):
            for call in (
                desk.api.batches.retrieve("batch_no"),
                desk.api.batches.cancel("batch_no"),
                desk.api.files.retrieve("file-no"),
                desk.api.files.content("file-no"),
                desk.api.files.delete("../batches.sqlite"),
            ):
                with pytest.raises(openai.NotFoundError):
                    await call
            if not made:
                assert [batch async for batch in desk.api.batches.list()] == []
                await desk.api.files.create(file=("in.jsonl", request(0)), purpose="batch")


@pytest.mark.parametrize(
    ("content_type", "body", "status", "message"),
    [
        ("application/json", b"{}", 400, "multipart/form-data"),
        ("multipart/form-data", b"{}", 400, "multipart/form-data"),
        ("multipart/form-data; boundary=b", b"", 400, "breaks off"),
        (f"multipart/form-data; boundary={'b' * 300}", b"", 400, "cannot be read"),
        ("multipart/form-data; boundary=b", b"nonsense", 400, "cannot be read"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b--\r\n',
            400,
            "no `file`",
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nvision\r\n--b--\r\n',
            400,
            "vision",
        ),
        (
            "multipart/form-data; boundary=b",
            (
                b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
                b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nhalf'
            ),
            400,
            "breaks off",
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'
            + b"x" * 5000
            + b"\r\n--b--\r\n",
            413,
            "COE_MAX_FILE_BYTES",
        ),
    ],
)
async def test_an_upload_that_is_wrong(  # noqa: PLR0917
    serve: Serve,
    upstream: FakeUpstream,
    tmp_path: Path,
    content_type: str,
    body: bytes,
    status: int,
    message: str,
) -> None:
    async with serve(composition(upstream), max_file_bytes=4000) as running:
        response = await running.request(
            "POST", f"{running.url}/files", data=body, headers={"content-type": content_type}
        )
        error = (await response.json())["error"]

    assert response.status == status
    assert message in error["message"]
    assert list((tmp_path / ".coe" / "files").iterdir()) == []


async def test_an_upload_that_would_expire_is_refused(serve: Serve, upstream: FakeUpstream) -> None:
    async with serve(composition(upstream)) as running, Desk(running) as desk:
        with pytest.raises(openai.BadRequestError, match="expires_after"):
            await desk.api.files.create(
                file=("in.jsonl", b"x"),
                purpose="batch",
                expires_after={"anchor": "created_at", "seconds": 3600},
            )


async def test_nothing_is_made_where_nobody_uses_batches(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path
) -> None:
    async with serve(composition(upstream)) as running, Desk(running) as desk:
        assert [batch async for batch in desk.api.batches.list()] == []
        await running.chat("sums")

    assert not (tmp_path / ".coe" / "batches.sqlite").exists()


async def test_a_batch_goes_on_where_another_gateway_stopped(
    serve: Serve, upstream: FakeUpstream
) -> None:
    upstream.latency = lambda: 0.02
    text = composition(upstream)
    async with serve(text, batch_concurrency=2) as running, Desk(running) as desk:
        batch = await desk.begin(request(i, "add") for i in range(60))
        await upstream.arrived(10)
    asked = upstream.received
    async with serve(text) as running, Desk(running) as desk:
        done = await desk.end(batch)
        rows = await desk.rows(done.output_file_id)

    assert asked < 60
    assert upstream.received == 60
    assert [row["custom_id"] for row in rows] == [f"line-{i}" for i in range(60)]


async def test_another_composition_places_anew_what_is_left(
    serve: Serve, upstream: FakeUpstream
) -> None:
    upstream.latency = lambda: 0.02
    text = composition(upstream)
    async with serve(text, batch_concurrency=1) as running, Desk(running) as desk:
        batch = await desk.begin(request(i, "add") for i in range(40))
        await upstream.arrived(5)
    moved = text.replace(
        "sums: {keywords: [add, plus], experts: [sums]}",
        "sums: {keywords: [add, plus], experts: [words]}",
    )
    async with serve(moved) as running, Desk(running) as desk:
        done = await desk.end(batch)
        rows = await desk.rows(done.output_file_id)
        groups = done.to_dict()["coe"]["experts"]

    models = [row["response"]["body"]["model"] for row in rows]
    assert models == sorted(models)
    assert set(models) == {"sums", "words"}
    assert upstream.received == 40
    assert {row["expert"]: row["lines"] for row in groups} == {
        "sums": models.count("sums"),
        "words": models.count("words"),
    }


async def test_two_gateways_on_one_folder_run_a_batch_once(
    serve: Serve, upstream: FakeUpstream
) -> None:
    upstream.latency = lambda: 0.01
    text = composition(upstream)
    gateways = serve(text), serve(text)
    async with (
        gateways[0] as first,
        gateways[1] as second,
        Desk(first) as desk,
        Desk(second) as other,
    ):
        batches = [
            await desk.begin(request(i, "add") for i in range(50)),
            await other.begin(request(i, "spell") for i in range(50)),
        ]
        done = [await desk.end(batch) for batch in batches]

    assert [batch.request_counts.completed for batch in done if batch.request_counts] == [50, 50]
    assert upstream.received == 100


async def test_a_gateway_that_is_replaced_meanwhile_answers_what_is_left(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path
) -> None:
    upstream.latency = lambda: 0.02
    text = composition(upstream)
    moved = tmp_path / "moved.yaml"
    moved.write_text(text.replace("plus], experts: [sums]", "plus], experts: [words]"))
    async with serve(text, batch_concurrency=2) as running, Desk(running) as desk:
        batch = await desk.begin(request(i, "add") for i in range(40))
        await upstream.arrived(8)
        await running.live.replace(load(moved))
        done = await desk.end(batch)
        rows = await desk.rows(done.output_file_id)

    models = [row["response"]["body"]["model"] for row in rows]
    assert models == sorted(models)
    assert set(models) == {"sums", "words"}
    assert upstream.received == 40
    assert upstream.aborted == 0


async def test_a_bug_fails_its_line_and_no_other(serve: Serve, upstream: FakeUpstream) -> None:
    async with serve(composition(upstream)) as running, Desk(running) as desk:

        class Broken:
            def generate(self, dispatch: object) -> object:
                raise KeyError(dispatch)

        backends = {**running.gateway.backends, "other": Broken()}
        running.live.current.gateway = replace(running.gateway, backends=backends)
        done = await desk.end(await desk.begin([request(0, "add"), request(1, "good day")]))
        running.live.current.gateway = running.gateway
        (bad,) = await desk.rows(done.error_file_id)

    assert done.request_counts is not None
    assert done.request_counts.to_dict() == {"total": 2, "completed": 1, "failed": 1}
    assert bad["response"]["status_code"] == 500
    assert bad["response"]["body"]["error"]["message"].startswith("internal error")


async def test_who_lost_the_lease_stops_and_what_it_had_in_flight_is_not_written(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path
) -> None:
    upstream.latency = lambda: 0.05
    serving = serve(composition(upstream), batch_concurrency=2, batch_lease_s=0.5)
    async with serving as running, Desk(running) as desk:
        batch = await desk.begin(request(i, "add") for i in range(40))
        await upstream.arrived(6)
        with closing(sqlite3.connect(tmp_path / ".coe" / "batches.sqlite")) as thief:
            thief.execute("UPDATE batches SET owner = 'thief', lease_until = 9e9")
            thief.commit()
            while running.gateway.telemetry.batch_in_flight:
                await asyncio.sleep(0.01)
            stopped_at = upstream.received
            await asyncio.sleep(0.3)
            assert upstream.received == stopped_at < 20
            thief.execute("UPDATE batches SET lease_until = 0")
            thief.commit()
        done = await desk.end(batch)
        rows = await desk.rows(done.output_file_id)

    assert [row["custom_id"] for row in rows] == [f"line-{i}" for i in range(40)]
    assert upstream.received <= 40 + 4


async def test_an_upload_that_its_client_gives_up_leaves_nothing(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path
) -> None:
    folder = tmp_path / ".coe" / "files"
    async with serve(composition(upstream)) as running:
        port = int(running.url.split(":")[2].split("/")[0])
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"POST /v1/files HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n"
            b"content-type: multipart/form-data; boundary=b\r\n\r\n"
            b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n{"half'
        )
        await writer.drain()
        while not folder.exists() or not list(folder.iterdir()):
            await asyncio.sleep(0.01)
        writer.close()
        while list(folder.iterdir()):
            await asyncio.sleep(0.01)

    assert list(folder.iterdir()) == []
