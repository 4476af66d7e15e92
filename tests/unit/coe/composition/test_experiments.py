"""What is read of experiments, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from coe.composition import Composition, load
from coe.errors import CompositionError

FILE = """
version: 1
backends: {{up: "http://127.0.0.1:9"}}
experts: {{good: up/a, other: up/b}}
categories:
  code: {{utterances: [a, b, c, d, e], experts: [good, other]}}
  math.stats: {{utterances: [f, g, h, i, j], experts: [good]}}
default: good
routing: {{threshold: 0.4}}
experiments:
{experiments}
"""
SPLIT = """
  better:
    status: running
    arms:
      control: 90%
      swapped: {share: 10%, set: {routing.routes.code: [other, good]}}
"""


def read(tmp_path: Path, experiments: str) -> Composition:
    file = tmp_path / "experts.yaml"
    file.write_text(FILE.format(experiments=experiments))
    return load(file)


def problems(tmp_path: Path, experiments: str) -> str:
    with pytest.raises(CompositionError) as error:
        read(tmp_path, experiments)
    return str(error.value)


def test_an_arm_is_a_composition(tmp_path: Path) -> None:
    composition = read(tmp_path, SPLIT)

    experiment = composition.experiments["better"]
    assert [arm.share for arm in experiment.arms] == [0.9, 0.1]
    assert experiment.is_split
    (variant,) = composition.variants.values()
    assert list(composition.variants) == [(("better", "swapped"),)]
    assert composition.routing.routes["code"] == ("good", "other")
    assert variant.routing.routes["code"] == ("other", "good")
    assert variant.routing.threshold == 0.4
    assert variant.fingerprint != composition.fingerprint
    assert not variant.experiments


@pytest.mark.parametrize(
    ("path", "value", "look"),
    [
        ("categories.code.experts", "[other]", lambda c: c.routing.routes["code"] == ("other",)),
        ("categories.math.stats.threshold", "0.9", lambda c: c.categories["math.stats"].category),
        ("routing.threshold", "0.7", lambda c: c.routing.threshold == 0.7),
        ("default", "other", lambda c: c.default == "other"),
        ("experts.good.defaults", "{temperature: 0}", lambda c: c.experts["good"].defaults),
        ("experts.good.defaults.temperature", "0", lambda c: c.experts["good"].defaults),
        ("fallbacks.attempts", "1", None),
        ("backends.up", "http://127.0.0.1:8", None),
        ("experts.good.model", "c", None),
        ("experts.good", "up/c", None),
        ("routing..threshold", "0.7", None),
    ],
)
def test_what_arms_may_change(tmp_path: Path, path: str, value: str, look: object) -> None:
    text = SPLIT.replace("routing.routes.code: [other, good]", f"{path}: {value}")
    if look is None:
        message = problems(tmp_path, text)
        assert "experiments.better.arms.swapped" in message
        assert f"`{path}`" in message
    else:
        (variant,) = read(tmp_path, text).variants.values()
        assert look(variant)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("10%,", "20%,", "sum to 110 %"),
        ("share: 10%, ", "", "`share` is missing"),
        ("10%", "0.1", "is no share|is not a share|no unit"),
        ("routing.routes.code:", "routing.rutes.code:", "with this arm, `routing.rutes`"),
        ("[other, good]", "[nobody]", "there is no expert `nobody`"),
        ("control: 90%\n", "", "it takes 2 or more"),
        ("status: running", "status: started", "`started` is not one of draft"),
        ("status: running", "status: running\n    sample: 5%", "`sample` is for `mode: shadow`"),
        ("status: running", "status: running\n    metrics: latency", "`worth` is missing"),
        ("status: running", "status: running\n    stop: {worth: 0.2s}", "not a number of points"),
        ("status: running", "status: running\n    stop: {method: fixed}", "`per_arm` is missing"),
        ("status: running", "status: running\n    metrics: judge", "there is one answer"),
        (
            "status: running",
            "status: running\n    audience: {categories: [cod]}",
            "there is no category `cod` (did you mean `code`?)",
        ),
        (
            "status: running",
            "status: running\n    audience: {models: [coe/auto, coe/atuo]}",
            "there is no model `coe/atuo`",
        ),
        (
            "status: running",
            "status: running\n    metrics: {guardrails: {error_rate: 5%}}",
            "not a number of points",
        ),
    ],
)
def test_what_is_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    import re

    message = problems(tmp_path, SPLIT.replace(old, new, 1))

    assert any(part in message for part in words.split("|")), message
    assert re.search(r"experts\.yaml:\d+:\d+", message)


def test_two_that_change_the_same_are_not_run_together(tmp_path: Path) -> None:
    other = SPLIT.replace("better:", "worse:").replace("routing.routes.code", "routing.routes")
    other = other.replace("[other, good]", "{code: [other]}")
    message = problems(tmp_path, SPLIT + other)
    assert "`better` and `worse` both change `routing.routes.code`" in message

    assert read(tmp_path, SPLIT + other.replace("running", "paused")).experiments["worse"]


def test_two_that_change_different_things_make_four(tmp_path: Path) -> None:
    other = SPLIT.replace("better:", "keener:").replace("routing.routes.code", "routing.threshold")
    other = other.replace("[other, good]", "0.9").replace("swapped", "keen")
    composition = read(tmp_path, SPLIT + other)

    assert set(composition.variants) == {
        (("better", "swapped"),),
        (("keener", "keen"),),
        (("better", "swapped"), ("keener", "keen")),
    }
    both = composition.variants[("better", "swapped"), ("keener", "keen")]
    assert both.routing.threshold == 0.9
    assert both.routing.routes["code"] == ("other", "good")


def test_a_shadow(tmp_path: Path) -> None:
    text = """
  beside:
    status: running
    mode: shadow
    sample: 20%
    metrics: judge
    judge: {expert: good, max_cost_per_day: 3 USD}
    arms: {control: {}, swapped: {set: {routing.routes.code: [other]}}}
"""
    experiment = read(tmp_path, text).experiments["beside"]
    assert experiment.is_shadow
    assert (experiment.sample, experiment.judge, experiment.max_cost_per_day) == (0.2, "good", 3.0)

    for old, new, words in (
        ("{expert: good, ", "{expert: nobody, ", "there is no expert `nobody`"),
        ("metrics: judge", "metrics: feedback", "nobody sees the answers"),
        ("control: {}", "control: 50%", "every arm answers"),
    ):
        assert words in problems(tmp_path, text.replace(old, new))
