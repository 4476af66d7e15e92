from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from coe.errors import RouterUnavailable
from coe.protocols import RouterSpec
from coe.testing.routers import GivenParts, check_encoder
from coe.types import Category
from routers import store as module
from routers.embedding import build
from routers.encoders.hashed import HashedEncoder
from routers.store import FILE, EmbeddingStore, StoredEncoder, stored

TEXTS = [f"utterance number {n}" for n in range(40)]


class Counting:
    """Notes every text that it encodes; `turn` makes other weights under the same fingerprint."""

    name, dim, fingerprint = "counting", 64, HashedEncoder(name="h", dim=64).fingerprint

    def __init__(self, *, turn: int = 0, fails_after: int = 10**9) -> None:
        self.asked: list[str] = []
        self._inner = HashedEncoder(name="h", dim=64)
        self._turn = turn
        self._fails_after = fails_after

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if len(self.asked) + len(texts) > self._fails_after:
            raise RouterUnavailable("no answer")
        self.asked += texts
        return np.roll(self._inner.encode(texts), self._turn, axis=1)


def restarted(folder: Path, **options: int) -> tuple[StoredEncoder, Counting]:
    inner = Counting(**options)
    return StoredEncoder(inner, EmbeddingStore(folder)), inner


def expected() -> NDArray[np.float32]:
    return HashedEncoder(name="h", dim=64).encode(TEXTS)


def test_a_store_keeps_the_contract_of_an_encoder(tmp_path: Path) -> None:
    check_encoder(lambda: StoredEncoder(HashedEncoder(name="h", dim=64), EmbeddingStore(tmp_path)))


def test_a_restart_encodes_one_text_to_see_that_the_rest_is_true(tmp_path: Path) -> None:
    restarted(tmp_path)[0].encode(TEXTS)

    encoder, inner = restarted(tmp_path)

    assert (encoder.encode(TEXTS) == expected()).all()
    assert len(inner.asked) == 1


def test_one_change_encodes_one_text_more(tmp_path: Path) -> None:
    restarted(tmp_path)[0].encode(TEXTS)
    encoder, inner = restarted(tmp_path)
    encoder.encode(TEXTS[:1])
    inner.asked.clear()

    encoder.encode([*TEXTS[:7], "another wording", *TEXTS[8:]])

    assert inner.asked == ["another wording"]


def test_a_router_reads_its_utterances_and_near_misses_from_the_store(tmp_path: Path) -> None:
    categories = (
        Category(name="a", utterances=tuple(TEXTS[:12]), negatives=("not this",)),
        Category(name="b", utterances=tuple(TEXTS[12:])),
    )
    spec = RouterSpec(
        name="fast",
        type="embedding",
        options={"encoder": "small"},
        categories=categories,
        cache_folder=str(tmp_path),
    )
    first, second = Counting(), Counting()

    routers = [build(spec, GivenParts(encoders={"small": inner})) for inner in (first, second)]

    assert len(first.asked) == len(TEXTS) + 1
    assert len(second.asked) == 1
    assert (routers[0].score(["one more"]).values == routers[1].score(["one more"]).values).all()
    kept = len(second.asked)
    routers[1].score(["a prompt of someone"])
    assert second.asked[kept:] == ["a prompt of someone"]
    assert rows(tmp_path) == len(TEXTS) + 1  # no prompt is ever kept


def test_encoders_do_not_read_one_another_s_vectors(tmp_path: Path) -> None:
    restarted(tmp_path)[0].encode(TEXTS)
    other = HashedEncoder(name="other", dim=32)

    vectors = StoredEncoder(other, EmbeddingStore(tmp_path)).encode(TEXTS)

    assert (vectors == other.encode(TEXTS)).all()
    assert rows(tmp_path) == 2 * len(TEXTS)


def test_an_encoder_that_changed_behind_its_fingerprint_is_found_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    restarted(tmp_path)[0].encode(TEXTS)

    encoder, inner = restarted(tmp_path, turn=1)
    vectors = encoder.encode(TEXTS)

    assert (vectors == np.roll(expected(), 1, axis=1)).all()
    assert len(inner.asked) == 1 + len(TEXTS)
    assert "are not those that it makes now" in caplog.text


