"""Served by a fitted map: real sockets, the real openai SDK, the map's file, and the commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openai
import orjson
import pytest

from coe.composition import load
from coe.composition.measured import measured
from coe.errors import ConfigError
from coe.mapping import NONE, FittedMap
from coe.mapping.store import write_map
from coe.testing.upstream import FakeUpstream

from .conftest import Coe, Serve

pytestmark = pytest.mark.anyio

FILE = """
version: 1
backends: {{up: "{url}"}}
experts:
  plain: {{backend: up, model: ok, cost: {{input: 0 USD/M, output: 1 USD/M}}}}
  grand: {{backend: up, model: also-ok, cost: {{input: 0 USD/M, output: 30 USD/M}}}}
  fresh: {{backend: up, model: fresh}}
categories:
  code: {{keywords: [bash], experts: [fresh, plain]}}
  law: {{keywords: [contract], experts: [plain]}}
routing: {{choose: fitted, guard: {guard}}}
default: plain
"""
#           plain grand
QUALITY = [[0.70, 0.74], [0.40, 0.90], [0.60, 0.70]]
COST = [[0.001, 0.03]] * 3
CODE = "write a bash script"
LAW = "read this contract"


def text(upstream: str = "http://127.0.0.1:9", guard: str = "report") -> str:
    return FILE.format(url=upstream, guard=guard)


def apply(folder: Path, file: str, **fields: Any) -> None:
    """Write a composition, and the map that was fitted to it."""
    path = folder / "experts.yaml"
    path.write_text(file)
    quality = np.array(QUALITY)
    parts = {
        name: mark for name, mark in measured(load(path)).items() if not name.endswith("fresh")
    }
    given: dict[str, Any] = {
        "categories": ("code", "law", NONE),
        "experts": ("plain", "grand"),
        "quality": quality,
        "lower": quality - 0.05,
        "upper": quality + 0.05,
        "counts": np.full(quality.shape, 100.0),
        "cost": np.array(COST),
        "latency_s": np.full(quality.shape, np.nan),
        "traffic": np.array([0.5, 0.3, 0.2]),
        "used": ("plain", "grand"),
        "assignment": ("plain", "grand", "plain"),
        "price_weight": 5.0,
        "best_single": "grand",
        "verdict": "better",
        "parts": parts,
    }
    write_map(path.with_suffix(".map"), FittedMap(**{**given, **fields}))


async def answer(api: openai.AsyncOpenAI, model: str, prompt: str) -> tuple[str, Any]:
    raw = await api.chat.completions.with_raw_response.create(
        model=model, messages=[{"role": "user", "content": prompt}]
    )
    return raw.parse().model, raw.headers


async def test_cheap_and_best_go_to_different_experts(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path
) -> None:
    apply(tmp_path, text(upstream.url))
    async with (
        serve(text(upstream.url)) as running,
        openai.AsyncOpenAI(base_url=running.url, api_key="unused") as api,
    ):
        cheap, headers = await answer(api, "coe/cheap", CODE)
        best, _ = await answer(api, "coe/best", CODE)
        auto, _ = await answer(api, "coe/auto", CODE)
        law, _ = await answer(api, "coe/cheap", LAW)
        chosen = {
            choose: running.metric(f'coe_map_choices_total{{choose="{choose}"')
            for choose in ("fitted", "cheapest_good", "ranked")
        }

    assert (cheap, best, auto, law) == ("plain", "grand", "plain", "grand")
    assert headers["x-coe-choose"] == "cheapest_good"
    assert headers["x-coe-expected-quality"] == "0.700"
    assert headers["x-coe-expected-cost"] == "0.001"
    assert chosen == {"fitted": 2, "cheapest_good": 2, "ranked": 0}


async def test_the_route_shows_what_is_expected_of_every_expert(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path
) -> None:
    apply(tmp_path, text(upstream.url))
    async with serve(text(upstream.url)) as running:
        body = {"input": LAW, "model": "coe/best"}
        response = await running.request("POST", f"{running.url}/route", json=body)
        decision = await response.json()

    assert decision["expert"] == "grand"
    assert decision["fallbacks"] == ["plain"]
    assert decision["choice"]["choose"] == "fitted"
    assert decision["choice"]["price_weight"] == 0
    assert decision["choice"]["experts"][0] == {
        "expert": "grand",
        "quality": pytest.approx(0.9),
        "lower": pytest.approx(0.85),
        "upper": pytest.approx(0.95),
        "cost": pytest.approx(0.03),
        "latency_s": None,
        "utility": pytest.approx(0.9),
    }


async def test_a_new_expert_is_behind_those_of_the_map(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path
) -> None:
    apply(tmp_path, text(upstream.url))
    async with serve(text(upstream.url)) as running:
        response = await running.request("POST", f"{running.url}/route", json={"input": CODE})
        decision = await response.json()
        is_stale = running.metric("coe_map_stale")

    assert [decision["expert"], *decision["fallbacks"]] == ["plain", "grand", "fresh"]
    assert is_stale == 1


async def test_an_expert_that_has_changed_is_ranked_by_the_file_alone(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path
) -> None:
    apply(tmp_path, text(upstream.url))
    changed = text(upstream.url).replace("also-ok", "ok-but-other")
    async with serve(changed) as running:
        response = await running.request(
            "POST", f"{running.url}/route", json={"input": LAW, "model": "coe/best"}
        )
        decision = await response.json()

    assert decision["expert"] == "plain"
    assert [row["expert"] for row in decision["choice"]["experts"]] == ["plain"]


async def test_a_category_that_has_changed_is_ranked_by_the_file_alone(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path
) -> None:
    apply(tmp_path, text(upstream.url))
    changed = text(upstream.url).replace("[bash]", "[bash, shell]")
    async with serve(changed) as running:
        response = await running.request("POST", f"{running.url}/route", json={"input": CODE})
        decision = await response.json()

    assert decision["expert"] == "fresh"
    assert decision["choice"]["choose"] == "ranked"
    assert "`code`" in decision["choice"]["detail"]


@pytest.mark.parametrize(("guard", "expert"), [("report", "plain"), ("enforce", "grand")])
async def test_a_flagged_map_is_used_only_where_the_guard_reports(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path, guard: str, expert: str
) -> None:
    file = text(upstream.url, guard)
    apply(tmp_path, file, verdict="not better")
    async with serve(file) as running:
        response = await running.chat(text=CODE)
        answered = (await response.json())["model"]
        is_flagged = running.metric("coe_map_flagged")

    assert answered == expert
    assert is_flagged == 1


async def test_a_composition_that_is_refused_leaves_what_is_said_of_the_map(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path
) -> None:
    file = text(upstream.url)
    apply(tmp_path, file, verdict="not better")
    async with serve(file) as running:
        (tmp_path / "experts.map").unlink()
        with pytest.raises(ConfigError, match=r"there is no experts\.map"):
            await running.live.replace(load(tmp_path / "experts.yaml"))
        refused = running.metric("coe_map_flagged")
        by_hand = file.replace("choose: fitted, ", "")
        (tmp_path / "experts.yaml").write_text(by_hand)
        await running.live.replace(load(tmp_path / "experts.yaml"))
        replaced = running.metric("coe_map_flagged")

    assert (refused, replaced) == (1, 0)


async def test_a_map_is_put_to_use_while_the_gateway_serves(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    by_hand = text(upstream.url).replace("choose: fitted, ", "")
    async with serve(by_hand) as running:
        before = (await running.chat("coe/best", LAW)).headers["x-coe-expert"]
        (tmp_path / "experts.yaml").write_text(text(upstream.url))
        with pytest.raises(ConfigError, match=r"there is no experts\.map"):
            await running.live.replace(load(tmp_path / "experts.yaml"))
        refused = (await running.chat("coe/best", LAW)).headers["x-coe-choose"]
        apply(tmp_path, text(upstream.url), verdict="not better")
        await running.live.replace(load(tmp_path / "experts.yaml"))
        after = (await running.chat("coe/best", LAW)).headers["x-coe-expert"]

    assert (before, refused, after) == ("plain", "ranked", "grand")
    assert "experts.map is flagged" in caplog.text


async def test_a_conversation_is_on_one_side_of_a_canary(
    serve: Serve, upstream: FakeUpstream
) -> None:
    file = f"""
