from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from coe.errors import ArtefactError, CoEError
from coe.stores.batches import FILE, BatchState
from coe.stores.calls import FIRST
from coe.stores.lines import LeaseLost
from coe.stores.records import (
    Batch,
    File,
    Kept,
    Line,
    Mistake,
    Outcome,
    Placement,
    Seated,
    Wanted,
    part,
)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[BatchState]:
    opened = BatchState.open(tmp_path)
    yield opened
    opened.close()


def asked(number: int = 0) -> Batch:
    return Batch(
        seq=0,
        id=f"batch_{number}",
        endpoint="/v1/chat/completions",
        input_file_id="file-in",
        completion_window="24h",
        status="validating",
        created_at=1.0,
        expires_at=100.0,
        metadata={"who": "me"},
    )


def line(number: int) -> Line:
    return Line(number=number, offset=10 * number, length=10, custom_id=f"id-{number}")


def outcome(number: int, expert: str = "a") -> Outcome:
    return Outcome(
        number=number, expert=expert, succeeded=True, text=b"%d\n" % number, input_tokens=2
    )


def placed(number: int, expert: str = "a") -> Placement:
    return Placement(number=number, experts=(expert, "b"), backend="up", base="x")


SEATED = Seated(panel="p", experts=("a", "b"), weights=(0.7, 0.5), detail="the first 2")


def seated(number: int) -> Placement:
    return Placement(number=number, experts=("a",), backend="up", base="x", seated=SEATED)


def wanted(key: str, expert: str) -> Wanted:
    return Wanted(key=key, expert=expert, backend="up", base=expert)


def kept(key: str, expert: str) -> Kept:
    return Kept(key=key, expert=expert, succeeded=True, text=b"{}", took_s=2.0)


def held(state: BatchState, owner: str = "me", lines: int = 3) -> Batch:
    """A batch in progress with its lines placed, held by an owner."""
    state.batches.add(asked())
    claimed = state.batches.claim(owner, ["validating"], now=1.0, lease_s=10)
    assert claimed is not None
    state.lines.add(claimed.seq, owner, [line(n) for n in range(1, lines + 1)])
    state.batches.begin(claimed.seq, owner, total=lines, now=2.0)
    state.lines.place(claimed.seq, owner, [placed(n) for n in range(1, lines + 1)])
    return claimed


def test_a_file_that_cannot_be_added_leaves_no_content(state: BatchState) -> None:
    size = state.files.write("file-in", [b"{}"])
    file = File(id="file-in", filename="in.jsonl", purpose="batch", size=size, created_at=1)
    state.close()

    with pytest.raises(CoEError, match="closed"):
        state.files.add(file)

    assert not state.files.path("file-in").exists()


def test_a_batch_is_kept_as_it_was_asked_for(state: BatchState) -> None:
    added = state.batches.add(asked())

    assert added.seq > 0
    assert state.batches.get("batch_0") == added
    assert added.metadata == {"who": "me"}
    assert state.batches.get("batch_1") is None


def test_a_batch_is_held_by_one_until_its_lease_runs_out(state: BatchState) -> None:
    added = state.batches.add(asked())
    claim = state.batches.claim

    assert claim("me", ["validating"], now=0, lease_s=10) is not None
    assert claim("other", ["validating"], now=9, lease_s=10) is None
    assert state.batches.renew(added.seq, "me", now=9, lease_s=10) == "validating"
    assert claim("other", ["validating"], now=18, lease_s=10) is None
    assert claim("other", ["validating"], now=20, lease_s=10) is not None
    assert state.batches.renew(added.seq, "me", now=20, lease_s=10) is None


def test_a_lease_that_was_given_up_is_free_at_once(state: BatchState) -> None:
    added = state.batches.add(asked())
    state.batches.claim("me", ["validating"], now=0, lease_s=10)

    state.batches.release(added.seq, "other")
    assert state.batches.claim("other", ["validating"], now=1, lease_s=10) is None
    state.batches.release(added.seq, "me")

    assert state.batches.claim("other", ["validating"], now=1, lease_s=10) is not None


def test_the_oldest_batch_of_the_wanted_statuses_comes_first(state: BatchState) -> None:
    for number in range(3):
        state.batches.add(asked(number))
    state.batches.cancel("batch_1", now=5.0)

    first = state.batches.claim("me", ["cancelling"], now=0, lease_s=1)
    second = state.batches.claim("me", ["validating"], now=0, lease_s=1)

    assert [row.id for row in (first, second) if row] == ["batch_1", "batch_0"]


