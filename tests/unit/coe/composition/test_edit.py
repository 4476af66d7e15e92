"""Edits of a composition: what they change, what they leave, and what they refuse."""

from __future__ import annotations

import copy
import os
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coe.composition import load
from coe.composition.draft import Draft, flow
from coe.composition.edit import (
    add_expert,
    rank,
    remove_expert,
    rewrite,
    set_expert,
    set_key,
)
from coe.errors import CompositionError, Conflict, InvalidRequest, UnknownModel
from tests.unit.coe.composition.conftest import Write

FILE = """\
# Our composition.
version: 1

backends:
  ollama:   http://127.0.0.1:11434      # in the cellar
  # cloud: {url: https://api.example.com/v1}

experts:
  # the workhorse
  general: ollama/llama3.2:3b     # small
  # for programs
  coder:
    backend: ollama
    model: "qwen2.5-coder:7b"     # quoted
    skills: {code: 0.8,
             math: 0.5}
  lora: {base: coder, adapter: some-name}

# What people ask.
categories:
  code:
    utterances: [one, two, three, four, five]
    experts: [coder, general]     # ranked
  law:
    - is this clause enforceable
    - who is liable
    - draft a contract
    - what is a tort
    - explain this clause
routing:
  routes:
    law: general
default: general   # when unsure
"""


@pytest.fixture
def draft() -> Draft:
    return Draft(FILE, "experts.yaml")


def changed(draft: Draft) -> tuple[list[str], list[str]]:
    """Return the lines that went, and those that came."""
    old, new = FILE.splitlines(), draft.text.splitlines()
    gone, came = list(old), []
    for line in new:
        if line in gone:
            gone.remove(line)
        else:
            came.append(line)
    return gone, came


def test_an_expert_comes_with_its_own_line_and_no_other_changes(draft: Draft) -> None:
    edited = add_expert(draft, name="judge", keys={"backend": "ollama", "model": "a:b"})

    assert changed(edited) == ([], ["  judge: {backend: ollama, model: a:b}"])


def test_an_expert_with_many_keys_is_written_on_several_lines(draft: Draft) -> None:
    keys = {"backend": "ollama", "model": "m", "description": "x" * 60, "skills": {"code": 0.5}}

    edited = add_expert(draft, name="judge", keys=keys)

    assert changed(edited)[1] == [
        "  judge:",
        "    backend: ollama",
        "    model: m",
        "    description: " + "x" * 60,
        "    skills: {code: 0.5}",
    ]


def test_a_new_expert_is_ranked_wherever_the_ranking_stands(draft: Draft) -> None:
    edited = add_expert(
        draft, name="judge", keys="ollama/x", categories=["code", "law"], first=False
    )

    assert changed(edited) == (
        ["    experts: [coder, general]     # ranked", "    law: general"],
        [
            "  judge: ollama/x",
            "    experts: [coder, general, judge]     # ranked",
            "    law: [general, judge]",
        ],
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a: [x, y]\n", "a: [z, x, y]\n"),
        ("a: []\n", "a: [z]\n"),
        ("a: x  # why\n", "a: [z, x]  # why\n"),
        ("b: 1\n", "b: 1\na: [z]\n"),
        ("a:\n  # best\n  - x  # first\n", "a:\n  # best\n  - z\n  - x  # first\n"),
    ],
)
def test_an_entry_is_put_first_in_a_list_in_any_layout(before: str, after: str) -> None:
    assert Draft(before, "f").add(("a",), "z", first=True).text == after


def test_a_category_that_is_a_list_of_utterances_keeps_them() -> None:
    text = "categories:\n  law:\n    - one\n    - two\n"

    edited = rank(Draft(text, "f"), "judge", "law")

    assert edited.content == {
        "categories": {"law": {"utterances": ["one", "two"], "experts": ["judge"]}}
    }


def test_a_name_that_is_taken_and_a_category_that_is_not_there_are_refused(draft: Draft) -> None:
    with pytest.raises(Conflict, match="already"):
        add_expert(draft, name="coder", keys="ollama/x")
    with pytest.raises(InvalidRequest, match="did you mean `code`"):
        add_expert(draft, name="new", keys="ollama/x", categories=["cod"])


def test_an_expert_goes_with_its_comment_and_leaves_the_rankings(draft: Draft) -> None:
    draft = draft.remove(("experts", "lora"))
    lines = FILE.splitlines()

    edited = remove_expert(draft, name="coder")

    gone = lines[lines.index("  # for programs") : lines.index("# What people ask.") - 1]
    assert changed(edited) == (
        [*gone, "    experts: [coder, general]     # ranked"],
        ["    experts: [general]     # ranked"],
    )


