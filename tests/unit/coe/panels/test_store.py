"""Fitted panels as a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coe.aggregators import confidence
from coe.errors import ConfigError
from coe.history import History
from coe.jsonfile import digest
from coe.panels.fitted import AggregatorTest, FittedPanels, Verdict
from coe.panels.gate import Gain
from coe.panels.rates import Rates, count
from coe.panels.store import KEPT, read_panels, write_curves, write_panels
from tests.unit.coe.panels.table import outcomes, recording


def some_rates() -> Rates:
    rows = [
        recording(f"p{i}", {"a": ["yes"], "b": ["yes" if i % 2 else "no"]}, category="xy"[i % 2])
        for i in range(7)
    ]
    return count(outcomes(rows))


def fitted(at: str = "now") -> FittedPanels:
    return FittedPanels(
        rates=some_rates(),
        panels={"x": "trio"},
        verdicts=(
            Verdict(
                category="x",
                panel="trio",
                prompts=7,
                is_on=True,
                over_self=Gain(mean=0.1, low=0.01, high=0.2),
            ),
        ),
        tests=(AggregatorTest(category="x", panel="trio", tests=3, hits=0.5, low=0.1, high=0.9),),
        curves={"a": ((-1.0, 0.25), (-0.1, 0.75))},
        parts={"experts.a": "mark"},
        about={"at": at},
    )


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "deeper" / "experts.panels"
    write_panels(path, fitted())

    found = read_panels(path)

    assert found is not None
    assert found.verdicts == fitted().verdicts
    assert found.tests == fitted().tests
    assert found.panels == {"x": "trio"}
    assert found.curves == fitted().curves
    for category in ("x", "y", None):
        assert found.rates.of(category, wrong=["b"]) == fitted().rates.of(category, wrong=["b"])


def test_where_there_is_no_file_there_is_nothing(tmp_path: Path) -> None:
    assert read_panels(tmp_path / "experts.panels") is None


def change(content: dict[str, Any]) -> dict[str, Any]:
    content["strength"] = 1.0
    return content


def resigned(edit: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], Any]:
    def apply(content: dict[str, Any]) -> dict[str, Any]:
        content.pop("digest")
        edit(content)
        return {**content, "digest": digest(content)}

    return apply


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (change, "does not match its digest"),
        (lambda _: [], "does not hold an object"),
        (lambda content: {**content, "version": 2}, "its version is 2, not 1"),
        (resigned(lambda c: c.pop("experts")), "'experts' is missing"),
        (resigned(lambda c: c.update(experts=["a", "a"])), "not a list of different names"),
        (resigned(lambda c: c.update(strength=0)), "its strength is 0"),
        (
            resigned(lambda c: c["right_together"].update(x={"111": 1})),
            "`x` has a pattern that is not of 2 of 0, 1 and -",
        ),
        (
            resigned(lambda c: c["right_together"].update(x={"11": -1})),
            "`x` counts a pattern -1 times",
        ),
        (resigned(lambda c: c["verdicts"][0].update(colour="red")), "damaged"),
    ],
)
def test_a_damaged_file_is_refused_with_the_fix(
    tmp_path: Path, edit: Callable[[dict[str, Any]], Any], said: str
) -> None:
    path = tmp_path / "experts.panels"
    write_panels(path, fitted())
    path.write_text(json.dumps(edit(json.loads(path.read_text()))))

    with pytest.raises(ConfigError) as error:
        read_panels(path)

    assert said in error.value.message
    assert "coe panel fit" in error.value.message


def test_what_is_no_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "experts.panels"
    path.write_text("{")

    with pytest.raises(ConfigError, match="is damaged"):
        read_panels(path)


def test_a_file_that_cannot_be_written_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("a file")

    with pytest.raises(ConfigError, match="cannot be written"):
        write_panels(tmp_path / "folder" / "experts.panels", fitted())


def test_a_cascade_reads_the_curves(tmp_path: Path) -> None:
    path = tmp_path / "experts.curves"
    write_curves(path, fitted())

    assert confidence.read(path)["a"].at(-0.55) == pytest.approx(0.5)


def test_rates_of_some_experts_are_theirs() -> None:
    rates = some_rates().only(["b"])

    assert rates.experts == ("b",)
    assert rates.of("x")["b"] == pytest.approx(some_rates().of("x")["b"])
    assert np.unique(rates.overall.patterns, axis=0).shape == rates.overall.patterns.shape


def test_one_goes_back_step_by_step(tmp_path: Path) -> None:
    history, live = History(tmp_path / "kept", KEPT), tmp_path / "experts.panels"
    for at in ("one", "two"):
        history.keep(live)
        write_panels(live, fitted(at))

    first, second = history.restore(live), history.restore(live)

    assert first is not None
    assert first.about["at"] == "one"
    assert second is None
    assert not live.exists()
    with pytest.raises(ConfigError, match="none to go back to"):
        history.restore(live)


def test_nobody_goes_back_to_a_damaged_file(tmp_path: Path) -> None:
    history, live = History(tmp_path / "kept", KEPT), tmp_path / "experts.panels"
    live.write_text("{}")

    history.keep(live)

    with pytest.raises(ConfigError, match="none to go back to"):
        history.restore(live)
