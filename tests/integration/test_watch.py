"""A guardrail that is broken while the gateway serves pauses its experiment."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from coe.api.app import App, _pause
from coe.composition import load
from coe.composition.edit import set_key
from coe.decisions.log import DecisionLog
from coe.errors import CoEError
from coe.reporting.watch import Watch
from coe.settings import Settings
from coe.stores.decisions import Record
from coe.telemetry import Telemetry
from coe.wiring import wire

pytestmark = pytest.mark.anyio

FILE = """\
version: 1
backends: {up: "http://127.0.0.1:9"}
experts: {good: up/a, other: up/b}
categories:
  code: {utterances: [a, b, c, d, e], experts: [good, other]}
default: good
experiments:
  swap:
    status: running
    unit: user
    arms: {control: 50%, swapped: {share: 50%, set: {routing.routes.code: [other, good]}}}
    metrics: {guardrails: {error_rate: 1pt}}
"""


def records(start: int, count: int, failing: int) -> list[Record]:
    """Return requests of both arms; one in `failing` of the second arm's has failed."""
    return [
        Record(
            id=f"d{number}",
            at=time.time(),
            status=502 if number % 2 and number % failing == 1 else 200,
            arms={"swap": "swapped" if number % 2 else "control"},
            latency_s=0.1,
            detail={"units": {"swap": f"u{number}"}},
        )
        for number in range(start, start + count)
    ]


def watched(folder: Path) -> tuple[DecisionLog, Watch]:
    """Return an empty log, and a watch over it that has no cause to pause anything."""
    path = folder / "experts.yaml"
    path.write_text(FILE)
    composition = load(path)

    async def pause(name: str) -> None:
        raise AssertionError(name)

    log = DecisionLog(folder)
    return log, Watch(lambda: composition, log, pause)


async def test_it_reads_what_is_new_and_pauses_once(tmp_path: Path) -> None:
    path = tmp_path / "experts.yaml"
    path.write_text(FILE)
    composition = load(path)
    paused: list[str] = []

    async def pause(name: str) -> None:
        nonlocal composition
        paused.append(name)
        text = path.read_text().replace("status: running", "status: paused")
        composition = load(path, text=text)

    log = DecisionLog(tmp_path)
    store = log.store()
    watch = Watch(lambda: composition, log, pause)
    await watch.look()
    assert not watch.alarms

    store.add(records(0, 2000, failing=2001))
    await watch.look()
    assert not paused
    store.add(records(2000, 2000, failing=10))
    await watch.look()
    assert paused == ["swap"]
    assert watch.alarms == {"swap": "guardrail"}
    await watch.look()
    assert not watch.alarms  # it runs no more
    log.close()


async def test_a_split_that_breaks_raises_the_alarm(tmp_path: Path) -> None:
    log, watch = watched(tmp_path)
    lost = [
        r for r in records(0, 4000, 9999) if r.arms["swap"] == "control" or int(r.id[1:]) % 8 != 1
    ]
    log.store().add(lost)
    await watch.look()
    assert watch.alarms == {"swap": "broken split"}
    log.close()


async def test_who_left_before_an_answer_is_not_lost(tmp_path: Path) -> None:
    log, watch = watched(tmp_path)
    left = [
        replace(one, status=499) if one.arms["swap"] == "swapped" and number % 3 else one
        for number, one in enumerate(records(0, 4000, 9999))
    ]
    log.store().add(left)
    await watch.look()
    assert not watch.alarms
    log.close()


async def test_who_cannot_be_paused_is_told_of_once_and_the_others_are_watched(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "experts.yaml"
    path.write_text(FILE)
    composition = load(path)
    tried: list[str] = []

    async def pause(name: str) -> None:
        tried.append(name)
        raise CoEError("the file is not to be written")

    log = DecisionLog(tmp_path)
    log.store().add(records(0, 4000, failing=10))
    watch = Watch(lambda: composition, log, pause)
    for _ in range(3):
        await watch.look()  # it raises nothing
    assert tried == ["swap"] * 3
    assert watch.alarms == {"swap": "guardrail"}
    assert caplog.text.count("cannot be paused: the file is not to be written") == 1
    log.close()


async def test_where_each_request_is_a_unit_only_sums_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "experts.yaml"
    path.write_text(FILE.replace("unit: user", "unit: request"))
    composition = load(path)
    paused: list[str] = []

    async def pause(name: str) -> None:
        paused.append(name)

    log = DecisionLog(tmp_path)
    log.store().add(records(0, 2000, failing=2001))
    watch = Watch(lambda: composition, log, pause)
    await watch.look()
    assert not paused
    assert not watch._seen["swap"].units
    log.store().add(records(2000, 2000, failing=10))
    await watch.look()
    assert paused == ["swap"]
    log.close()


async def test_refusals_say_nothing_of_how_long_answers_take(tmp_path: Path) -> None:
    path = tmp_path / "experts.yaml"
    path.write_text(FILE.replace("error_rate: 1pt", "p95: 20%"))
    composition = load(path)
    paused: list[str] = []

    async def pause(name: str) -> None:
        paused.append(name)

    log = DecisionLog(tmp_path)
    slow = [  # the control answers all; of the arm, nine in ten are refused at once, the rest slow
        replace(one, latency_s=9.0, status=200)
        if one.arms["swap"] == "swapped" and number % 20 == 1
        else replace(one, status=400, latency_s=0.001)
        if one.arms["swap"] == "swapped"
        else one
        for number, one in enumerate(records(0, 40_000, 99_999))
    ]
    log.store().add(slow)
    watch = Watch(lambda: composition, log, pause)
    await watch.look()
    assert paused == ["swap"]
    assert watch._seen["swap"].times["swapped"].total() == 2000
    log.close()


async def test_a_file_that_cannot_be_written_is_paused_in_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "experts.yaml"
    path.write_text(FILE)
    settings = Settings(config=path)
    app = App(wire(load(path), settings, Telemetry(log_requests=False)), settings)
    path.write_text("version: 1\nhalf a file")  # as good as one that is not to be written
    async with app.live.running():
        before = app.live.current.gateway
        assert before.trials is not None
        await _pause(app.live, "swap")
        after = app.live.current.gateway
        assert after.trials is None
        assert after.composition.experiments["swap"].status == "paused"
        assert not after.composition.variants
        assert after.backends["up"] is before.backends["up"]
        assert "in this process only" in caplog.text
        path.write_text(FILE)  # whoever mends the file has the word again
        await app.live.edit()
        assert app.live.current.gateway.trials is not None


def test_pausing_is_an_edit_that_keeps_the_file(tmp_path: Path) -> None:
    from coe.composition.edit import rewrite

    path = tmp_path / "experts.yaml"
    path.write_text(FILE)
    rewrite(
        path, lambda draft: set_key(draft, path=("experiments", "swap", "status"), value="paused")
    )
    assert path.read_text() == FILE.replace("status: running", "status: paused")