def test_who_lost_the_lease_writes_nothing(state: BatchState) -> None:
    batch = held(state)
    state.batches.claim("other", ["in_progress"], now=99, lease_s=10)
    seq, end = batch.seq, state.batches.end

    for write in (
        lambda: state.lines.record(seq, "me", outcome(1), 0),
        lambda: state.lines.place(seq, "me", [placed(1)]),
        lambda: state.lines.unplace(seq, "me", "f"),
        lambda: state.calls.want(seq, "me", 1, [wanted("one", "a")]),
        lambda: state.calls.record(seq, "me", 1, kept("one", "a"), 0),
        lambda: state.lines.add(seq, "me", [line(9)]),
        lambda: state.lines.clear(seq, "me"),
        lambda: state.batches.begin(seq, "me", total=3, now=0),
        lambda: state.batches.finalize(seq, "me", 0),
        lambda: end(seq, "me", "completed", now=0),
    ):
        with pytest.raises(LeaseLost):
            write()

    now = state.batches.get(batch.id)
    assert now is not None
    assert (now.completed, now.status) == (0, "in_progress")


def test_a_line_is_recorded_once(state: BatchState) -> None:
    batch = held(state)
    state.lines.record(batch.seq, "me", outcome(2), 5.0)

    with pytest.raises(LeaseLost):
        state.lines.record(batch.seq, "me", outcome(2), 6.0)

    now = state.batches.get(batch.id)
    assert now is not None
    assert (now.completed, now.input_tokens) == (1, 2)
    assert [row.number for row in state.lines.to_do(batch.seq, "a", 0, 9)] == [1, 3]
    assert list(state.lines.results(batch.seq, succeeded=True)) == [b"2\n"]


def test_lines_with_the_same_custom_id_are_named_with_the_first(state: BatchState) -> None:
    state.batches.add(asked())
    batch = state.batches.claim("me", ["validating"], now=0, lease_s=1)
    assert batch is not None
    again = Line(number=7, offset=0, length=1, custom_id="id-2")

    twice = state.lines.add(batch.seq, "me", [line(1), line(2), again])

    assert twice == [(again, 2)]


def test_results_come_in_the_order_of_the_file_over_many_pages(state: BatchState) -> None:
    batch = held(state, lines=450)
    for number in range(450, 0, -1):
        if number % 10:
            state.lines.record(batch.seq, "me", outcome(number), 0)

    done = [int(text) for text in state.lines.results(batch.seq, succeeded=True)]
    left = [row.number for row in state.lines.not_done(batch.seq)]

    assert done == [number for number in range(1, 451) if number % 10]
    assert left == list(range(10, 451, 10))


def test_groups_follow_their_lines(state: BatchState) -> None:
    batch = held(state, lines=3)
    state.lines.record(batch.seq, "me", outcome(1), 5.0)

    state.lines.unplace(batch.seq, "me", "new")
    state.lines.place(batch.seq, "me", [placed(2, "b"), placed(3, "b")])

    found = {row.expert: (row.lines, row.done) for row in state.lines.groups(batch.seq)}
    assert found == {"a": (1, 1), "b": (2, 0)}


def test_a_panel_s_line_is_due_until_it_has_calls_and_when_they_have_been_made(
    state: BatchState,
) -> None:
    batch = held(state, lines=0)
    lines, calls, seq = state.lines, state.calls, batch.seq
    lines.add(seq, "me", [line(1), line(2)])
    lines.place(seq, "me", [seated(1), placed(2)])

    (due,) = calls.due(seq, 0, 9)
    assert (due.number, due.seated) == (1, SEATED)
    assert lines.to_do(seq, "a", 0, 9)[0].number == 2

    calls.want(seq, "me", 1, [wanted("one", "a"), wanted("two", "b"), wanted("one", "a")])
    assert calls.due(seq, 0, 9) == []
    assert [(row.number, key) for row, key in calls.to_do(seq, "a", FIRST, 9)] == [(1, "one")]
    assert calls.to_do(seq, "a", (1, "one"), 9) == []
    assert {row.expert: (row.lines, row.done) for row in lines.groups(seq)} == {
        "a": (2, 0),
        "b": (1, 0),
    }

    assert not calls.record(seq, "me", 1, kept("one", "a"), 5.0)
    assert calls.record(seq, "me", 1, kept("two", "b"), 6.0)
    with pytest.raises(LeaseLost):
        calls.record(seq, "me", 1, kept("two", "b"), 7.0)
    assert calls.due(seq, 0, 9) == [due]
    assert calls.of(seq, 1) == {"one": kept("one", "a"), "two": kept("two", "b")}
    now = state.batches.get(batch.id)
    assert now is not None
    assert (now.completed, now.placed) == (0, 2)
    assert now.partly == pytest.approx(part(2, 2))
    assert {row.expert: (row.done, row.took_s) for row in lines.groups(seq)} == {
        "a": (1, 2.0),
        "b": (1, 2.0),
    }


