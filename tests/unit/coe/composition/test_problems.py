"""How problems are told: all at once, once each, in the file where they stand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from coe.composition import check, load
from coe.errors import CompositionError, Problem

Write = Callable[[str], Path]

BASE = """\
version: 1
backends:
  here: {url: http://127.0.0.1:8000, memory: 10GiB, reserve: 1GiB}
  engine: local
experts:
  general: here/small
  coder: {backend: here, model: coder}
categories:
  code:
    utterances: [c1, c2, c3, c4, c5]
    experts: [coder]
  law:
    utterances: [l1, l2, l3, l4, l5]
    experts: [general]
default: general
"""


CODER = "{backend: here, model: coder}"


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("memory: 10GiB", "memory: 10", "backends.here.memory"),
        (CODER, "{base: 4, adapter: x}", "experts.coder.base"),
        (CODER, "{base: general, adapter: 4}", "experts.coder.adapter"),
        (CODER, "{kind: lara, base: general, adapter: x}", "experts.coder.kind"),
        (CODER, "{backend: 4, model: x}", "experts.coder.backend"),
        (CODER, "4", "experts.coder"),
        ("experts: [coder]", "experts: 4", "categories.code.experts"),
        ("default: general", "default: 4", "default"),
        ("here: {url", "here: {ulr", "backends.here.ulr"),
    ],
)
def test_a_broken_value_brings_no_problem_elsewhere(
    old: str, new: str, path: str, write: Write
) -> None:
    errors = [p for p in check(write(BASE.replace(old, new)), {}) if p.severity == "error"]

    assert [p.path for p in errors] == [path]


def test_the_file_that_the_mistakes_start_from_is_faultless(write: Write) -> None:
    assert check(write(BASE), {}) == []


def test_all_problems_are_told_at_once_in_the_order_of_the_file(write: Write) -> None:
    text = """\
version: 1
backends:
  a: {url: http://h, memry: 1GiB}
  b: {type: olama, url: http://h}
experts:
  one: {backend: a, model: m, context: much}
  two: {backend: c, model: m}
  three: {base: four, adapter: x}
categories:
  code: {utterances: [c1, c2, c3, c4, c5], threshold: 3, experts: [one, six]}
  law: {utterances: [c1, l2, l3, l4, l5], experts: [two]}
migrate: {}
default: three
"""

    with pytest.raises(CompositionError) as refused:
        load(write(text), {})

    assert [(p.line, p.path) for p in refused.value.problems] == [
        (3, "backends.a.memry"),
        (4, "backends.b.type"),
        (6, "experts.one.context"),
        (7, "experts.two.backend"),
        (8, "experts.three.base"),
        (10, "categories.code.threshold"),
        (10, "categories.code.experts[1]"),
        (11, "categories.law.utterances[0]"),
        (12, "migrate"),
    ]


def test_a_broken_section_is_told_once_and_not_again_for_every_name(write: Write) -> None:
    text = BASE.replace("backends:\n", "backends: []\nold:\n")

    problems = [p for p in check(write(text), {}) if p.severity == "error"]

    assert sorted(p.path for p in problems) == ["backends", "old"]


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "[]", "just words", "42", "~"])
def test_a_file_that_holds_no_mapping_is_refused(text: str, write: Write) -> None:
    with pytest.raises(CompositionError, match="expected a mapping"):
        load(write(text), {})


def test_a_lora_on_a_backend_without_lora_is_refused(write: Write) -> None:
    text = BASE.replace("engine: local", "cloud: litellm").replace(
        CODER, "{backend: cloud, model: m}\n  tuned: {base: coder, adapter: x}"
    )

    (problem,) = [p for p in check(write(text), {}) if p.severity == "error"]

    assert problem.path == "experts.tuned.base"
    assert "type `litellm`, which loads no LoRA adapters" in problem.message


def test_a_lora_must_fit_together_with_its_base(write: Write) -> None:
    text = BASE.replace(
        CODER,
        "{backend: here, model: m, memory: 8GiB}\n  tuned: {base: coder, adapter: x, memory: 2GiB}",
    )

    (problem,) = [p for p in check(write(text), {}) if p.severity == "error"]

    assert "never fits: 10GiB with its base `coder`" in problem.message


@pytest.mark.parametrize(
    ("key", "file"), [("model", "config.json"), ("adapter", "adapter_config.json")]
)
def test_a_folder_without_weights_is_refused(key: str, file: str, write: Write) -> None:
    lora = "\n  tuned: {base: coder, adapter: ./tuned}" if key == "adapter" else ""
    path = write(BASE.replace(CODER, "{backend: engine, model: ./coder}" + lora))
    (path.parent / "coder").mkdir()
    (path.parent / "tuned").mkdir()
    if key == "adapter":
        (path.parent / "coder" / "config.json").touch()

    (problem,) = [p for p in check(path, {}) if p.severity == "error"]

    assert f"holds no {file}" in problem.message


@pytest.mark.parametrize("model", ["hf://acme/small", "small", "${env:MODEL:-x}"])
def test_a_local_model_that_is_no_path_is_left_to_the_engine(model: str, write: Write) -> None:
    path = write(BASE.replace(CODER, f"{{backend: engine, model: '{model}'}}"))

    assert check(path, {}) == []


def test_a_lora_on_a_broken_base_brings_no_second_problem(write: Write) -> None:
    text = BASE.replace("general: here/small", "general: small").replace(
        CODER, "{base: general, adapter: x}"
    )

    (problem,) = check(write(text), {})

    assert problem.path == "experts.general"


def test_keywords_alone_make_a_category(write: Write) -> None:
    text = BASE.replace("utterances: [c1, c2, c3, c4, c5]", "keywords: [segfault]")

    assert check(write(text), {}) == []


def test_a_huge_file_of_utterances_is_refused(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coe.composition.texts.MAX_BYTES", 3)
    path = write(
        BASE.replace("    experts: [coder]", "    utterances_file: more.txt\n    experts: [coder]")
    )
    (path.parent / "more.txt").write_text("too long", encoding="utf-8")

    (problem,) = check(path, {})

    assert "is larger than 3 bytes" in problem.message


def test_folders_with_weights_are_accepted(write: Write) -> None:
    path = write(
        BASE.replace(
            CODER,
            "{backend: engine, model: weights/coder}\n  tuned: {base: coder, adapter: ./tuned}",
        ).replace("[general]", "[tuned, general]")
    )
    for folder, file in (("weights/coder", "config.json"), ("tuned", "adapter_config.json")):
        (path.parent / folder).mkdir(parents=True)
        (path.parent / folder / file).touch()

    assert check(path, {}) == []


def test_a_conflict_in_an_utterance_file_is_placed_in_that_file(write: Write) -> None:
    path = write(
        BASE.replace("    experts: [coder]", "    utterances_file: more.txt\n    experts: [coder]")
    )
    (path.parent / "more.txt").write_text("# more of them\n\nc6\n  L2\n", encoding="utf-8")

    (problem,) = check(path, {})

    assert problem.file.endswith("experts.yaml")
    assert f"(at {path.parent / 'more.txt'}:4:1)" in problem.message


def test_an_utterance_file_that_is_not_utf8_is_placed_in_that_file(write: Write) -> None:
    path = write(
        BASE.replace("    experts: [coder]", "    negatives_file: no.txt\n    experts: [coder]")
    )
    (path.parent / "no.txt").write_bytes(b"fine\n\xff\n")

    (problem,) = check(path, {})

    assert problem.file.endswith("no.txt")
    assert (problem.line, problem.message) == (2, "not UTF-8")


def test_a_warning_does_not_forbid_to_load(write: Write) -> None:
    composition = load(write(BASE.replace("[l1, l2, l3, l4, l5]", "[l1]")), {})

    assert [p.severity for p in composition.warnings] == ["warning"]


def test_a_problem_reads_as_one_clickable_line(write: Write) -> None:
    path = write(BASE.replace("    experts: [coder]", "    treshold: 0.5"))

    text = str(next(p for p in check(path, {}) if p.severity == "error"))

    assert text.startswith(f"{path}:11:5: categories.code.treshold: unknown key `treshold` (did")
    assert isinstance(check(path, {})[0], Problem)
