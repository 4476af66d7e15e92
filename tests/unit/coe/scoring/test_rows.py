import json
from pathlib import Path
from typing import Any

import pytest

from coe.errors import ConfigError
from coe.scoring.checks import Exact, Json, Judge
from coe.scoring.rows import Row, few_of_each, read_rows


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "prompts.jsonl"


def read(file: Path, *rows: Any, judge: str = "") -> tuple[Row, ...]:
    file.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return read_rows(file, categories=["sql", "json"], experts=["big"], judge=judge)


def problem(file: Path, *rows: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        read(file, *rows)
    return caught.value.message


def test_a_prompt_and_its_answer_are_a_row(file: Path) -> None:
    (row,) = read(file, {"prompt": "Hi", "answer": "Hello", "category": "sql", "id": "7"})

    assert row.request == {"messages": [{"role": "user", "content": "Hi"}]}
    assert row.check == Exact(answers=("Hello",))
    assert (row.category, row.id, row.place) == ("sql", "7", f"{file}:1")


def test_messages_and_further_fields_are_sent(file: Path) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]

    (row,) = read(file, {"messages": messages, "answer": "Yo", "body": {"max_tokens": 5}})

    assert row.request == {"messages": messages, "max_tokens": 5}


def test_the_answer_may_stand_beside_the_check(file: Path) -> None:
    beside, within, parsed = read(
        file,
        {"prompt": "1", "answer": "a", "check": {"type": "exact", "case": True}},
        {"prompt": "2", "check": {"type": "exact", "case": True, "answer": "a"}},
        {"prompt": "3", "answer": '{"a": 1}', "check": {"type": "json"}},
    )

    assert beside.check == within.check
    assert parsed.check == Json(answer={"a": 1})


def test_the_same_prompt_with_the_same_check_is_one_row(file: Path) -> None:
    rows = read(
        file,
        {"prompt": "Hi", "answer": "Hello", "category": "sql"},
        "",
        {"messages": [{"role": "user", "content": "Hi"}], "answer": "Hello"},
        {"prompt": "Hi", "answer": "Hello!"},
    )

    assert [row.place[-1] for row in rows] == ["1", "4"]


def test_a_judge_may_be_named_for_the_whole_file(file: Path) -> None:
    row = {"prompt": "Hi", "check": {"type": "judge", "answer": "Hello"}}

    (given,) = read(file, row, judge="big")
    (named,) = read(file, {**row, "check": {**row["check"], "expert": "big"}})  # type: ignore[dict-item]

    assert given.check == Judge(answer="Hello", expert="big")
    assert given.digest == named.digest


def test_the_first_rows_of_each_category_are_taken(file: Path) -> None:
    names = ["sql", "sql", None, "json", "sql", None, None]
    rows = [
        {"prompt": str(number), "answer": "a", "category": name}
        for number, name in enumerate(names)
    ]

    taken = few_of_each(read(file, *rows), 2)

    assert [row.messages[0]["content"] for row in taken] == ["0", "1", "2", "3", "5"]


GOOD = {"prompt": "Hi", "answer": "Hello"}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{", ":2: not JSON"),
        ('{"prompt": "a", "answer": NaN}', ":2: not JSON"),
        ("[]", ":2: expected an object, not []"),
        ({"answer": "a"}, ":2: `prompt`: expected either `prompt`"),
        ({**GOOD, "messages": []}, ":2: `prompt`: expected either `prompt`"),
        ({**GOOD, "prompt": 3}, ":2: `prompt`: expected a text, not 3"),
        ({"messages": "Hi", "answer": "a"}, ":2: `messages`: expected a list"),
        (
            {"messages": [{"role": "robot"}], "answer": "a"},
            ":2: `messages[0].role`: expected one of",
        ),
        (
            {"messages": [{"role": "user", "content": ["Hi"]}], "answer": "a"},
            ":2: `messages[0].content`: expected",
        ),
        (
            {"messages": [{"role": "user", "content": 3}], "answer": "a"},
            ":2: `messages[0].content`: expected",
        ),
        ({"prompt": "a"}, ":2: `answer`: expected `answer` (a text), or `check`"),
        ({"prompt": "a", "answer": ""}, ":2: `answer`: expected a text"),
        ({**GOOD, "check": {"type": "exact", "answer": "a"}}, ":2: `answer`: stands in `check`"),
        ({**GOOD, "check": {"type": "json"}}, ":2: `answer`: not JSON"),
        ({"prompt": "a", "check": "b"}, ":2: `check`: expected an object"),
        ({"prompt": "a", "check": {"type": "regex"}}, ":2: `check.pattern`: is missing"),
        ({**GOOD, "category": "sq"}, ":2: `category`: no category `sq`"),
        ({**GOOD, "category": ""}, ":2: `category`: expected the name of a category, or null"),
        ({**GOOD, "categroy": "sql"}, ":2: `categroy`: unknown key (did you mean `category`?)"),
        ({**GOOD, "body": []}, ":2: `body`: expected an object"),
        ({**GOOD, "body": {"stream": True}}, ":2: `body.stream`: cannot be set here"),
        ({"prompt": "a", "check": {"type": "judge", "answer": "b"}}, ":2: `check.expert`: names"),
        (
            {"prompt": "a", "check": {"type": "judge", "answer": "b", "expert": "bigg"}},
            ":2: `check.expert`: no expert `bigg` in the composition (did you mean `big`?)",
        ),
        ({"prompt": "b", "answer": "b", "id": "one"}, ":2: `id`: `one` is the id of"),
    ],
)
def test_a_wrong_row_names_its_line_key_and_what_was_expected(
    file: Path, row: Any, said: str
) -> None:
    assert f"{file}{said}" in problem(file, {**GOOD, "id": "one"}, row)


def test_every_wrong_row_is_named_at_once_but_not_without_end(file: Path) -> None:
    lines = problem(file, *["{"] * 30).splitlines()

    assert len(lines) == 11
    assert lines[-1] == "and 20 more rows"


def test_a_file_without_prompts_is_refused(file: Path) -> None:
    assert problem(file, "", "  ") == f"{file}: holds no prompts"


def test_a_file_that_is_not_there_is_refused(file: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_rows(file, categories=[], experts=[])
