"""The decision log: what waits is bounded, and nothing is lost while the disk is well."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import closing
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from coe.composition import load
from coe.decisions import log as logs
from coe.decisions.event import Event, record_of
from coe.decisions.log import DecisionLog
from coe.errors import CoEError, QueueFull
from coe.stores.decisions import FILE, DecisionStore, Record
from coe.types import Answer, Call, Decision, Plan, Query

TEXT = """
version: 1
backends: {up: "http://127.0.0.1:9"}
experts: {good: {backend: up, model: a, cost: {input: 2 USD/M, output: 10 USD/M}}}
default: good
"""


def event(folder: Path, name: str) -> Event:
    file = folder / "experts.yaml"
    if not file.exists():
        file.write_text(TEXT)
    query = Query(id=name, model="good", body={"messages": [{"role": "user", "content": name}]})
    return Event(
        at=time.time(), query=query, composition=load(file), tenant="", status=200, took_s=0.1
    )


def test_many_threads_write_each_decision_once(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path, interval_s=0.01)
    log.start()
    first = event(tmp_path, "x")

    def note(thread: int) -> None:
        for number in range(300):
            query = Query(id=f"{thread}-{number}", model="good", body={"messages": []})
            log.add(first._replace(query=query))

    threads = [threading.Thread(target=note, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    store = DecisionStore.open(tmp_path / FILE)
    assert len({record.id for record in store.records()}) == 1200
    store.close()
    assert (log.written, log.lost) == (1200, 0)


def test_what_waits_is_bounded_while_the_disk_fails(tmp_path: Path) -> None:
    blocked = tmp_path / "state"
    blocked.write_text("no folder")
    log = DecisionLog(blocked)
    first = event(tmp_path, "x")
    for number in range(logs._MOST_WAITING + 70):
        log.add(first._replace(query=Query(id=f"{number}", model="good", body={"messages": []})))
    assert log.lost == 70
    blocked.unlink()
    log.close()
    store = DecisionStore.open(blocked / FILE)
    ids = [record.id for record in store.records()]
    store.close()
    assert ids[0] == "70"  # the oldest are the ones that are lost
    assert len(ids) == logs._MOST_WAITING


def test_large_bodies_are_bounded_by_their_size(tmp_path: Path) -> None:
    blocked = tmp_path / "state"
    blocked.write_text("no folder")
    log = DecisionLog(blocked, interval_s=0.01)
    log.start()  # it tries to write, fails, and puts them back, again and again
    first = event(tmp_path, "x")._replace(size=logs._MOST_BYTES // 4)
    for number in range(10):
        log.add(first._replace(query=Query(id=f"{number}", model="good", body={"messages": []})))
        time.sleep(0.02)
    blocked.unlink()
    log.close()
    store = DecisionStore.open(blocked / FILE)
    assert [record.id for record in store.records()] == ["6", "7", "8", "9"]
    store.close()
    assert (log.written, log.lost) == (4, 6)


def test_a_value_that_the_file_does_not_take_keeps_no_other_out(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path, interval_s=0.01)
    log.start()
    good = event(tmp_path, "good")
    log.add(good._replace(query=Query(id="bad", model="\udcff", body={"messages": []})))
    log.add(good)
    log.flush()
    log.add(good._replace(query=Query(id="later", model="good", body={"messages": []})))
    log.close()
    store = DecisionStore.open(tmp_path / FILE)
    assert [record.id for record in store.records()] == ["good", "later"]
    store.close()
    assert (log.written, log.lost) == (2, 1)


def test_a_text_whose_time_is_over_is_forgotten_though_nobody_asks_anything(
    tmp_path: Path,
) -> None:
    with DecisionStore.open(tmp_path / FILE) as store:
        now = time.time()
        texts = [{"role": "user", "content": "secret"}]
        store.add([Record(id="old", at=now - 9, text=texts, text_until=now - 1)])
        log = DecisionLog(tmp_path, purge_every_s=0.05)
        log.start()
        until = time.monotonic() + 10
        while time.monotonic() < until and _text_of(store, "old") is not None:
            time.sleep(0.02)
        log.close()
        assert _text_of(store, "old") is None


def _text_of(store: DecisionStore, name: str) -> object:
    record = store.find(name)
    assert record is not None
    return record.text


def test_one_that_cannot_be_told_keeps_no_other_from_being_written(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path)
    good = event(tmp_path, "good")
    log.add(good._replace(query=Query(id="bad", model="good", body={"messages": {1: object()}})))
    log.add(good)
    log.close()
    store = DecisionStore.open(tmp_path / FILE)
    assert [record.id for record in store.records()] == ["good"]
    store.close()
    assert log.lost == 1


async def _none() -> AsyncGenerator[bytes, None]:
    return
    yield b""


def answered(noted: Event, first: bytes) -> Answer:
    call = Call(expert="good", backend="up", model="a", body={})
    return Answer(
        query=noted.query,
        decision=Decision(),
        plan=Plan(calls=(call,)),
        call=call,
        first=first,
        frames=_none(),
    )


@settings(max_examples=60, deadline=None)
@given(first=st.binary(max_size=200), last=st.binary(max_size=200))
def test_whatever_an_answer_holds_it_is_told(
    tmp_path_factory: object, first: bytes, last: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    noted = event(folder, "q")
    answer = answered(noted, first)
    record = record_of(noted._replace(answer=answer, last=last), lambda _: "digest")
    assert record.expert == "good"


def test_usage_is_read_from_the_last_frame_of_a_stream(tmp_path: Path) -> None:
    noted = event(tmp_path, "q")
    answer = answered(noted, b'data: {"id":"chatcmpl-7","choices":[]}\n\n')
    last = (
        b'data: {"id":"chatcmpl-7","choices":[{"delta":{"content":"\\"usage\\": {}"}}]}\n\n'
        b'data: {"id":"chatcmpl-7","choices":[],"usage":{"prompt_tokens":1000,'
        b'"completion_tokens":500}}\n\n'
    )
    record = record_of(noted._replace(answer=answer, last=last), lambda _: "digest")
    assert record.response_id == "chatcmpl-7"
    assert (record.prompt_tokens, record.answer_tokens) == (1000, 500)
    assert record.cost == (2 * 1000 + 10 * 500) / 1e6


def test_a_count_of_tokens_that_is_none_is_left_out(tmp_path: Path) -> None:
    noted = event(tmp_path, "q")
    answer = answered(
        noted, b'{"id":"c","usage":{"prompt_tokens":18446744073709551615,"completion_tokens":5}}'
    )
    record = record_of(noted._replace(answer=answer), lambda _: "digest")
    assert (record.prompt_tokens, record.answer_tokens) == (None, 5)


def test_what_broke_in_an_arm_is_counted_there(tmp_path: Path) -> None:
    file = tmp_path / "split.yaml"
    arms = "{a: 50%, b: {share: 50%, set: {routing.threshold: 0.7}}}"
    split = f"{{status: running, unit: request, arms: {arms}}}"
    categories = "categories: {code: {keywords: [python], experts: [good]}}"
    file.write_text(f"{TEXT}{categories}\nexperiments: {{one: {split}}}\n")
    noted = event(tmp_path, "q")
    query = Query(id="q", model="coe/auto", body=noted.query.body)
    noted = noted._replace(query=query, composition=load(file), status=500)
    bug = record_of(noted._replace(error=CoEError("a bug")), lambda _: "digest")
    assert bug.arms.keys() == {"one"}
    refused = record_of(noted._replace(error=QueueFull("before it was dealt")), lambda _: "digest")
    assert refused.arms == {}


def test_many_old_ones_are_forgotten_bit_by_bit_behind_what_is_written(tmp_path: Path) -> None:
    before = time.time() - 365 * 86_400
    with DecisionStore.open(tmp_path / FILE) as store:
        store.add(Record(id=f"old{number}", at=before + number) for number in range(2500))
        log = DecisionLog(tmp_path)
        left = []
        for name in "abcd":
            log.add(event(tmp_path, name))
            log.flush()
            left.append(sum(record.id.startswith("old") for record in store.records()))
        log.close()
        assert left == [1500, 500, 0, 0]
        assert [record.id for record in store.records()] == list("abcd")


def test_what_is_to_be_forgotten_is_found_without_looking_at_everything(tmp_path: Path) -> None:
    """Else a large file holds up what is to be written, until some of it is lost."""
    with DecisionStore.open(tmp_path / FILE) as store:
        store.forget(before=1.0, now=1.0)
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        for column in ("at", "text_until"):
            query = "EXPLAIN QUERY PLAN SELECT seq FROM decisions WHERE ? < 1 LIMIT 9"
            ((*_, plan),) = connection.execute(query.replace("?", column)).fetchall()
            assert plan.startswith("SEARCH decisions USING"), plan


def test_a_file_of_the_first_version_is_read_on(tmp_path: Path) -> None:
    with DecisionStore.open(tmp_path / FILE) as store:
        store.add([Record(id="a", at=1.0)])
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        connection.executescript("DROP INDEX by_time; DROP INDEX by_text; PRAGMA user_version = 1")
    with DecisionStore.open(tmp_path / FILE) as store:
        assert [record.id for record in store.records()] == ["a"]
        assert store.forget(before=2.0, now=2.0) == 1