@pytest.mark.parametrize("end", ["done", "handed over", "unplaced", "ended"])
def test_calls_go_with_their_line(state: BatchState, end: str) -> None:
    batch = held(state, lines=0)
    lines, calls, seq = state.lines, state.calls, batch.seq
    lines.add(seq, "me", [line(1)])
    lines.place(seq, "me", [seated(1)])
    calls.want(seq, "me", 1, [wanted("one", "a"), wanted("two", "b")])
    calls.record(seq, "me", 1, kept("one", "a"), 5.0)

    if end == "done":
        lines.record(seq, "me", outcome(1, ""), 6.0)
    elif end == "handed over":
        lines.place(seq, "me", [placed(1, "c")])
    elif end == "unplaced":
        lines.unplace(seq, "me", "new")
    else:
        state.batches.end(seq, "me", "cancelled", now=9.0)
        while lines.purge():
            pass

    assert calls.of(seq, 1) == {}
    assert calls.to_do(seq, "b", FIRST, 9) == []
    if end != "ended":
        now = state.batches.get(batch.id)
        assert now is not None
        assert now.partly == pytest.approx(0)
        assert now.placed == (end != "unplaced")
        groups = {row.expert: (row.lines, row.done) for row in lines.groups(seq)}
        more = {"c": (1, 0)} if end == "handed over" else {}
        assert groups == {"a": (1, 1), "b": (0, 0), **more}


def test_a_batch_that_ends_has_its_files_and_loses_its_lines(state: BatchState) -> None:
    batch = held(state)
    state.lines.record(batch.seq, "me", outcome(1), 5.0)
    file = File(id="file-out", filename="o", purpose="batch_output", size=2, created_at=1)
    state.files.write(file.id, [b"1\n"])

    state.batches.end(batch.seq, "me", "cancelled", now=9.0, output=file)
    while state.lines.purge():
        pass

    now = state.batches.get(batch.id)
    assert now is not None
    assert (now.status, now.cancelled_at, now.output_file_id) == ("cancelled", 9.0, "file-out")
    assert now.completed == 1
    assert state.files.get("file-out") == file
    assert list(state.lines.not_done(batch.seq)) == []
    assert list(state.lines.results(batch.seq, succeeded=True)) == []


def test_mistakes_are_kept(state: BatchState) -> None:
    state.batches.add(asked())
    batch = state.batches.claim("me", ["validating"], now=0, lease_s=1)
    assert batch is not None
    mistake = Mistake(code="empty_file", message="the file has no lines")

    state.batches.end(batch.seq, "me", "failed", now=3.0, mistakes=[mistake], total=0)

    now = state.batches.get(batch.id)
    assert now is not None
    assert now.mistakes == (mistake,)


def test_an_upload_that_breaks_off_leaves_nothing(state: BatchState, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="gone"), state.files.writing("file-x") as sink:
        sink.write(b"half")
        raise ValueError("gone")

    assert list((tmp_path / "files").iterdir()) == []


def test_a_file_in_use_is_not_deleted(state: BatchState) -> None:
    state.files.write("file-in", [b"x"])
    state.files.add(File(id="file-in", filename="i", purpose="batch", size=1, created_at=1))
    batch = held(state)

    assert state.files.delete("file-in") == batch.id
    state.batches.end(batch.seq, "me", "completed", now=1)
    assert state.files.delete("file-in") is None
    assert not state.files.path("file-in").exists()


