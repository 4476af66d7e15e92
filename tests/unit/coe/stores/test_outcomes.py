import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.errors import ArtefactError, CoEError
from coe.mapping.outcomes import Outcome
from coe.stores.outcomes import OutcomeStore, Prompt

ONE = Outcome(
    prompt="p1",
    expert="sql",
    score=0.5,
    probabilities={"sql": 0.9, "json": 0.05},
    category="sql",
    cost=0.002,
    latency_s=0.25,
    source="evaluation",
    revision="r1",
    at=1000.0,
)

# Adds outcomes for ever, and says after each how many are in: argv[1] is the file, argv[2] a name.
WRITER = """
import sys
from pathlib import Path
from coe.mapping.outcomes import Outcome
from coe.stores.outcomes import OutcomeStore

with OutcomeStore.open(Path(sys.argv[1])) as store:
    for number in range(int(sys.argv[3])):
        store.add([Outcome(prompt=f"p{number}", expert=sys.argv[2], score=1.0, category="c")])
        print(number, flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "outcomes.sqlite"


def write_all(path: Path, *outcomes: Outcome) -> None:
    with OutcomeStore.open(path) as store:
        store.add(outcomes)


def read_all(path: Path) -> list[Outcome]:
    with OutcomeStore.open(path) as store:
        return list(store.read())


def test_an_outcome_is_read_as_it_was_added(path: Path) -> None:
    bare = Outcome(prompt="p2", expert="json", score=1.0)

    write_all(path, ONE, bare)

    assert read_all(path) == [ONE, bare]


@given(
    score=st.floats(0, 1),
    cost=st.none() | st.floats(0, 1e6),
    latency_s=st.none() | st.floats(0, 1e6),
    text=st.text(min_size=1).filter(lambda text: "\0" not in text),
    shares=st.dictionaries(st.text(), st.floats(1e-9, 1), max_size=4),
)
def test_any_outcome_survives(
    tmp_path_factory: pytest.TempPathFactory,
    score: float,
    cost: float | None,
    latency_s: float | None,
    text: str,
    shares: dict[str, float],
) -> None:
    row = Outcome(
        prompt=text,
        expert=text,
        score=score,
        cost=cost,
        latency_s=latency_s,
        probabilities=shares,
    )
    path = tmp_path_factory.mktemp("outcomes") / "outcomes.sqlite"

    write_all(path, row)

    assert read_all(path) == [row]


def test_the_same_outcome_twice_is_one_and_the_later_one_counts(path: Path) -> None:
    write_all(path, ONE, replace(ONE, prompt="p0"), replace(ONE, score=1.0, at=2000.0))

    assert [(row.prompt, row.score) for row in read_all(path)] == [("p1", 1.0), ("p0", 0.5)]


def test_another_revision_or_source_is_another_outcome(path: Path) -> None:
    write_all(path, ONE, replace(ONE, revision="r2"), replace(ONE, source="shadow"))

    assert len(read_all(path)) == 3


def test_what_an_outcome_does_not_say_of_its_prompt_stays(path: Path) -> None:
    with OutcomeStore.open(path) as store:
        store.add([ONE], router="minilm:1")
        store.add([Outcome(prompt="p1", expert="json", score=0.0)])

        (prompt,) = store.prompts()

    assert prompt.category == "sql"
    assert prompt.probabilities == ONE.probabilities
    assert prompt.router == "minilm:1"


def test_probabilities_of_another_router_replace_the_earlier_ones(path: Path) -> None:
    with OutcomeStore.open(path) as store:
        store.add([ONE], router="minilm:1")
        store.note([Prompt(digest="p1", probabilities={"sql": 0.4}, router="minilm:2")])

        (outcome,) = store.read()
        (prompt,) = store.prompts(["p1"])

    assert outcome.probabilities == {"sql": 0.4}
    assert prompt.router == "minilm:2"


def test_a_prompt_of_no_category_was_routed_all_the_same(path: Path) -> None:
    write_all(path, replace(ONE, probabilities={"sql": 0.0, "json": 0.0}))

    (outcome,) = read_all(path)

    assert outcome.probabilities == {"sql": 0.0, "json": 0.0}


def test_a_text_is_kept_only_where_it_is_noted(path: Path) -> None:
    body = {"messages": [{"role": "user", "content": "Wie heißt das?"}]}

    with OutcomeStore.open(path) as store:
        store.add([ONE, replace(ONE, prompt="p2")])
        store.note([Prompt(digest="p2", body=body)])

        kept = {prompt.digest: prompt.body for prompt in store.prompts()}

    assert kept == {"p1": None, "p2": body}


def test_more_prompts_than_sqlite_takes_parameters_are_found(path: Path) -> None:
    names = [f"p{number}" for number in range(2500)]

    with OutcomeStore.open(path) as store:
        store.note(Prompt(digest=name, category="c") for name in names)

        found = {prompt.digest for prompt in store.prompts(iter(names))}

    assert found == set(names)


def test_outcomes_are_narrowed_by_expert_source_revision_and_time(path: Path) -> None:
    write_all(
        path,
        ONE,
        replace(ONE, expert="json", at=3000.0),
        replace(ONE, revision="r2"),
        replace(ONE, source="panel", prompt="p2"),
    )

    with OutcomeStore.open(path) as store:
        assert [row.expert for row in store.read(experts=["json"])] == ["json"]
        assert [row.prompt for row in store.read(sources=["panel"])] == ["p2"]
        assert [row.expert for row in store.read(since=2000.0)] == ["json"]
        assert {row.revision for row in store.read(revisions={"sql": "r2"})} == {"r1", "r2"}
        assert [row.revision for row in store.read(experts=["sql"], revisions={"sql": "r2"})] == [
            "r2"
        ]
        assert list(store.read(experts=[])) == []


def test_outcomes_are_read_as_a_matrix(path: Path) -> None:
    write_all(path, ONE, replace(ONE, expert="json", score=0.25), replace(ONE, prompt="p2"))

    with OutcomeStore.open(path) as store:
        matrix = store.matrix(experts=["sql", "json"], categories=["json", "sql"])

    assert matrix.prompts == ("p1", "p2")
    np.testing.assert_allclose(matrix.scores, [[0.5, 0.25], [0.5, np.nan]])
    np.testing.assert_allclose(matrix.probabilities, [[0.05, 0.9], [0.05, 0.9]])


def test_what_is_there_is_counted(path: Path) -> None:
    write_all(path, ONE, replace(ONE, prompt="p2", score=1.0, cost=None, at=1500.0))

    with OutcomeStore.open(path) as store:
        assert store.counts() == (("sql", "r1", "evaluation", 2, 0.75, 0.002, 1500.0),)
        assert store.done("sql", "r1", "evaluation") == {"p1", "p2"}
        assert store.done("sql", "r2", "evaluation") == frozenset()


def test_a_row_that_fails_undoes_the_rows_with_it(path: Path) -> None:
    with OutcomeStore.open(path) as store:
        with pytest.raises(TypeError):
            store.add([ONE, replace(ONE, probabilities={"sql": object()})])  # type: ignore[dict-item]

        assert list(store.read()) == []
        store.add([ONE])


def start_writer(path: Path, expert: str, rows: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), expert, str(rows)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_write_at_once_from_the_first_moment_on(path: Path) -> None:
    writers = [start_writer(path, name, 200) for name in ("a", "b")]

    ends = [writer.communicate()[0].split()[-1:] for writer in writers]

    assert ends == [["199"], ["199"]]
    with OutcomeStore.open(path) as store:
        assert [(row.expert, row.outcomes) for row in store.counts()] == [("a", 200), ("b", 200)]


def test_nothing_that_was_added_is_lost_on_kill_9(path: Path) -> None:
    writer = start_writer(path, "a", 10**9)
    assert writer.stdout is not None
    said = [int(writer.stdout.readline()) for _ in range(50)]

    os.kill(writer.pid, signal.SIGKILL)
    said += [int(line) for line in writer.communicate()[0].splitlines() if line]

    kept = len(read_all(path))
    assert kept - len(said) in {0, 1}  # the last one may be in and unsaid


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("prompt,expert,score\n" * 100)

    with pytest.raises(ArtefactError, match=r"outcomes\.sqlite: not a database, or damaged"):
        OutcomeStore.open(path)


def test_a_database_of_another_program_is_refused_and_left_as_it_is(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as foreign:
        foreign.execute("CREATE TABLE bookmarks (url TEXT)")
    before = path.read_bytes()

    with pytest.raises(ArtefactError, match="not one of outcomes"):
        OutcomeStore.open(path)

    assert path.read_bytes() == before


def test_a_file_of_a_newer_version_is_refused(path: Path) -> None:
    write_all(path, ONE)
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version = 9")

    with pytest.raises(ArtefactError, match=r"newer version of CoE \(format 9; this one reads 1\)"):
        OutcomeStore.open(path)


def test_a_damaged_file_is_said_to_be(path: Path) -> None:
    write_all(path, *(replace(ONE, prompt=f"p{number}") for number in range(500)))
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\x5a" * (size - 4096))

    with pytest.raises(ArtefactError, match="damaged"):
        read_all(path)


def test_probabilities_that_cannot_be_read_name_the_prompt(path: Path) -> None:
    write_all(path, ONE)
    with closing(sqlite3.connect(path)) as other:
        other.execute("UPDATE prompts SET probabilities = '{\"sql\": '")
        other.commit()

    with pytest.raises(ArtefactError, match="prompt p1 cannot be read"):
        read_all(path)


def test_a_folder_in_the_files_place_is_said_to_be(path: Path) -> None:
    path.mkdir(parents=True)

    with pytest.raises(CoEError, match="unable to open database file"):
        OutcomeStore.open(path)


def test_a_file_in_the_folders_place_is_said_to_be(path: Path) -> None:
    path.parent.write_text("")

    with pytest.raises(CoEError, match=r"File exists|Not a directory"):
        OutcomeStore.open(path)
