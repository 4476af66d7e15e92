"""The other commands, as processes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Coe = Callable[..., subprocess.CompletedProcess[str]]

FILE = """
version: 1
backends: {gone: http://127.0.0.1:9}
experts: {one: gone/m, two: gone/n}
encoders: {small: {type: hashed}}
routers: {default: {type: embedding, encoder: small}}
routing: {threshold: 0.2}
categories:
  sums:
    utterances: [add two and two, what is one plus one, sum these, subtract two, times three]
    experts: [two, one]
  trips:
    utterances: [a train to Rome, book a flight, find a hotel, rent a car, see the museum]
    experts: [one]
default: one
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "experts.yaml"
    path.write_text(FILE)
    return path


def test_check_says_that_a_file_is_fine(coe: Coe, file: Path) -> None:
    done = coe("check", str(file))

    assert done.returncode == 0
    assert "ok, 2 experts, 2 categories" in done.stdout


def test_check_prints_every_problem_with_its_place(coe: Coe, file: Path) -> None:
    file.write_text(FILE.replace("default: one", "default: oen").replace("two, one", "twoo"))

    done = coe("check", str(file))

    assert done.returncode == 2
    assert f"{file}:11:" in done.stderr
    assert "did you mean `two`" in done.stderr
    assert "did you mean `one`" in done.stderr


def test_check_as_json(coe: Coe, file: Path) -> None:
    file.write_text(FILE + "chache: {}\n")

    done = coe("check", str(file), "--json")
    report = json.loads(done.stdout)

    assert done.returncode == 2
    assert not report["ok"]
    assert report["problems"][0]["line"] == 16
    assert "chache" in report["problems"][0]["message"] + report["problems"][0]["path"]


def test_check_sees_the_options_of_plugins(coe: Coe, file: Path) -> None:
    file.write_text(FILE.replace("type: hashed", "type: hashed, dimm: 64"))

    done = coe("check", str(file))

    assert done.returncode == 2
    assert "encoders.small.dimm" in done.stderr


def test_check_needs_no_secret(coe: Coe, file: Path) -> None:
    server = '{url: "http://127.0.0.1:9", api_key: "${env:NOT_SET_HERE}"}'
    file.write_text(FILE.replace("http://127.0.0.1:9", server))

    done = coe("check", str(file))

    assert done.returncode == 0
    assert "NOT_SET_HERE is not set" in done.stderr


def test_route_explains_a_decision(coe: Coe, file: Path) -> None:
    done = coe("route", "what is one plus one", "-c", str(file))

    assert done.returncode == 0, done.stderr
    assert "category  sums" in done.stdout
    assert "expert    two" in done.stdout
    assert "utterance of sums: what is one plus one" in done.stdout
    assert "then      one" in done.stdout


def test_keywords_alone_are_enough_to_route(coe: Coe, file: Path) -> None:
    file.write_text(
        "version: 1\nbackends: {gone: http://127.0.0.1:9}\nexperts: {one: gone/m, two: gone/n}\n"
        "categories: {bugs: {keywords: [traceback], experts: [two]}}\ndefault: one\n"
    )

    hit = coe("route", "a traceback!", "-c", str(file), "--json")
    miss = coe("route", "hello", "-c", str(file), "--json")

    assert json.loads(hit.stdout)["expert"] == "two"
    assert json.loads(miss.stdout)["expert"] == "one"


def test_route_as_json(coe: Coe, file: Path) -> None:
    done = coe("route", "a train to Rome", "-c", str(file), "--json")

    assert json.loads(done.stdout)["category"] == "trips"


def test_experts_lists_them(coe: Coe, file: Path) -> None:
    done = coe("experts", "-c", str(file), "--json")

    assert [row["expert"] for row in json.loads(done.stdout)] == ["one", "two"]
    assert json.loads(done.stdout)[1]["categories"] == ["sums"]


def test_ask_says_why_nobody_answers(coe: Coe, file: Path) -> None:
    done = coe("ask", "hello", "-c", str(file))

    assert done.returncode == 1
    assert "gone" in done.stderr
    assert "Traceback" not in done.stderr


def test_ask_a_gateway_that_is_not_there(coe: Coe) -> None:
    done = coe("ask", "hello", "--url", "http://127.0.0.1:9")

    assert done.returncode == 1
    assert "coe serve" in done.stderr


def test_init_writes_a_file_that_passes_check_and_never_overwrites_one(
    coe: Coe, tmp_path: Path
) -> None:
    first = coe("init", "mine.yaml", cwd=tmp_path, EXAMPLE_API_KEY="x")
    again = coe("init", "mine.yaml", cwd=tmp_path)

    assert first.returncode == 0, first.stderr
    assert "wrote mine.yaml" in first.stdout
    assert again.returncode == 2
    assert "--force" in again.stderr
    assert coe("check", "mine.yaml", cwd=tmp_path).returncode == 0


def test_an_unknown_command_is_refused(coe: Coe) -> None:
    assert coe("serv").returncode == 2
