import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.composition import Composition, load
from coe.composition.revisions import revision
from coe.errors import ConfigError
from coe.mapping.outcomes import Outcome
from coe.scoring.exchange import read, write

FILE = """
version: 1
backends: {up: "http://127.0.0.1:1"}
experts:
  one: {backend: up, model: one}
  two: {backend: up, model: two}
routers: {default: keyword}
categories:
  sums: {keywords: [plus], experts: [one]}
  trips: {keywords: [train], experts: [two]}
default: one
"""
ONE = Outcome(
    prompt="p1",
    expert="one",
    score=0.5,
    probabilities={"sums": 0.25, "trips": 0.5},
    category="sums",
    cost=0.001,
    latency_s=0.5,
    source="shadow",
    revision="r1",
    at=5.0,
)


@pytest.fixture(scope="module")
def composition(tmp_path_factory: pytest.TempPathFactory) -> Composition:
    file = tmp_path_factory.mktemp("composition") / "experts.yaml"
    file.write_text(FILE)
    return load(file)


outcomes = st.builds(
    Outcome,
    prompt=st.text(min_size=1).filter(str.strip),
    expert=st.sampled_from(["one", "two"]),
    score=st.floats(0, 1),
    probabilities=st.sampled_from([{}, {"sums": 0.1}, {"sums": 0.5, "trips": 0.5}]),
    category=st.sampled_from([None, "sums"]),
    cost=st.none() | st.floats(0, 1e6),
    latency_s=st.none() | st.floats(0, 1e6),
    source=st.sampled_from(["evaluation", "panel", "shadow", "feedback"]),
    revision=st.sampled_from(["a", "b"]),
    at=st.floats(0, 1e10),
)


@given(rows=st.lists(outcomes, min_size=1, max_size=5))
def test_what_is_written_as_lines_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, composition: Composition, rows: list[Outcome]
) -> None:
    file = tmp_path_factory.mktemp("lines") / "outcomes.jsonl"

    assert write(file, rows) == len(rows)
    assert read(file, composition, "evaluation") == rows


def test_a_matrix_is_read_again(tmp_path: Path, composition: Composition) -> None:
    file = tmp_path / "matrix.parquet"
    rows = [
        ONE,
        replace(ONE, expert="two", score=1.0, cost=None),
        replace(ONE, prompt="p2", category=None, probabilities={}),
    ]

    write(file, rows)

    now = {name: revision(composition, name) for name in ("one", "two")}
    known = [replace(row, revision=now[row.expert], at=0.0) for row in rows]
    assert read(file, composition, "shadow") == known


def test_what_a_line_leaves_out_is_filled_in(tmp_path: Path, composition: Composition) -> None:
    file = tmp_path / "outcomes.jsonl"
    file.write_text('{"prompt": "q7", "expert": "one", "score": 1}\n\n')

    (row,) = read(file, composition, "panel")

    assert (row.source, row.probabilities, row.cost) == ("panel", {}, None)
    assert row.revision == revision(composition, "one")


GOOD = {"prompt": "p", "expert": "one", "score": 1}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({**GOOD, "score": 1.01}, "`score`: expected a number from 0 to 1, not 1.01"),
        ({**GOOD, "score": -0.1}, "`score`: expected a number from 0 to 1, not -0.1"),
        ({**GOOD, "score": True}, "`score`: expected a number from 0 to 1, not true"),
        ({**GOOD, "score": None}, "`score`: expected a number from 0 to 1, not null"),
        ({**GOOD, "score": float("nan")}, "NaN and Infinity are no numbers there"),
        ({"prompt": "p", "expert": "one"}, "`score`: is missing"),
        ({"expert": "one", "score": 1}, "`prompt`: is missing"),
        ({**GOOD, "expert": "on"}, "`expert`: no expert `on` in the composition (did you mean"),
        ({**GOOD, "expert": ""}, "`expert`: expected the name of an expert"),
        ({**GOOD, "category": ""}, "`category`: expected the name of a category"),
        ({**GOOD, "category": "maths"}, "`category`: no category `maths`"),
        ({**GOOD, "probabilities": [1]}, "`probabilities`: expected an object"),
        ({**GOOD, "probabilities": {"maths": 1}}, "`probabilities.maths`: no such category"),
        ({**GOOD, "probabilities": {"sums": 2}}, "`probabilities.sums`: expected a number"),
        ({**GOOD, "probabilities": {"sums": 0.9, "trips": 0.9}}, "their sum is more than 1"),
        ({**GOOD, "cost": -1}, "`cost`: expected a number that is at least 0"),
        ({**GOOD, "cost": "1 USD"}, "`cost`: expected a number"),
        ({**GOOD, "source": "gossip"}, "`source`: expected one of `evaluation`"),
        ({**GOOD, "scores": 1}, "`scores`: unknown key (did you mean `score`?)"),
        ([], "expected an object"),
    ],
)
def test_a_wrong_line_names_its_place_and_key(
    tmp_path: Path, composition: Composition, row: Any, said: str
) -> None:
    file = tmp_path / "outcomes.jsonl"
    file.write_text(f"{json.dumps(GOOD)}\n{json.dumps(row)}\n")

    with pytest.raises(ConfigError) as caught:
        read(file, composition, "evaluation")

    assert caught.value.message.startswith(f"{file}:2: ")
    assert said in caught.value.message


def test_a_wrong_cell_names_its_row_and_column(tmp_path: Path, composition: Composition) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    file = tmp_path / "matrix.parquet"

    def problem(**columns: list[Any]) -> str:
        parquet.write_table(pa.table(columns), file)
        with pytest.raises(ConfigError) as caught:
            read(file, composition, "evaluation")
        return caught.value.message

    high = problem(prompt=["a", "b"], **{"score:one": [0.5, 1.5]})
    assert f"{file}: row 2, column score:one: `score`: expected a number from 0 to 1" in high
    assert "not nan" in problem(prompt=["a"], **{"score:one": [float("nan")]})
    assert "column `score:three`: no expert `three`" in problem(
        prompt=["a"], **{"score:three": [1.0]}
    )
    assert "a matrix has a column `prompt`" in problem(text=["a"])
    assert "holds no outcomes" in problem(
        prompt=["a"], **{"score:one": pa.array([None], pa.float64())}
    )


def test_a_file_that_cannot_be_read_is_said_to_be(tmp_path: Path, composition: Composition) -> None:
    for name in ("outcomes.jsonl", "matrix.parquet"):
        with pytest.raises(ConfigError, match="cannot be read"):
            read(tmp_path / name, composition, "evaluation")
    (tmp_path / "matrix.parquet").write_text("prompt,score")
    with pytest.raises(ConfigError, match="cannot be read"):
        read(tmp_path / "matrix.parquet", composition, "evaluation")


def test_a_file_that_cannot_be_written_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        write(tmp_path / "none" / "outcomes.jsonl", [ONE])
