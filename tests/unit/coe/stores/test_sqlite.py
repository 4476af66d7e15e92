from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from coe.errors import ArtefactError
from coe.stores.batches import FORMAT
from coe.stores.decisions import DecisionStore
from coe.stores.drafts import DraftStore
from coe.stores.outcomes import OutcomeStore
from coe.stores.sqlite import Database, Format

FORMATS = {
    form.what: form for form in (FORMAT, DecisionStore.form, DraftStore.form, OutcomeStore.form)
}
NUMBERS = Format(
    what="numbers", mark=1, version=1, tables=("CREATE TABLE numbers (id INTEGER PRIMARY KEY)",)
)


@pytest.mark.parametrize(("written", "read"), list(permutations(FORMATS, 2)))
def test_a_file_of_one_store_is_not_taken_for_that_of_another(
    written: str, read: str, tmp_path: Path
) -> None:
    path = tmp_path / "kept.sqlite"
    Database.open(path, FORMATS[written]).close()

    with pytest.raises(ArtefactError, match=f"not one of {read}"):
        Database.open(path, FORMATS[read])


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 2000])
def test_all_rows_are_gone_through_once_however_many_pages_they_fill(
    count: int, tmp_path: Path
) -> None:
    database = Database.open(tmp_path / "numbers.sqlite", NUMBERS)
    with database.writing() as connection:
        connection.executemany("INSERT INTO numbers VALUES (?)", ((1 + n,) for n in range(count)))

    found = database.paged("SELECT id FROM numbers WHERE id > ? ORDER BY id LIMIT ?", key="id")

    assert [row["id"] for row in found] == list(range(1, count + 1))
    database.close()
