"""What was used, kept in a file behind the memory."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest

from coe.errors import ArtefactError
from coe.limits.rules import read
from coe.limits.scopes import Account
from coe.limits.tally import Entry, Refusal
from coe.stores.ledger import FILE, LocalLedger

pytestmark = pytest.mark.anyio

NOON = 1_774_958_400.0
DAY = 86_400.0


def account(text: str) -> Account:
    rule = read(text)
    return Account(f"all/{rule.what}/{rule.period or 'now'}", "all", "everybody", rule)


async def test_windows_go_on_after_a_restart_and_end_when_they_end(tmp_path: Path) -> None:
    limit, under_way = account("5 USD/day"), account("2 at once")
    before = LocalLedger(tmp_path, clock=lambda: NOON)
    async with before.running():
        await before.reserve([Entry(limit, 5 * 10**9), Entry(under_way, 1)], NOON)

    same_day = LocalLedger(tmp_path, clock=lambda: NOON + 60)
    async with same_day.running():
        assert isinstance(await same_day.reserve([Entry(limit, 1)], NOON + 60), Refusal)
        assert same_day.tally.used(under_way, NOON) == 0  # nothing of it is under way any more

    next_day = LocalLedger(tmp_path, clock=lambda: NOON + DAY)
    async with next_day.running():
        assert not isinstance(await next_day.reserve([Entry(limit, 1)], NOON + DAY), Refusal)


async def test_two_processes_on_one_folder_count_together_and_say_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    limit = account("10 requests/day")
    one, other = (LocalLedger(tmp_path, interval_s=0.01, clock=lambda: NOON) for _ in range(2))
    async with one.running(), other.running():
        for ledger, amount in ((one, 4), (other, 3), (one, 2)):
            await ledger.reserve([Entry(limit, amount)], NOON)
        async with asyncio.timeout(10.0):
            while any(ledger.tally.used(limit, NOON) != 9 for ledger in (one, other)):
                await asyncio.sleep(0.01)

        refusal = await other.reserve([Entry(limit, 2)], NOON)

        assert isinstance(refusal, Refusal)
        assert not isinstance(await one.reserve([Entry(limit, 1)], NOON), Refusal)
    after = LocalLedger(tmp_path, clock=lambda: NOON)
    async with after.running():
        assert after.tally.used(limit, NOON) == 10
    told = [line for line in caplog.messages if "another process counts in" in line]
    assert len(told) == 2  # each of the two, once


async def test_what_others_count_is_known_to_who_has_not_counted_yet(tmp_path: Path) -> None:
    limit = account("10 requests/day")
    one, other = (LocalLedger(tmp_path, interval_s=0.01, clock=lambda: NOON) for _ in range(2))
    async with one.running(), other.running():
        await one.reserve([Entry(limit, 6)], NOON)
        async with asyncio.timeout(10.0):
            while other.tally.used(limit, NOON) != 6:
                await asyncio.sleep(0.01)

        assert isinstance(await other.reserve([Entry(limit, 5)], NOON), Refusal)


async def test_one_process_after_another_is_no_company(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    limit = account("10 requests/day")
    for _ in range(2):
        ledger = LocalLedger(tmp_path, interval_s=0.01, clock=lambda: NOON)
        for _ in range(2):
            async with ledger.running():
                await ledger.reserve([Entry(limit, 1)], NOON)
                await asyncio.sleep(0.05)

    assert ledger.tally.used(limit, NOON) == 4
    assert "another process" not in caplog.text


async def test_a_file_of_the_first_version_is_read_on(tmp_path: Path) -> None:
    limit = account("10 requests/day")
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        connection.executescript(
            "CREATE TABLE counters (key TEXT PRIMARY KEY, period TEXT NOT NULL,"
            " number INTEGER NOT NULL, used INTEGER NOT NULL, previous INTEGER NOT NULL,"
            " until REAL NOT NULL);"
            f"PRAGMA application_id = {0x436F4C4D}; PRAGMA user_version = 1;"
        )
        row = (limit.key, "day", int(NOON // DAY), 7, 0, 9e9)
        connection.execute("INSERT INTO counters VALUES (?, ?, ?, ?, ?, ?)", row)
        connection.commit()

    ledger = LocalLedger(tmp_path, clock=lambda: NOON)
    async with ledger.running():
        await ledger.reserve([Entry(limit, 2)], NOON)
    after = LocalLedger(tmp_path, clock=lambda: NOON)
    async with after.running():
        assert after.tally.used(limit, NOON) == 9


async def test_what_counts_no_more_is_not_kept(tmp_path: Path) -> None:
    before = LocalLedger(tmp_path, clock=lambda: NOON)
    async with before.running():
        await before.reserve([Entry(account("5 requests/min"), 1)], NOON)

    later = LocalLedger(tmp_path, clock=lambda: NOON + DAY)
    async with later.running():
        assert len(later.tally) == 0


async def test_what_counts_no_more_is_dropped_while_a_process_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coe.stores.ledger._FORGET_EVERY_S", 0.0)
    now_s = NOON
    ledger = LocalLedger(tmp_path, interval_s=0.01, clock=lambda: now_s)
    async with ledger.running():
        await ledger.reserve([Entry(account("5 requests/min"), 1)], now_s)
        async with asyncio.timeout(10.0):
            while not (tmp_path / FILE).exists() or not _rows(tmp_path):
                await asyncio.sleep(0.01)
            now_s += DAY
            while _rows(tmp_path):
                await asyncio.sleep(0.01)
        assert len(ledger.tally) == 0


def _rows(folder: Path) -> int:
    with closing(sqlite3.connect(folder / FILE)) as connection:
        try:
            (count,) = connection.execute("SELECT count(*) FROM counters").fetchone()
        except sqlite3.OperationalError:  # it is being made
            return 0
        return int(count)


async def test_nothing_is_made_before_something_is_counted(tmp_path: Path) -> None:
    async with LocalLedger(tmp_path).running():
        pass

    assert not (tmp_path / FILE).exists()


async def test_a_damaged_file_is_refused_for_it_would_not_be_known_what_was_spent(
    tmp_path: Path,
) -> None:
    (tmp_path / FILE).write_bytes(b"no database at all " * 100)

    with pytest.raises(ArtefactError, match="move it away"):
        async with LocalLedger(tmp_path).running():
            pass


async def test_where_the_disk_takes_nothing_limits_go_on_in_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    limit = account("1 request/day")
    ledger = LocalLedger(tmp_path / "file" / "below", clock=lambda: NOON)
    (tmp_path / "file").write_text("no folder")
    async with ledger.running():
        await ledger.reserve([Entry(limit, 1)], NOON)

        assert isinstance(await ledger.reserve([Entry(limit, 1)], NOON), Refusal)

    assert "limits go on in memory alone" in caplog.text


async def test_what_was_spent_is_known_though_the_folder_cannot_be_written(
    anybodys: Path, read_only: Callable[[Path], AbstractContextManager[None]]
) -> None:
    folder, limit = anybodys, account("5 USD/day")
    before = LocalLedger(folder, clock=lambda: NOON)
    async with before.running():
        await before.reserve([Entry(limit, 5 * 10**9)], NOON)
    with read_only(folder):
        after = LocalLedger(folder, clock=lambda: NOON)
        async with after.running():
            assert isinstance(await after.reserve([Entry(limit, 1)], NOON), Refusal)


async def test_a_file_that_cannot_be_read_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()

    with pytest.raises(ArtefactError, match=f"{FILE}: unable to open.*move it away"):
        await LocalLedger(tmp_path, clock=lambda: NOON).open()
