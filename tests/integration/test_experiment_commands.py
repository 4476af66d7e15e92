"""`coe exp`, on a decision log that was written as a gateway writes it."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from coe.composition import load
from coe.stores.decisions import FILE, DecisionStore, Feedback, Record

from .conftest import Coe

COMPOSITION = """\
version: 1
backends: {up: "http://127.0.0.1:9"}
experts: {good: up/a, other: up/b}
categories:
  code: {utterances: [a, b, c, d, e], experts: [good, other]}  # who codes
  prose: {utterances: [f, g, h, i, j], experts: [good]}
default: good
experiments:
  swap:
    status: running
    unit: user
    arms:
      control: 50%
      swapped: {share: 50%, set: {routing.routes.code: [other, good], routing.threshold: 0.7}}
    metrics: {guardrails: {error_rate: 1pt, p95: 20%}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "experts.yaml").write_text(COMPOSITION)
    return tmp_path


def write_log(
    folder: Path,
    quality: Mapping[str, float],
    units: Mapping[str, int] | None = None,
    errors: Mapping[str, float] | None = None,
    seed: int = 0,
) -> None:
    """Write what units of each arm would have done: two requests each, one with feedback."""
    chance = random.Random(seed)  # noqa: S311 - a simulation
    dealt = [
        arm for arm, count in (units or dict.fromkeys(quality, 2500)).items() for _ in range(count)
    ]
    chance.shuffle(dealt)
    store = DecisionStore.open(folder / ".coe" / FILE)
    start = time.time() - 86_400
    records, said = [], []
    for number, arm in enumerate(dealt):
        for turn in range(2):
            name = f"d{number}-{turn}"
            fails = chance.random() < (errors or {}).get(arm, 0.0)
            records.append(
                Record(
                    id=name,
                    at=start + number + turn / 2,
                    status=502 if fails else 200,
                    category="code" if number % 2 else "prose",
                    arms={"swap": arm},
                    latency_s=chance.lognormvariate(0, 0.3),
                    cost=0.001,
                    detail={"units": {"swap": f"u{number}"}, "tokens": 100},
                )
            )
            if turn == 0:
                value = float(chance.random() < quality[arm])
                said.append(Feedback(decision=name, at=start + number, value=value, key="k"))
    store.add(records)
    for one in said:
        store.say(one)
    store.close()


def report(coe: Coe) -> tuple[int, dict[str, object], str]:
    done = coe("exp", "report", "swap", "--json")
    assert done.returncode in {0, 3}, done.stderr
    shown = coe("exp", "report", "swap")
    assert shown.returncode == done.returncode
    return done.returncode, json.loads(done.stdout), shown.stdout


def test_a_better_arm_is_found_promoted_and_taken_back(folder: Path, coe: Coe) -> None:
    write_log(folder, {"control": 0.6, "swapped": 0.7})
    status, found, shown = report(coe)

    assert status == 3
    verdict = found["verdict"]
    assert isinstance(verdict, dict)
    assert verdict["value"] == "arm better"
    assert "Stop: `swapped` is better than `control`." in shown
    assert "on 5,000 users and 10,000 requests" in shown
    assert "split: as it should be" in shown
    (compared,) = verdict["compared"]
    assert compared["interval"]["low"] > 0.03
    assert compared["interval"]["high"] < 0.17
    arms = found["arms"]
    assert isinstance(arms, list)
    assert [arm["units"] for arm in arms] == [2500, 2500]
    assert abs(arms[0]["mean"] - 0.6) < 0.05
    assert "code " in shown
    assert "prose" in shown

    refused = coe("exp", "promote", "swap", "control")
    assert refused.returncode == 2
    assert "--force" in refused.stderr
    assert coe("exp", "promote", "swap", "swapped").returncode == 0
    composition = load(folder / "experts.yaml")
    assert composition.routing.routes["code"] == ("other", "good")
    assert composition.routing.threshold == 0.7
    assert composition.experiments["swap"].status == "done"
    assert "# who codes" in (folder / "experts.yaml").read_text()

    assert coe("exp", "rollback", "swap").returncode == 0
    composition = load(folder / "experts.yaml")
    assert composition.routing.routes["code"] == ("good", "other")
    assert composition.routing.threshold == 0.5
    assert composition.experiments["swap"].status == "paused"
    again = coe("exp", "rollback", "swap")
    assert again.returncode == 1
    assert "nothing of `swap` was promoted" in again.stderr