def test_an_expert_that_others_stand_on_is_kept_and_each_is_named(draft: Draft) -> None:
    with pytest.raises(Conflict) as refused:
        remove_expert(draft, name="general")
    assert "it is the `default`" in refused.value.message
    assert "the only expert of `law`" in refused.value.message
    with pytest.raises(Conflict, match="the base of `lora`"):
        remove_expert(draft, name="coder")
    judged = draft.put(("routers", "judge"), {"type": "llm", "expert": "coder"})
    with pytest.raises(Conflict, match="the router `judge` asks it"):
        remove_expert(judged, name="coder")
    with pytest.raises(UnknownModel, match="did you mean `coder`"):
        remove_expert(draft, name="codr")


def test_a_status_is_set_in_a_short_form_and_in_a_long_one(draft: Draft) -> None:
    short = set_expert(draft, name="general", keys={"status": "canary"})
    long = set_expert(draft, name="coder", keys={"status": "canary"})

    assert changed(short)[1] == [
        "  general: {backend: ollama, model: llama3.2:3b, status: canary}     # small"
    ]
    assert changed(long) == ([], ["    status: canary"])
    assert set_expert(long, name="coder", keys={"status": None}).text == FILE


def test_a_mapping_in_the_place_of_another_keeps_the_comments_of_the_keys_that_stay(
    draft: Draft,
) -> None:
    keys = {"backend": "ollama", "model": "other", "context": 4096}

    edited = draft.put(("experts", "coder"), keys)

    assert "    model: other     # quoted" in edited.text.splitlines()
    assert edited.get(("experts", "coder")) == keys


def test_a_key_path_is_made_where_it_is_missing(draft: Draft) -> None:
    edited = set_key(draft, ("routing", "choose"), "fitted")
    deeper = set_key(draft, ("models", "coe/cheap", "choose"), "cheapest_good")

    assert changed(edited) == ([], ["  choose: fitted"])
    assert deeper.get(("models", "coe/cheap")) == {"choose": "cheapest_good"}
    assert changed(deeper)[0] == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a:\nb: 1\n", "a:\n  x: 1\nb: 1\n"),
        ("a:   # nothing yet\nb: 1\n", "a: {x: 1}   # nothing yet\nb: 1\n"),
        ("a: {}\nb: 1\n", "a: {x: 1}\nb: 1\n"),
        ("a: {y: 2}", "a: {y: 2, x: 1}"),
        ("a:\n  y: 2", "a:\n  y: 2\n  x: 1"),
        ("a:\r\n  y: 2\r\nb: 1\r\n", "a:\r\n  y: 2\r\n  x: 1\r\nb: 1\r\n"),
        ("a:\n  y: |\n    text\n\n# end\n", "a:\n  y: |\n    text\n  x: 1\n\n# end\n"),
        ("a:\n  y:\n  - 1\n  - 2\n# end\n", "a:\n  y:\n  - 1\n  - 2\n  x: 1\n# end\n"),
        ("b: &b 3\na:\n  y: *b  # alias\n", "b: &b 3\na:\n  y: *b  # alias\n  x: 1\n"),
    ],
)
def test_a_key_is_added_in_any_layout(before: str, after: str) -> None:
    edited = Draft(before, "f").put(("a", "x"), 1)

    assert edited.content["a"]["x"] == 1
    if before.startswith("a:\nb"):
        return  # where an empty value goes is free
    assert edited.text == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a: [x, y]\n", "a: [x, y, z]\n"),
        ("a: []\n", "a: [z]\n"),
        ("a: x\n", "a: [x, z]\n"),
        ("b: 1\n", "b: 1\na: [z]\n"),
        (
            "a:\n- x  # first\n- y  # second\n# end\n",
            "a:\n- x  # first\n- y  # second\n- z\n# end\n",
        ),
    ],
)
def test_an_entry_is_added_to_a_list_in_any_layout(before: str, after: str) -> None:
    assert Draft(before, "f").add(("a",), "z").text == after


@pytest.mark.parametrize(
    ("before", "path", "after"),
    [
        ("a: {x: 1, y: 2}\n", ("a", "x"), "a: {y: 2}\n"),
        ("a: {x: 1, y: 2}\n", ("a", "y"), "a: {x: 1}\n"),
        ("a: {x: 1}\n", ("a", "x"), "a: {}\n"),
        ("a:  # why\n  x: 1\nb: 2\n", ("a", "x"), "a: {}  # why\nb: 2\n"),
        ("a:\n  - x\n  - y\n", ("a", 1), "a:\n  - x\n"),
        ("# of all\na: 1\nb: 2\n", ("a",), "# of all\nb: 2\n"),
        ("a: 1\n\n# of b\nb: 2\n# of c\nc: 3\n", ("b",), "a: 1\n\n# of c\nc: 3\n"),
    ],
)
def test_an_entry_is_removed_in_any_layout(
    before: str, path: tuple[str | int, ...], after: str
) -> None:
    edited = Draft(before, "f").remove(path)

    assert edited.content == Draft(after, "f").content
    assert edited.text == after


def test_what_an_alias_repeats_is_not_edited_through_it() -> None:
    shared = Draft("a: &a {x: 1}\nb: *a\n", "f.yaml")

    with pytest.raises(CompositionError, match=r"f\.yaml:1:\d+: b\.y: .*by hand"):
        shared.put(("b", "y"), 2)