version: 1
backends: {{up: "{upstream.url}"}}
experts:
  old: {{backend: up, model: ok}}
  trial: {{backend: up, model: trial, status: canary, share: 50%}}
categories:
  code: {{keywords: [bash], experts: [trial, old]}}
default: old
"""
    found: dict[str, set[str]] = {}
    async with serve(file) as running:
        for number in range(48):
            session = f"s{number % 12}"
            response = await running.request(
                "POST",
                f"{running.url}/chat/completions",
                json={"model": "coe/auto", "messages": [{"role": "user", "content": CODE}]},
                headers={"x-session-id": session},
            )
            found.setdefault(session, set()).add(response.headers["x-coe-expert"])
        named = await running.chat("trial")
        answered = (await named.json())["model"]

    assert all(len(experts) == 1 for experts in found.values())
    assert set.union(*found.values()) == {"old", "trial"}
    assert answered == "trial"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def test_a_map_that_is_asked_for_and_not_there_is_an_error(coe: Coe, folder: Path) -> None:
    asking = text() + "models:\n  mine: {quality_floor: 0.6}\n"
    folder.joinpath("experts.yaml").write_text(asking)

    checked = coe("check", "experts.yaml")
    routed = coe("route", CODE)

    for done in (checked, routed):
        assert done.returncode == 2
        assert (
            "routing.choose, models.mine: experts are to be chosen by a fitted map" in done.stderr
        )
        assert "`coe map fit` and `coe map apply`" in done.stderr


def test_cheap_and_best_are_there_without_a_map(coe: Coe, folder: Path) -> None:
    folder.joinpath("experts.yaml").write_text(text().replace("choose: fitted, ", ""))

    done = coe("route", CODE, "--model", "coe/cheap")

    assert done.returncode == 0, done.stderr
    assert "expert    fresh" in done.stdout
    assert "choice    ranked: no map was fitted and applied" in done.stdout


def test_what_is_doubtful_about_a_map_is_said_by_check(coe: Coe, folder: Path) -> None:
    apply(folder, text(guard="enforce"), verdict="dearer")

    done = coe("check", "experts.yaml")

    assert done.returncode == 0, done.stderr
    assert "warning: " in done.stderr
    assert "experts.map is stale: `experts.fresh` is new; until `coe map fit`" in done.stderr
    assert "experts.map is flagged: it costs more than the best single expert" in done.stderr
    assert "`grand` answers first" in done.stderr


def test_a_route_is_printed_with_what_is_expected(coe: Coe, folder: Path) -> None:
    apply(folder, text())

    done = coe("route", LAW, "--model", "coe/best")
    as_json = orjson.loads(coe("route", LAW, "--json").stdout)

    cheap = coe("route", LAW, "--model", "coe/cheap").stdout
    auto = coe("route", LAW).stdout

    assert "choice    fitted: money is no object" in done.stdout
    assert "choice    cheapest_good: 0.05 under the best, or better" in cheap
    assert "choice    fitted: 10 points of quality are worth 0.02" in auto
    assert "expected  0.900 [0.850, 0.950]  cost 0.03  utility 0.900  grand" in done.stdout
    assert as_json["choice"]["experts"][0]["expert"] == "grand"


def test_a_map_that_somebody_changed_is_refused(coe: Coe, folder: Path) -> None:
    apply(folder, text())
    path = folder / "experts.map"
    path.write_text(path.read_text().replace('"better"', '"cheaper"'))

    done = coe("check", "experts.yaml")

    assert done.returncode == 2
    assert "experts.map" in done.stderr
    assert "changed by hand" in done.stderr


def test_experts_are_listed_with_their_share(coe: Coe, folder: Path) -> None:
    trial = "  trial: {backend: up, model: t, status: canary, share: 10%}\ncategories:"
    file = text().replace("choose: fitted, ", "").replace("categories:", trial)
    folder.joinpath("experts.yaml").write_text(file)

    rows = {row["expert"]: row for row in orjson.loads(coe("experts", "--json").stdout)}

    assert (rows["trial"]["status"], rows["trial"]["share"]) == ("canary", "10%")
    assert rows["plain"]["share"] == ""