SECRET = "s" * 32


def users_log(
    state: Path, users: range, decisions: str = "", secret: str = SECRET, salt: str = ""
) -> None:
    """Write one decision and a word on it for each user, as one of several gateways does.

    Args:
        state: its folder.
        users: even ones are in the control arm.
        decisions: the beginning of their ids.
        secret: that the gateways share.
        salt: of the arms; where it is another one, users are in the other arm.
    """
    store = DecisionStore.open(state / FILE, secret)
    start = time.time() - 86_400
    for user in users:
        arm = ("control", "swapped")[(user + bool(salt)) % 2]
        name = f"{decisions}{user}"
        unit = store.digest(["swap", f"user-{user}"])
        store.add(
            [Record(id=name, at=start + user, arms={"swap": arm}, detail={"units": {"swap": unit}})]
        )
        store.say(Feedback(decision=name, at=start + user, value=user % 3 / 2, key="k"))
    store.close()


def of_states(coe: Coe, *states: Path) -> tuple[dict[str, Any], str]:
    """Return the report over some state folders, and what was said of them."""
    named = [word for state in states for word in ("--state", str(state))]
    done = coe("exp", "report", "swap", "--json", *named)
    assert done.returncode in {0, 3}, done.stderr
    return json.loads(done.stdout), done.stderr


def test_the_logs_of_several_gateways_are_read_as_one(folder: Path, coe: Coe) -> None:
    users_log(folder / "a", range(150), "a")
    users_log(folder / "b", range(100, 200), "b")
    found, said = of_states(coe, folder / "a", folder / "b")

    assert [arm["units"] for arm in found["arms"]] == [100, 100]  # 50 were served by both
    assert sum(arm["requests"] for arm in found["arms"]) == 250
    assert found["crossed"] == 0
    assert said == ""


def test_a_decision_in_two_logs_counts_once(folder: Path, coe: Coe) -> None:
    """As where a folder was copied: its last word on an answer is the one that counts."""
    users_log(folder / "a", range(100))
    users_log(folder / "b", range(100))
    one, _ = of_states(coe, folder / "a")
    both, _ = of_states(coe, folder / "a", folder / "b", folder / "a")

    assert both["arms"] == one["arms"]


def test_who_is_in_two_arms_of_two_gateways_is_in_neither(folder: Path, coe: Coe) -> None:
    users_log(folder / "a", range(100), "a")
    users_log(folder / "b", range(50, 150), "b", salt="another")
    found, _ = of_states(coe, folder / "a", folder / "b")

    assert found["crossed"] == 50
    assert sum(arm["units"] for arm in found["arms"]) == 100


def test_logs_that_name_users_each_in_its_own_way_say_so(folder: Path, coe: Coe) -> None:
    users_log(folder / "a", range(100), "a", secret="")
    users_log(folder / "b", range(100), "b", secret="")
    found, said = of_states(coe, folder / "a", folder / "b")

    assert sum(arm["units"] for arm in found["arms"]) == 200
    assert "counts several times" in said
    assert "COE_REPLICA_SECRET" in said


def test_a_state_folder_without_a_log_is_named(folder: Path, coe: Coe) -> None:
    users_log(folder / "a", range(10))
    done = coe("exp", "report", "swap", "--state", str(folder / "a"), "--state", "elsewhere")

    assert done.returncode == 1
    assert f"elsewhere/{FILE}: no decisions were written here" in done.stderr
    assert not (folder / "elsewhere").exists()


def test_a_promotion_looks_at_all_logs_that_are_named(folder: Path, coe: Coe) -> None:
    write_log(folder, {"control": 0.6, "swapped": 0.7})
    users_log(folder / "a", range(10))
    refused = coe("exp", "promote", "swap", "swapped", "--state", "a")
    done = coe("exp", "promote", "swap", "swapped", "--state", "a", "--state", ".coe")

    assert refused.returncode == 2
    assert done.returncode == 0, done.stderr