NAMES = st.text("abcxyz", min_size=1, max_size=3)
SCALARS = st.one_of(
    st.integers(-5, 5),
    st.booleans(),
    st.none(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=8),
    st.sampled_from(
        ["on", "yes", "null", "1", "${env:X}", "a, b", "a: b", "x #y", "*a", "&a", "'"]
    ),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
MAPPINGS = st.dictionaries(NAMES, VALUES, min_size=1, max_size=4)


def layout(value: Any, indent: int, choose: st.DataObject) -> str:
    """Write a value as somebody might: on lines of its own or on one, with comments."""
    comment = choose.draw(st.sampled_from(["", "  # why"]))
    if not isinstance(value, dict | list) or not value or choose.draw(st.booleans()):
        return f" {flow(value)}{comment}\n"
    pad, lines = " " * indent, f"{comment}\n"
    if isinstance(value, dict):
        for key, entry in value.items():
            lines += choose.draw(st.sampled_from(["", "\n", f"{pad}# about it\n", "# far out\n"]))
            lines += f"{pad}{flow(key)}:" + layout(entry, indent + 2, choose)
        return lines
    return lines + "".join(f"{pad}- {flow(entry)}{comment}\n" for entry in value)


@settings(deadline=None)
@given(MAPPINGS, st.data())
def test_an_edit_means_what_it_says_and_leaves_every_other_line(
    content: dict[str, Any], choose: st.DataObject
) -> None:
    draft = Draft(layout({"top": content}, 0, choose).lstrip(" "), "f")
    key = choose.draw(st.sampled_from(sorted(content)) | NAMES)
    value = choose.draw(VALUES)
    expected = copy.deepcopy(draft.content)
    expected["top"][key] = value

    edited = draft.put(("top", key), value)

    assert edited.content == expected
    if key not in content:
        kept = [line for line in draft.text.splitlines() if line.strip()]
        now = edited.text
        comments = [line for line in kept if line.strip().startswith("#")]
        assert all(comment in now for comment in comments)
    assert edited.remove(("top", key)).content["top"] == {
        name: entry for name, entry in content.items() if name != key
    }


@pytest.fixture
def file(write: Write) -> Path:
    return write(FILE)


def test_a_file_is_rewritten_and_read_at_once(file: Path) -> None:
    file.chmod(0o640)

    made = rewrite(file, partial(add_expert, name="judge", keys="ollama/x", categories=["code"]))

    assert made.experts["judge"].model == "x"
    assert made.routing.routes["code"] == ("judge", "coder", "general")
    assert load(file) == made
    assert file.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in file.parent.iterdir()] == ["experts.yaml"]


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"backend": "nowhere", "model": "x"}, r"experts\.yaml:18:\d+: experts\.judge\.backend"),
        ({"backend": "ollama"}, "`model` is missing"),
        ({"backend": "ollama", "model": "x", "statu": "live"}, "did you mean `status`"),
        ("no-slash", "is not `backend/model`"),
    ],
)
def test_a_bad_edit_leaves_the_file_and_says_where_it_would_be_wrong(
    file: Path, keys: Any, why: str
) -> None:
    with pytest.raises(CompositionError, match=why):
        rewrite(file, partial(add_expert, name="judge", keys=keys))

    assert file.read_text() == FILE
    assert len(list(file.parent.iterdir())) == 1


def test_a_link_stays_a_link(file: Path) -> None:
    link = file.parent / "link.yaml"
    link.symlink_to(file)

    rewrite(link, partial(add_expert, name="judge", keys="ollama/x"))

    assert link.is_symlink()
    assert "judge" in load(file).experts


def test_an_edit_of_a_file_that_includes_others_is_one_of_that_file(write: Write) -> None:
    file = write("include: [more.yaml]\n" + FILE)
    more = file.with_name("more.yaml")
    more.write_text("experts: {extra: ollama/y}\n")

    rewrite(file, partial(add_expert, name="judge", keys="ollama/x"))

    assert {"judge", "extra"} <= load(file).experts.keys()
    assert more.read_text() == "experts: {extra: ollama/y}\n"
    with pytest.raises(CompositionError, match="`extra` is defined twice"):
        rewrite(file, partial(add_expert, name="extra", keys="ollama/x"))


def test_edits_at_the_same_time_follow_each_other(file: Path) -> None:
    names = [f"e{i}" for i in range(8)]
    edits = [
        threading.Thread(target=rewrite, args=(file, partial(add_expert, name=n, keys="ollama/x")))
        for n in names
    ]

    for edit in edits:
        edit.start()
    for edit in edits:
        edit.join()

    assert set(names) < set(load(file).experts)


def test_a_folder_that_cannot_be_written_is_told(file: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    file.parent.chmod(0o500)
    try:
        with pytest.raises(CompositionError, match="cannot be written"):
            rewrite(file, partial(add_expert, name="judge", keys="ollama/x"))
    finally:
        file.parent.chmod(0o700)
