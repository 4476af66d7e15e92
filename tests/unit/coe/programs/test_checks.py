"""What `coe check` says of prompt programs, each mistake at its place, with what to do."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from coe.composition import Composition, load
from coe.composition.edit import remove_expert, rewrite
from coe.composition.loading import check, expand
from coe.composition.programs import Cached, Recipe, Vote
from coe.composition.revisions import revision
from coe.errors import Conflict

BASE = """\
version: 1
backends: {up: "http://127.0.0.1:9/v1"}
experts:
  coder:
    backend: up
    model: m
    context: 8000
    capabilities: [chat, tools]
    cost: {input: 1 EUR/M, output: 2 EUR/M}
  lora: {base: coder, adapter: a}
  med:
    recipe: {over: coder, system: Think., examples: shots.jsonl, samples: 5, vote: choice}
  memo: {cached: {over: med, ttl: 10m, max: 5}}
  hello: {constant: "I am {model}."}
  no: {refuse: "On {date} I may not."}
  PLACE
default: coder
"""
SHOTS = """\
{"prompt": "2 + 2?", "answer": "4"}

{"messages": [{"role": "user", "content": "hi"}], "answer": "ho"}
"""
LINE = 16


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shots.jsonl").write_text(SHOTS * 2)
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "none.jsonl").write_text("\n")
    (tmp_path / "system.txt").write_text("Think first.\n")
    return tmp_path


def written(folder: Path, line: str = "") -> Path:
    path = folder / "experts.yaml"
    path.write_text(BASE.replace("  PLACE\n", f"  {line}\n" if line else ""))
    return path


def loaded(folder: Path, line: str = "") -> Composition:
    return load(written(folder, line), {})


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("x: {recipe: {over: codr, system: a}}", "there is no expert `codr`", "mean `coder`?"),
        ("x: {recipe: {over: memo, system: a}}", "3 programs stand on one another", "at most 2"),
        ("x: {cached: x}", "stands on itself: `x` -> `x`", "name a model"),
        ("x: {recipe: {over: coder}}", "changes nothing of `coder`", "`system`"),
        ("x: {recipe: {over: coder, vote: number}}", "nothing to vote on", "samples: 5"),
        ("x: {recipe: {over: coder, samples: 3}}", "how 3 samples become one", "vote: number"),
        (
            "x: {recipe: {over: coder, samples: 3, vote: text, temperature: 0}}",
            "samples are all the same",
            "0.7",
        ),
        ("x: {recipe: {over: coder, samples: 99, vote: text}}", "at most 32", ""),
        ("x: {recipe: {over: coder, vote: letters, samples: 3}}", "is not one of number", ""),
        (
            "x: {recipe: {over: coder, samples: 3, vote: {answer: choice, options: 1}}}",
            "at least 2",
            "",
        ),
        (
            "x: {recipe: {over: coder, system: a, system_file: system.txt}}",
            "in `system` already",
            "keep one",
        ),
        ("x: {recipe: {over: coder, system_file: gone}}", "gone: No such file", "create it"),
        ("x: {recipe: {over: coder, system_file: empty.txt}}", "is empty", "write the prompt"),
        ("x: {recipe: {over: coder, examples: gone}}", "gone: No such file", "remove `examples`"),
        ("x: {recipe: {over: coder, examples: none.jsonl}}", "holds no examples", '"answer"'),
        (
            "x: {recipe: {over: coder, examples: {file: shots.jsonl, encoder: smal}}}",
            "there is no encoder `smal`",
            "minilm",
        ),
        ("x: {recipe: {over: coder, sistem: a}}", "unknown key `sistem`", "mean `system`?"),
        ("x: {recipe: {over: coder, system: a}, constant: b}", "`recipe` already", "keep one"),
        ("x: {constant: b, backend: up}", "`backend` is for models", "remove it"),
        ("x: {constant: b, kind: llm}", "`kind` is for models", "remove it"),
        ("x: {kind: program}", "nothing says which program", "`recipe`"),
        ("x: {constant: 'I am {modl}'}", "no field `{modl}`", "did you mean `model`?"),
        ("x: {cached: {over: coder, max: 0}}", "must be at least 1", ""),
        ("x: {base: hello, adapter: a}", "`hello` is a prompt program", "whole model"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_remedy(
    folder: Path, line: str, message: str, hint: str
) -> None:
    problems = [row for row in check(written(folder, line), {}) if row.severity == "error"]

    assert [row for row in problems if message in row.message and hint in row.hint], problems
    assert {(row.line, Path(row.file).name) for row in problems} == {(LINE, "experts.yaml")}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "not JSON"),
        ("[]", "an example is an object"),
        ('{"prompt": "a"}', "`answer` is missing"),
        ('{"prompt": "a", "answer": 4}', "`answer` is no text"),
        ('{"prompt": " ", "answer": "b"}', "`prompt` is no text"),
        ('{"answer": "b"}', "either a `prompt` or `messages`"),
        ('{"prompt": "a", "messages": [], "answer": "b"}', "either a `prompt` or `messages`"),
        ('{"messages": [], "answer": "b"}', "no list of messages"),
        ('{"messages": [{"role": "system", "content": "a"}], "answer": "b"}', "neither the user's"),
        ('{"messages": [{"role": "user", "content": 4}], "answer": "b"}', "content` is no text"),
        ('{"messages": [{"role": "assistant", "content": "a"}], "answer": "b"}', "do not end"),
        ('{"promt": "a", "answer": "b"}', "unknown key `promt`"),
    ],
)
def test_a_bad_example_is_told_with_its_line(folder: Path, row: str, message: str) -> None:
    (folder / "bad.jsonl").write_text(f"{SHOTS}{row}\n")
    path = written(folder, "x: {recipe: {over: coder, examples: bad.jsonl}}")

    (problem,) = [row for row in check(path, {}) if row.severity == "error"]

    assert message in problem.message
    assert (Path(problem.file).name, problem.line) == ("bad.jsonl", 4)
    assert problem.path == "experts.x.recipe.examples.file"


def test_only_the_first_bad_examples_are_told_one_by_one(folder: Path) -> None:
    (folder / "bad.jsonl").write_text("{\n" * 25)
    path = written(folder, "x: {recipe: {over: coder, examples: bad.jsonl}}")

    problems = [row for row in check(path, {}) if row.severity == "error"]

    assert len(problems) == 11
    assert "15 more rows" in str(problems)


@pytest.mark.parametrize(
    ("content", "message"), [(b"\xff", "not UTF-8"), (b"x" * 51, "larger than 50 bytes")]
)
def test_a_file_that_is_no_text_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, message: str
) -> None:
    monkeypatch.setattr("coe.composition.check_programs.MAX_BYTES", 50)
    (folder / "system.txt").write_bytes(content)
    path = written(folder, "x: {recipe: {over: lora, system_file: system.txt}}")

    assert [row for row in check(path, {}) if message in row.message]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("program: http://127.0.0.1:9", "that of the backend of prompt programs"),
        ("other: {type: program}", "run on the backend `program`"),
    ],
)
def test_the_backend_of_programs_is_there_by_itself(folder: Path, entry: str, message: str) -> None:
    path = written(folder)
    path.write_text(path.read_text().replace("backends: {", f"backends: {{{entry}, "))

    (problem,) = [row for row in check(path, {}) if row.severity == "error"]

    assert message in problem.message
    assert problem.line == 2


def test_a_program_inherits_what_it_stands_on(folder: Path) -> None:
    experts = loaded(folder).experts

    for name in ("med", "memo"):
        program, coder = experts[name], experts["coder"]
        assert program.kind == "program"
        assert (program.backend, program.model) == ("program", name)
        assert (program.context, program.capabilities, program.cost) == (
            coder.context, coder.capabilities, coder.cost,
        )  # fmt: skip
        assert program.calls == 5
    assert experts["med"].added > len("Think.2 + 2?4hiho")
    assert isinstance(experts["memo"].program, Cached)
    assert experts["memo"].program.ttl_s == 600.0
    free = experts["hello"]
    assert (free.calls, free.added, free.capabilities) == (0, 0, None)
    assert free.cost is not None
    assert (free.cost.input, free.cost.output, free.cost.currency) == (0.0, 0.0, "EUR")


def test_the_root_of_a_program_is_the_model_under_it(folder: Path) -> None:
    composition = loaded(folder)

    roots = {name: composition.root(name).name for name in composition.experts}

    assert roots == {
        "coder": "coder", "lora": "lora", "med": "coder", "memo": "coder", "hello": "hello",
        "no": "no",
    }  # fmt: skip


def test_samples_differ_unless_the_file_says_how(folder: Path) -> None:
    line = "x: {recipe: {over: coder, samples: 3, vote: text, temperature: 0.2}}"
    experts = loaded(folder, line).experts

    found = [experts[name].program for name in ("med", "x")]

    assert [program.temperature for program in found if isinstance(program, Recipe)] == [0.7, 0.2]


def test_a_vote_may_be_on_a_part_of_the_answer(folder: Path) -> None:
    line = "x: {recipe: {over: coder, samples: 3, vote: {answer: number, after: '='}}}"
    experts = loaded(folder, line).experts

    found = [experts[name].program for name in ("med", "x")]

    assert [program.vote for program in found if isinstance(program, Recipe)] == [
        Vote(answer="choice"),
        Vote(answer="number", after="="),
    ]


def test_fewer_examples_than_are_shown_is_doubtful(folder: Path) -> None:
    line = "x: {recipe: {over: coder, examples: {file: shots.jsonl, nearest: 9}}}"

    problems = [row for row in check(written(folder, line), {}) if row.path.endswith("nearest")]

    assert [(row.severity, row.line) for row in problems] == [("warning", LINE)]


def test_the_canonical_form_says_the_same(folder: Path) -> None:
    first = loaded(folder)
    again = folder / "again.yaml"
    again.write_text(expand(first))

    second = load(again, {})

    assert (second.fingerprint, second.experts) == (first.fingerprint, first.experts)
    assert expand(second) == expand(first)


@pytest.mark.parametrize(("file", "text"), [("shots.jsonl", SHOTS), ("system.txt", "Think twice.")])
def test_the_files_of_a_recipe_are_part_of_its_meaning(folder: Path, file: str, text: str) -> None:
    line = "x: {recipe: {over: coder, examples: shots.jsonl, system_file: system.txt}}"
    before = loaded(folder, line)

    (folder / file).write_text(text)
    after = loaded(folder, line)

    assert after.fingerprint != before.fingerprint
    assert revision(after, "x") != revision(before, "x")
    assert revision(after, "coder") == revision(before, "coder")


def test_a_program_answers_differently_when_what_it_stands_on_does(folder: Path) -> None:
    before = loaded(folder)
    coder = replace(before.experts["coder"], defaults={"temperature": 0.2})
    after = replace(before, experts={**before.experts, "coder": coder})

    changed = {n for n in before.experts if revision(before, n) != revision(after, n)}

    assert changed == {"coder", "med", "memo"}


def test_constants_and_refusals_are_not_the_same(folder: Path) -> None:
    composition = loaded(folder, "x: {refuse: 'I am {model}.'}")

    assert revision(composition, "x") != revision(composition, "hello")


def test_an_expert_that_a_program_stands_on_is_not_removed(folder: Path) -> None:
    with pytest.raises(Conflict, match="`memo` stands on it"):
        rewrite(written(folder), partial(remove_expert, name="med"), {})
