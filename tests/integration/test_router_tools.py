"""`coe router evaluate` and `coe calibrate` on a composition, from the words to the files."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from coe.composition import load
from coe.composition.lock import lock_path, read_lock, write_lock

from .conftest import Coe, write_rows

FILE = """
version: 1
backends: {gone: http://127.0.0.1:9}
experts: {one: gone/m, two: gone/n}
encoders: {small: {type: hashed}}
routers:
  near: {type: embedding, encoder: small}
  rules: keyword
  default: {type: chain, stages: [rules, near]}
routing: {threshold: 0.9}
categories:
  sums:
    utterances: [add two and two, what is one plus one, sum these, subtract two, times three,
      add four, sum the list, what is two plus two, add one to six, five times two]
    keywords: [modulo]
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
    *((f"add {n} to the sum", "sums") for n in CITIES),
    ("nine modulo four", "sums"),
    *((f"a train to {city}", "trips") for city in CITIES),
    *((f"book a hotel in {city}", "trips") for city in CITIES),
    ("zzz qqq", None),
    ("write a poem", None),
    ("<b>what</b> is love", None),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a composition and rows."""
    tmp_path.joinpath("experts.yaml").write_text(FILE)
    write_rows(tmp_path / "set.jsonl", ROWS)
    return tmp_path


def test_evaluate_prints_a_report_and_writes_a_page_and_json(coe: Coe, folder: Path) -> None:
    done = coe(
        *("router", "evaluate", "set.jsonl", "--wrong"),
        *("--html", "report.html", "--json", "report.json"),
    )
    document = json.loads((folder / "report.json").read_text())
    page = (folder / "report.html").read_text()

    assert done.returncode == 0, done.stderr
    assert "router `default`: 44 rows, 41 inside 2 categories, 3 outside" in done.stdout
    assert "went wrong, the surest first" in done.stdout
    assert document["rows"]["inside"] == 41
    assert document["stages"].keys() == {"near", "rules"}
    assert document["accuracy"] > 0.9
    assert [row["threshold"] for row in document["categories"]] == [0.9, 0.9]
    root = ET.fromstring(page.removeprefix("<!DOCTYPE html>\n"))  # noqa: S314 - our own page
    assert len(list(root.iter("svg"))) == 3
    assert not (folder / "set.jsonl.scores").exists()


def test_another_router_of_the_file_can_be_measured(coe: Coe) -> None:
    done = coe("router", "evaluate", "set.jsonl", "--router", "rules")
    unknown = coe("router", "evaluate", "set.jsonl", "--router", "rulez")

    assert "router `rules`" in done.stdout
    assert unknown.returncode == 2
    assert "no router `rulez` in the composition" in unknown.stderr


def test_a_broken_row_is_refused_with_its_line(coe: Coe, folder: Path) -> None:
    write_rows(folder / "set.jsonl", [*ROWS[:2], ("a", "sum")])

    for command in (("router", "evaluate"), ("calibrate",)):
        done = coe(*command, "set.jsonl")

        assert done.returncode == 2
        assert "set.jsonl:3: the router has no category 'sum'" in done.stderr
        assert "did you mean 'sums'" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_report_that_could_not_be_written_is_refused_before_the_work(coe: Coe) -> None:
    done = coe("router", "evaluate", "set.jsonl", "--html", "gone/report.html")

    assert done.returncode == 2
    assert "make it first" in done.stderr
    assert done.stdout == ""


def test_calibrated_thresholds_are_used_until_something_changes(coe: Coe, folder: Path) -> None:
    prompt = ("route", "find a train", "--json")
    before = json.loads(coe(*prompt).stdout)

    done = coe("calibrate", "set.jsonl", "--accept", "0.9")
    after = json.loads(coe(*prompt).stdout)
    fine = coe("check")
    measured = coe("router", "evaluate", "set.jsonl")

    lock = json.loads((folder / "experts.lock").read_text())
    assert done.returncode == 0, done.stderr
    assert "90.0% of the texts that belong to a category are accepted" in done.stdout
    assert before["reason"] == "below-threshold"
    assert lock["thresholds"]["trips"]["threshold"] < before["categories"][0]["probability"]
    assert after["category"] == "trips"
    assert "0 warnings" in fine.stdout
    assert f"{lock['thresholds']['trips']['threshold']:.3f}" in measured.stdout

    folder.joinpath("experts.yaml").write_text(FILE.replace("sum these", "sum those"))
    stale = coe("check")
    again = json.loads(coe(*prompt).stdout)
    measured_again = coe("router", "evaluate", "set.jsonl")

    assert stale.returncode == 0
    assert "warning: experts.yaml: experts.lock is stale: `categories.sums` has" in stale.stderr
    assert "note: experts.lock is stale: `categories.sums` has changed" in measured_again.stderr
    assert again["reason"] == "below-threshold"


def test_another_encoder_makes_the_lock_stale_in_check_and_in_the_log(
    coe: Coe, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    coe("calibrate", "set.jsonl")
    composition = load(folder / "experts.yaml")
    lock = read_lock(composition)
    assert lock is not None
    write_lock(lock_path(composition), replace(lock, encoders={"small": "hashed-0-512"}))

    checked = coe("check")
    with caplog.at_level(logging.WARNING, "coe.wiring"):
        routed = coe("route", "find a train")

    assert "encoder `small` is another one now" in checked.stderr
    assert "encoder `small` is another one now" in caplog.text
    assert "below-threshold" in routed.stdout


def test_a_threshold_that_somebody_lowered_does_not_let_more_in(
    coe: Coe, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prompt = ("route", "find a train", "--json")
    coe("calibrate", "set.jsonl")
    path = folder / "experts.lock"
    content = json.loads(path.read_text())
    content["thresholds"]["trips"]["threshold"] = 0.0
    path.write_text(json.dumps(content))

    checked = coe("check")
    with caplog.at_level(logging.WARNING, "coe.wiring"):
        routed = json.loads(coe(*prompt).stdout)

    assert "experts.lock is stale: somebody changed it by hand" in checked.stderr
    assert "somebody changed it by hand" in caplog.text
    assert routed["reason"] == "below-threshold"


def test_a_guarantee_without_enough_rows_closes_every_category(coe: Coe) -> None:
    done = coe("calibrate", "set.jsonl", "--guarantee", "0.05")
    routed = coe("route", "what is one plus one", "--json")

    assert done.returncode == 0, done.stderr
    assert "closed: 44 rows, and below 500 a guarantee says next to nothing" in done.stdout
    assert json.loads(routed.stdout)["reason"] == "below-threshold"


def test_what_a_category_itself_says_wins_and_is_noted(coe: Coe, folder: Path) -> None:
    file = FILE.replace("    keywords: [modulo]", "    keywords: [modulo]\n    threshold: 0.9")
    folder.joinpath("experts.yaml").write_text(file)

    done = coe("calibrate", "set.jsonl")

    assert "categories.sums.threshold is written in experts.yaml and wins" in done.stderr


def test_options_that_exclude_each_other_are_refused(coe: Coe) -> None:
    done = coe("calibrate", "set.jsonl", "--per-category")

    assert done.returncode == 2
    assert "--per-category belongs to --guarantee" in done.stderr


def test_a_damaged_lock_is_refused_with_the_fix(coe: Coe, folder: Path) -> None:
    folder.joinpath("experts.lock").write_text("{")

    done = coe("check")

    assert done.returncode == 2
    assert "experts.lock: is damaged" in done.stderr
    assert "run `coe calibrate` again, or delete the file" in done.stderr
