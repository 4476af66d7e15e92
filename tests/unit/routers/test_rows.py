from __future__ import annotations

from pathlib import Path

import pytest

from coe.errors import ConfigError
from routers.rows import Row, read_rows

CATEGORIES = ("code", "trips")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "set.jsonl"


def test_rows_are_read_in_order_and_other_keys_are_ignored(file: Path) -> None:
    file.write_text(
        '\ufeff{"text": "fix it", "category": "code", "id": 7}\n\n'
        '{"text": "", "category": null}\r\n{"text": "a\u2028b", "category": "trips"}',
        encoding="utf-8",
    )

    found = read_rows(file, CATEGORIES)

    assert found.rows == (Row("fix it", "code"), Row("", None), Row("a\u2028b", "trips"))
    assert len(found.digest) == 16


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", ":2:2: is not JSON"),
        ('["a"]', ':2: expected an object, found ["a"]'),
        ('{"text": "a"}', ":2: `category` is missing"),
        ('{"txt": "a", "category": null}', ":2: `text` is missing (did you mean 'txt'?"),
        ('{"text": 3, "category": null}', ":2: `text` must be a text, found 3"),
        ('{"text": "a", "category": 3}', ":2: `category` must be a name, or null"),
        ('{"text": "a", "category": "cod"}', "has no category 'cod' (did you mean 'code'?"),
    ],
)
def test_a_broken_row_is_refused_with_its_place_and_the_fix(
    file: Path, line: str, said: str
) -> None:
    file.write_text('{"text": "fine", "category": "code"}\n' + line + "\n")

    with pytest.raises(ConfigError) as caught:
        read_rows(file, CATEGORIES)

    assert str(caught.value).startswith(f"{file}:2")
    assert said in str(caught.value)


def test_a_file_that_holds_nothing_is_refused(file: Path) -> None:
    file.write_text("\n \n")
    with pytest.raises(ConfigError, match="holds no row"):
        read_rows(file, CATEGORIES)

    file.write_bytes(b'{"text": "a", "category": null}\n{"text": "\xff", "category": null}')
    with pytest.raises(ConfigError, match=":2: is not UTF-8"):
        read_rows(file, CATEGORIES)

    with pytest.raises(ConfigError, match="cannot be read"):
        read_rows(file.with_name("gone"), CATEGORIES)