def test_a_broken_split_says_so_before_all_else(folder: Path, coe: Coe) -> None:
    write_log(folder, {"control": 0.6, "swapped": 0.8}, {"control": 2500, "swapped": 2100})
    status, _, shown = report(coe)

    assert status == 3
    assert "Stop: the split is broken" in shown
    assert "split: BROKEN" in shown
    refused = coe("exp", "promote", "swap", "swapped")
    assert refused.returncode == 2
    assert "the split is broken" in refused.stderr


def test_a_guardrail_pauses(folder: Path, coe: Coe) -> None:
    write_log(folder, {"control": 0.6, "swapped": 0.7}, errors={"control": 0.01, "swapped": 0.06})
    status, _, shown = report(coe)

    assert status == 3
    assert "Pause: `swapped` does harm" in shown
    assert "error rate of `swapped`: +" in shown


def test_two_alike_go_on_and_then_end(folder: Path, coe: Coe) -> None:
    file = folder / "experts.yaml"
    file.write_text(file.read_text() + "    stop: {worth: 6pt}\n")
    write_log(folder, {"control": 0.6, "swapped": 0.6}, {"control": 300, "swapped": 300})
    status, _, shown = report(coe)
    assert status == 0
    assert "Keep going" in shown

    more = {"control": 3500, "swapped": 3500}
    (folder / ".coe" / FILE).unlink()
    write_log(folder, {"control": 0.6, "swapped": 0.6}, more, seed=1)
    status, _, shown = report(coe)
    assert status == 3
    assert "no arm is better than `control` by 6.0 points" in shown


def test_units_in_two_arms_are_left_out(folder: Path, coe: Coe) -> None:
    write_log(folder, {"control": 0.6, "swapped": 0.6}, {"control": 200, "swapped": 200})
    store = DecisionStore.open(folder / ".coe" / FILE)
    first = next(store.records())
    other = {"control": "swapped", "swapped": "control"}[first.arms["swap"]]
    store.add([Record(id="late", at=time.time(), arms={"swap": other}, detail=first.detail)])
    store.close()
    _, found, shown = report(coe)
    assert found["crossed"] == 1
    assert "1 units were seen in two arms" in shown


def test_start_pause_and_list(folder: Path, coe: Coe) -> None:
    assert coe("exp", "pause", "swap").returncode == 0
    assert load(folder / "experts.yaml").experiments["swap"].status == "paused"
    assert "is paused already" in coe("exp", "pause", "swap").stdout
    assert coe("exp", "start", "swap").returncode == 0
    listed = coe("exp", "list").stdout
    assert "swap" in listed
    assert "control 50%, swapped 50%" in listed
    missing = coe("exp", "start", "swop")
    assert missing.returncode == 1
    assert "no experiment `swop`" in missing.stderr
    assert "there are: swap" in missing.stderr
    assert "no decisions were written here" in coe("exp", "report", "swap").stderr


def test_power(coe: Coe) -> None:
    found = json.loads(coe("exp", "power", "--effect", "0.05", "--base", "0.6", "--json").stdout)
    assert found["fixed"] == pytest.approx(2941, rel=0.01)  # G*Power: 1,471 in each group
    assert found["fixed"] < found["sequential_on_average"] < found["sequential_at_most"]
    wrong = coe("exp", "power", "--effect", "0.05")
    assert wrong.returncode == 2
    assert "--base 0.6" in wrong.stderr
    assert coe("exp", "power", "--effect", "0.5", "--base", "0.6").returncode == 2


def test_feedback_on_a_request_that_ended_after_later_ones_counts(folder: Path, coe: Coe) -> None:
    store = DecisionStore.open(folder / ".coe" / FILE)
    now = time.time() - 60
    for at, name in ((2, "late"), (1, "early")):  # written as they ended
        detail = {"units": {"swap": name}}
        store.add([Record(id=name, at=now + at, arms={"swap": "control"}, detail=detail)])
        store.say(Feedback(decision=name, at=now + 3, value=1.0))
    store.close()

    out = coe("exp", "report", "swap", "--json").stdout
    control, _ = json.loads(out)["arms"]
    assert control["said"] == control["units"] == 2
