"""`coe experts ...`: from an entry in the file to an expert that answers its share."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from coe.composition import load
from coe.mapping.store import map_path, read_map
from coe.stores.outcomes import OutcomeStore
from coe.testing.upstream import FakeUpstream

from .conftest import Coe

FILE = """\
# Who answers.
version: 1
backends:
  up: {url: "URL", timeouts: {connect: 1s, first_token: 5s, idle: 5s, total: 5s}}
experts:
  one: {backend: up, model: one}     # knows sums
  two: {backend: up, model: two}     # knows trips
categories:
  sums: {keywords: [plus], experts: [one, two]}
  trips: {keywords: [train], experts: [two]}
routers:
  default: keyword
default: one
"""


def knows(body: Mapping[str, Any]) -> str:
    """`one` knows sums, `two` trips; `new` knows trips and every other sum."""
    prompt, model = body["messages"][-1]["content"], body["model"]
    number = int(prompt.split()[0])
    right = {
        "one": "plus" in prompt,
        "two": "train" in prompt,
        "new": "train" in prompt or number % 2 == 0,
    }
    return "yes" if right.get(model) else "no"


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    """An upstream in a thread of its own: a command runs a loop of its own, too."""
    loop, fake = asyncio.new_event_loop(), FakeUpstream(models=("one", "two", "new", "tools"))
    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(fake.__aenter__(), loop).result()
    try:
        yield fake
    finally:
        asyncio.run_coroutine_threadsafe(fake.__aexit__(None, None, None), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def folder(tmp_path: Path, upstream: FakeUpstream) -> Path:
    (tmp_path / "experts.yaml").write_text(FILE.replace("URL", upstream.url))
    rows = [
        {"prompt": f"{i} {word} {i}", "answer": "yes", "category": category}
        for category, word in (("sums", "plus"), ("trips", "train"))
        for i in range(40)
    ]
    (tmp_path / "k.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def text(folder: Path) -> str:
    return (folder / "experts.yaml").read_text()


def test_an_expert_is_added_promoted_and_removed(coe: Coe, folder: Path) -> None:
    before = text(folder)

    added = coe("experts", "add", "new", "up/new", "--category", "sums", "--set", "context=4k")

    assert added.returncode == 0, added.stderr
    assert "coe experts check new" in added.stdout
    made = load(folder / "experts.yaml")
    assert (made.experts["new"].status, made.experts["new"].context) == ("canary", 4000)
    assert made.routing.routes["sums"] == ("new", "one", "two")
    assert coe("experts", "canary", "new", "--share", "25%").returncode == 0
    assert load(folder / "experts.yaml").experts["new"].share == 0.25
    assert coe("experts", "promote", "new").returncode == 0
    assert "share" not in text(folder)
    assert "already" in coe("experts", "promote", "new").stdout
    assert coe("experts", "retire", "new", "--drain").returncode == 0
    assert load(folder / "experts.yaml").experts["new"].status == "draining"
    assert coe("experts", "remove", "new").returncode == 0
    assert text(folder) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "one", "up/x"), "an expert `one` already"),
        (("add", "new"), "BACKEND/MODEL, or --base and --adapter"),
        (("add", "new", "x"), "`x` is not BACKEND/MODEL"),
        (("add", "new", "nowhere/x"), "experts.new.backend"),
        (("add", "new", "up/x", "--set", "context"), "expected KEY=VALUE"),
        (("add", "new", "up/x", "--set", "contxt=4k"), "did you mean `context`"),
        (("add", "new", "up/x", "--set", "tags=[a"), "--set tags=[a: not valid YAML"),
        (("add", "new", "up/x", "--category", "sum"), "did you mean `sums`"),
        (("add", "new", "up/x", "--status", "alive"), "not one of live, canary"),
        (("remove", "one"), "it is the `default`"),
        (("remove", "three"), "no expert `three`"),
        (("promote", "three"), "no expert `three`"),
        (("check", "three"), "no expert `three`"),
        (("audition", "three", "--kshot", "k.jsonl"), "no expert `three`"),
        (("audition", "two", "--kshot", "none.jsonl"), "none.jsonl: cannot be read"),
        (("audition", "two", "--kshot", "k.jsonl", "--into-map"), "`coe map fit` first"),
        (("matrix",), "nothing was scored yet"),
    ],
)
def test_what_is_wrong_is_said_and_the_file_stays(
    coe: Coe, folder: Path, words: tuple[str, ...], said: str
) -> None:
    before = text(folder)

    done = coe("experts", *words)

    assert done.returncode in {1, 2}
    assert said in done.stderr
    assert text(folder) == before


def test_a_lora_adapter_is_asked_for_by_its_own_name(coe: Coe, upstream: FakeUpstream) -> None:
    assert coe("experts", "add", "fine", "--base", "one", "--adapter", "new").returncode == 0

    done = coe("experts", "check", "fine", "--json")

    (found,) = json.loads(done.stdout)
    assert found["ok"], found
    assert {json.loads(r.body)["model"] for r in upstream.requests if r.body} == {"new"}


def states(found: Any) -> dict[str, str]:
    return {finding["what"]: finding["state"] for finding in found["findings"]}


def test_a_check_tries_everything(coe: Coe) -> None:
    assert coe("experts", "add", "new", "up/tools", "--set", "capabilities=[tools]").returncode == 0

    done = coe("experts", "check", "new", "one", "--json")

    assert done.returncode == 0, done.stdout
    new, one = json.loads(done.stdout)
    assert states(new) == {
        "reachable": "ok",
        "listed": "ok",
        "load": "not told",
        "answers": "ok",
        "streams": "ok",
        "tools": "ok",
        "context": "not told",
        "memory": "not told",
    }
    assert states(one)["tools"] == "no"


@pytest.mark.parametrize(
    ("model", "keys", "what", "fix"),
    [
        ("neww", "", "listed", "did you mean `new`?"),
        ("error-503", "", "answers", "the server's log"),
        ("one", "capabilities=[tools]", "tools", "take `tools` from `experts.bad.capabilities`"),
    ],
)
def test_a_check_says_what_fails_and_the_fix(
    coe: Coe, model: str, keys: str, what: str, fix: str
) -> None:
    settings = ("--set", keys) if keys else ()
    assert coe("experts", "add", "bad", f"up/{model}", *settings).returncode == 0

    done = coe("experts", "check", "bad")

    assert done.returncode == 1
    assert f"  {what:<10} failed" in done.stdout
    assert fix in done.stdout


def test_a_check_says_that_a_server_is_not_there(coe: Coe, folder: Path) -> None:
    file = folder / "experts.yaml"
    file.write_text(text(folder).replace("experts:\n", "  gone: http://127.0.0.1:9\nexperts:\n", 1))
    assert coe("experts", "add", "far", "gone/x").returncode == 0

    done = coe("experts", "check", "far")

    assert done.returncode == 1
    assert "reachable  failed" in done.stdout
    assert "start the server, or correct `backends.gone.url`" in done.stdout


def test_an_audition_measures_claims_and_what_the_others_lack(
    coe: Coe, folder: Path, upstream: FakeUpstream
) -> None:
    upstream.says = knows
    skills = "skills={sums: 0.9, trips: 0.95}"
    assert (
        coe("experts", "add", "new", "up/new", "--category", "sums", "--set", skills).returncode
        == 0
    )

    done = coe("experts", "audition", "new", "--kshot", "k.jsonl", "--others", "--json")

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["quality"]["value"] == 0.75
    assert found["by_category"]["sums"]["value"] == 0.5
    claims = {claim["category"]: claim["holds"] for claim in found["claims"]}
    assert claims == {"sums": False, "trips": True}
    assert found["rescues"]["count"] == 0  # between them, the others know everything
    assert found["gain"] == 0
    rows = [json.loads(line) for line in (folder / "pilot.jsonl").read_text().splitlines()]
    assert len(rows) == found["pilots"]["added"] == 50
    assert {row["expert"] for row in rows} == {"new"}
    again = coe("experts", "audition", "new", "--kshot", "k.jsonl", "--json")
    assert json.loads(again.stdout)["pilots"]["added"] == 10
    assert "240 are kept" not in again.stderr
    assert upstream.received == 3 * 80


def test_an_audition_says_what_to_do_next(coe: Coe, upstream: FakeUpstream) -> None:
    upstream.says = knows
    assert coe("experts", "add", "new", "up/new", "--status", "shadow").returncode == 0

    done = coe("experts", "audition", "new", "--kshot", "k.jsonl")

    assert done.returncode == 0, done.stderr
    assert "new: 0.750 [" in done.stdout
    assert "add --others" in done.stdout
    assert "coe experts canary new --share 5%" in done.stdout
    assert "add `new` to the `experts` of a category" in done.stdout


def test_pilots_of_an_audition_route_at_once(
    coe: Coe, folder: Path, upstream: FakeUpstream
) -> None:
    """With no label but those of the audition, the pilot router finds the new expert."""
    upstream.says = knows
    assert (
        coe("experts", "add", "new", "up/new", "--category", "trips", "--status", "live").returncode
        == 0
    )
    seed = [{"text": f"{i} plus {i}", "expert": "one"} for i in range(20)]
    (folder / "pilot.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in seed))
    assert coe("experts", "audition", "new", "--kshot", "k.jsonl").returncode == 0
    file = folder / "experts.yaml"
    pilot = "{type: pilot, queries: pilot.jsonl, encoder: small}"
    routed = text(folder).replace("default: keyword", f"default: {pilot}")
    file.write_text(routed.replace("routers:", "encoders: {small: {type: hashed}}\nrouters:"))

    done = coe("route", "3 train 5", "--json")

    assert done.returncode == 0, done.stderr
    decision = json.loads(done.stdout)
    assert decision["categories"][0]["name"] == "trips"
    assert decision["expert"] == "new"


def test_a_matrix_shows_who_knows_what_the_others_lack(coe: Coe, upstream: FakeUpstream) -> None:
    upstream.says = knows
    assert coe("score", "k.jsonl").returncode == 0

    done = coe("experts", "matrix", "--json")
    shown = coe("experts", "matrix")

    one, two = json.loads(done.stdout)["experts"]
    assert (one["expert"], one["by_category"]["sums"]["value"]) == ("one", 1.0)
    assert one["rescues"]["value"] == 1.0
    assert one["unique"]["value"] == two["unique"]["value"] == 0.5
    assert one["gain"] == 0.5
    assert "one     0.500 [0.39, 0.61]  1.000 [0.91, 1.00] n=40       +0.500" in shown.stdout


def test_a_column_goes_into_the_applied_map(coe: Coe, folder: Path, upstream: FakeUpstream) -> None:
    pytest.importorskip("scipy")
    upstream.says = knows
    assert coe("score", "k.jsonl").returncode == 0
    assert coe("map", "fit").returncode == 0
    assert coe("map", "apply", "--force").returncode == 0
    assert coe("experts", "add", "new", "up/new").returncode == 0

    done = coe("experts", "audition", "new", "--kshot", "k.jsonl", "--into-map")

    assert done.returncode == 0, done.stderr
    live = map_path(folder / "experts.yaml")
    grown = read_map(live)
    assert grown is not None
    assert grown.experts == ("one", "two", "new")
    assert "experts.new" in grown.parts
    assert coe("map", "rollback").returncode == 0
    back = read_map(live)
    assert back is not None
    assert back.experts == ("one", "two")


def test_experts_alone_lists_them(coe: Coe) -> None:
    done = coe("experts", "--json")

    assert [row["expert"] for row in json.loads(done.stdout)] == ["one", "two"]


def test_outcomes_of_an_audition_are_kept(coe: Coe, folder: Path, upstream: FakeUpstream) -> None:
    upstream.says = knows
    coe("experts", "audition", "two", "--kshot", "k.jsonl")

    with OutcomeStore.open(folder / ".coe" / "outcomes.sqlite") as store:
        (count,) = store.counts()
    assert (count.expert, count.outcomes) == ("two", 80)