@pytest.mark.parametrize("content", [b"not a database at all, " * 100, None])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / FILE
    if content is not None:
        path.write_bytes(content)
    else:
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE mine (x)")
        other.close()

    with pytest.raises(ArtefactError, match=FILE):
        BatchState.open(tmp_path)


def test_a_newer_file_is_refused(tmp_path: Path) -> None:
    BatchState.open(tmp_path).close()
    with sqlite3.connect(tmp_path / FILE) as newer:
        newer.execute("PRAGMA user_version = 99")
    newer.close()

    with pytest.raises(ArtefactError, match="newer version"):
        BatchState.open(tmp_path)


def test_a_file_of_the_first_version_is_brought_up_to_date(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE) as first:
        first.executescript((Path(__file__).parent / "batches-1.sql").read_text())
    first.close()

    state = BatchState.open(tmp_path)
    batch = state.batches.claim("me", ["in_progress"], now=99.0, lease_s=10)
    assert batch is not None
    assert (batch.total, batch.completed, batch.placed, batch.partly) == (3, 1, 2, 0)
    assert (batch.tenant, batch.key) == ("", "")
    assert [row.number for row in state.lines.to_do(batch.seq, "a", 0, 9)] == [2]
    state.lines.place(batch.seq, "me", [seated(3)])
    state.calls.want(batch.seq, "me", 3, [wanted("one", "b")])
    state.close()

    again = BatchState.open(tmp_path)
    assert [key for _, key in again.calls.to_do(batch.seq, "b", FIRST, 9)] == ["one"]
    again.close()


def test_a_file_that_is_too_old_is_refused(tmp_path: Path) -> None:
    BatchState.open(tmp_path).close()
    with sqlite3.connect(tmp_path / FILE) as old:
        old.execute("PRAGMA user_version = 0")
    old.close()

    with pytest.raises(ArtefactError, match=r"older version.*move the file away"):
        BatchState.open(tmp_path)


def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")

    with pytest.raises(CoEError, match=r"taken.*COE_STATE_DIR"):
        BatchState.open(tmp_path / "taken")


class TwoOwners(RuleBasedStateMachine):
    """Two processes that claim, lose and record: nothing is lost, nothing is done twice."""

    LINES = 6

    @initialize(folder=st.uuids())
    def begin(self, folder: object) -> None:
        import tempfile

        self.folder = tempfile.TemporaryDirectory(prefix=str(folder)[:8])
        self.state = BatchState.open(Path(self.folder.name))
        self.batch = held(self.state, "a", self.LINES)
        self.now = 1.0
        self.recorded: list[int] = []

    @rule(seconds=st.floats(0, 12))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(owner=st.sampled_from("ab"))
    def claim(self, owner: str) -> None:
        self.state.batches.claim(owner, ["in_progress"], now=self.now, lease_s=10)

    @rule(owner=st.sampled_from("ab"))
    def renew(self, owner: str) -> None:
        self.state.batches.renew(self.batch.seq, owner, now=self.now, lease_s=10)

    @rule(owner=st.sampled_from("ab"), number=st.integers(1, LINES))
    def record(self, owner: str, number: int) -> None:
        try:
            self.state.lines.record(self.batch.seq, owner, outcome(number), self.now)
        except LeaseLost:
            return
        self.recorded.append(number)

    @rule(owner=st.sampled_from("ab"))
    def place_anew(self, owner: str) -> None:
        lines = self.state.lines
        try:
            lines.unplace(self.batch.seq, owner, "f")
            left = lines.unplaced(self.batch.seq, self.LINES)
            lines.place(self.batch.seq, owner, [placed(row.number) for row in left])
        except LeaseLost:
            return

    @rule()
    def open_again(self) -> None:
        self.state.close()
        self.state = BatchState.open(Path(self.folder.name))

    @invariant()
    def every_line_is_done_once_or_to_be_done(self) -> None:
        lines, seq = self.state.lines, self.batch.seq
        done = [int(text) for text in lines.results(seq, succeeded=True)]
        left = [row.number for row in lines.not_done(seq)]
        assert sorted(done) == sorted(self.recorded)
        assert sorted(done + left) == list(range(1, self.LINES + 1))
        (group,) = lines.groups(seq)
        assert (group.lines, group.done) == (self.LINES, len(done))

    def teardown(self) -> None:
        self.state.close()
        self.folder.cleanup()


TwoOwners.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
test_two_owners = TwoOwners.TestCase