@pytest.mark.parametrize(
    "content", [b"", b"\x00" * 5000, b"not a database, but long enough " * 300]
)
def test_a_file_that_is_no_database_is_begun_anew(
    content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_bytes(content)

    assert (restarted(tmp_path)[0].encode(TEXTS) == expected()).all()
    assert rows(tmp_path) == len(TEXTS)
    if content:
        assert "is set aside as embeddings.set-aside-1 and begun anew" in caplog.text
        assert (tmp_path / "embeddings.set-aside-1").read_bytes() == content


def test_a_database_of_something_else_is_kept_aside_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(sqlite3.connect(tmp_path / FILE)) as foreign, foreign:
        foreign.execute("CREATE TABLE letters (body TEXT)")
        foreign.execute("INSERT INTO letters VALUES ('dear')")

    restarted(tmp_path)[0].encode(TEXTS)

    assert "is a database of something else" in caplog.text
    with closing(sqlite3.connect(tmp_path / "embeddings.set-aside-1")) as foreign:
        assert foreign.execute("SELECT body FROM letters").fetchall() == [("dear",)]
    assert rows(tmp_path) == len(TEXTS)


def test_damaged_pages_are_noticed(tmp_path: Path) -> None:
    restarted(tmp_path)[0].encode(TEXTS)
    file = tmp_path / FILE
    whole = bytearray(file.read_bytes())
    whole[4096:] = b"\x5a" * (len(whole) - 4096)
    file.write_bytes(whole)

    encoder, inner = restarted(tmp_path)

    assert (encoder.encode(TEXTS) == expected()).all()
    assert sorted(inner.asked) == sorted(TEXTS)
    assert rows(tmp_path) == len(TEXTS)


@pytest.mark.parametrize("vector", [b"short", b"\x00\x00\xc0\x7f" * 64])
def test_a_damaged_row_is_encoded_again(vector: bytes, tmp_path: Path) -> None:
    restarted(tmp_path)[0].encode(TEXTS)
    with closing(sqlite3.connect(tmp_path / FILE)) as connection, connection:
        connection.execute("UPDATE embeddings SET vector = ? WHERE id = 17", (vector,))

    encoder, inner = restarted(tmp_path)

    assert (encoder.encode(TEXTS) == expected()).all()
    assert len(inner.asked) == 2  # the one that is compared, and the damaged one
    assert restarted(tmp_path)[0].encode(TEXTS).tolist() == expected().tolist()


def test_what_was_done_before_an_interruption_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TEXTS_PER_SAVE", 10)
    interrupted, _ = restarted(tmp_path, fails_after=30)

    with pytest.raises(RouterUnavailable):
        interrupted.encode(TEXTS)

    encoder, inner = restarted(tmp_path)
    assert (encoder.encode(TEXTS) == expected()).all()
    assert len(inner.asked) == 1 + 10


def test_a_folder_that_cannot_be_written_costs_only_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    encoder, _ = restarted(tmp_path / "file")

    assert (encoder.encode(TEXTS) == expected()).all()
    assert "is not used" in caplog.text


def test_a_store_that_another_process_holds_costs_only_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAIT_S", 0.01)
    restarted(tmp_path)[0].encode(TEXTS[:1])
    with closing(sqlite3.connect(tmp_path / FILE)) as other:
        other.execute("BEGIN EXCLUSIVE")

        assert (restarted(tmp_path)[0].encode(TEXTS) == expected()).all()

    assert "database is locked" in caplog.text
    assert not list(tmp_path.glob("*.set-aside-*"))


def test_two_processes_may_begin_and_fill_the_same_store(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from routers.encoders.hashed import HashedEncoder\n"
        "from routers.store import EmbeddingStore, StoredEncoder\n"
        "store = EmbeddingStore(Path(sys.argv[1]))\n"
        "encoder = StoredEncoder(HashedEncoder(name='h', dim=64), store)\n"
        "for n in range(40): encoder.encode([f'utterance number {n}'])\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]

    errors = [process.communicate()[1] for process in both]

    assert errors == ["", ""]
    assert rows(tmp_path) == len(TEXTS)
    encoder, inner = restarted(tmp_path)
    assert (encoder.encode(TEXTS) == expected()).all()
    assert len(inner.asked) == 1


def test_the_oldest_vectors_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_VECTORS", 25)
    restarted(tmp_path)[0].encode(TEXTS[:20])

    restarted(tmp_path)[0].encode(TEXTS[20:])

    assert rows(tmp_path) == 25
    encoder, inner = restarted(tmp_path)
    encoder.encode(TEXTS[:20])
    assert TEXTS[0] in inner.asked


def test_there_is_no_store_without_a_folder_or_where_it_saves_nothing(tmp_path: Path) -> None:
    slow, fast = Counting(), HashedEncoder(name="h")

    assert stored(slow, "") is slow
    assert stored(fast, str(tmp_path)) is fast
    assert isinstance(stored(slow, str(tmp_path)), StoredEncoder)


@pytest.fixture(autouse=True)
def warnings_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)


def rows(folder: Path) -> int:
    with closing(sqlite3.connect(folder / FILE)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM embeddings").fetchone()
    return int(count)
