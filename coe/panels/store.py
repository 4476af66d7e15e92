"""Fitted panels as a file: `experts.panels` beside `experts.yaml`, meant to be committed.

JSON, a line for each pattern of who was right together, so that a change can be read. It is a
measurement: one that does not match its own digest is refused, whoever changed it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from coe.errors import ConfigError
from coe.history import Kind
from coe.jsonfile import digest, read_object, replace_file
from coe.panels.fitted import AggregatorTest, FittedPanels, Verdict
from coe.panels.gate import Gain
from coe.panels.rates import RIGHT, UNKNOWN, WRONG, Rates, Tally, merged

VERSION = 1
SUFFIX = ".panels"
NOTE = "written by `coe panel apply`; commit it, do not edit it"
_MARKS = {RIGHT: "1", WRONG: "0", UNKNOWN: "-"}
_VALUES = {mark: value for value, mark in _MARKS.items()}
_GAINS = ("over_self", "over_single")


def panels_path(composition: Path) -> Path:
    """Return where the fitted panels of a composition file are, whether they are there or not."""
    return composition.with_suffix(SUFFIX)


def curves_path(composition: Path) -> Path:
    """Return where the experts' confidence curves are: the `map` of `probability_over`."""
    return composition.with_suffix(".curves")


def read_panels(path: Path) -> FittedPanels | None:
    """Return the fitted panels of a file; None where there is none.

    Raises:
        ConfigError: the file cannot be read, is damaged or changed, or of another version.
    """

    def build(content: dict[str, Any]) -> FittedPanels:
        if content.pop("digest") != digest(content):
            raise ConfigError(_fix(path, "does not match its digest: damaged, or changed by hand"))
        return _fitted(content)

    return read_object(path, "file of fitted panels", VERSION, build, _fix)


def write_panels(path: Path, fitted: FittedPanels) -> None:
    """Write fitted panels in one step: whoever reads sees the old or the new. Makes the folder.

    Raises:
        ConfigError: the file cannot be written; it is as it was.
    """
    content = _content(fitted)
    content["digest"] = digest(content)
    write_text(path, json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1))


def write_curves(path: Path, fitted: FittedPanels) -> None:
    """Write the confidence curves, as `first_good` reads them; no file where there are none.

    Raises:
        ConfigError: the file cannot be written; it is as it was.
    """
    if fitted.curves:
        write_text(path, json.dumps(_curves(fitted), ensure_ascii=False, allow_nan=False, indent=1))


def write_text(path: Path, text: str) -> None:
    """Write a file in one step. Raises ConfigError: it is as it was."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, f"{text}\n".encode())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None


KEPT = Kind(
    suffix=SUFFIX,
    none="no panels were replaced here, so there are none to go back to",
    read=read_panels,
    write=write_panels,
    remove=partial(Path.unlink, missing_ok=True),
)
"""How a `History` keeps fitted panels."""


def _content(fitted: FittedPanels) -> dict[str, Any]:
    rates = fitted.rates
    return {
        "version": VERSION,
        "note": NOTE,
        "about": dict(fitted.about),
        "panels": dict(fitted.panels),
        "verdicts": [asdict(row) for row in fitted.verdicts],
        "tests": [asdict(row) for row in fitted.tests],
        "curves": _curves(fitted),
        "experts": list(rates.experts),
        "strength": rates.strength,
        "right_together": {name: _written(tally) for name, tally in rates.categories.items()},
        "parts": dict(sorted(fitted.parts.items())),
    }


def _curves(fitted: FittedPanels) -> dict[str, list[list[float]]]:
    return {name: [list(knot) for knot in knots] for name, knots in fitted.curves.items()}


def _written(tally: Tally) -> dict[str, float]:
    return {
        "".join(_MARKS[mark] for mark in pattern): times
        for pattern, times in zip(tally.patterns.tolist(), tally.counts.tolist(), strict=True)
    }


def _fitted(content: Mapping[str, Any]) -> FittedPanels:
    experts = _names(content["experts"])
    categories = {
        str(name): _tally(name, patterns, len(experts))
        for name, patterns in content["right_together"].items()
    }
    strength = float(content["strength"])
    if not strength > 0:
        raise ValueError(f"its strength is {strength}")
    rates = Rates(
        experts=experts,
        categories=categories,
        overall=merged(categories.values(), len(experts)),
        strength=strength,
    )
    return FittedPanels(
        rates=rates,
        panels={str(name): str(panel) for name, panel in content["panels"].items()},
        verdicts=tuple(_verdict(row) for row in content["verdicts"]),
        tests=tuple(AggregatorTest(**row) for row in content["tests"]),
        curves={
            str(name): tuple((float(x), float(y)) for x, y in knots)
            for name, knots in content["curves"].items()
        },
        parts={str(name): str(mark) for name, mark in content["parts"].items()},
        about=dict(content["about"]),
    )


def _names(names: Any) -> tuple[str, ...]:
    if not isinstance(names, list) or len(set(map(str, names))) != len(names):
        raise ValueError("its experts are not a list of different names")
    return tuple(map(str, names))


def _tally(category: str, patterns: Mapping[str, Any], width: int) -> Tally:
    for pattern, times in patterns.items():
        if len(pattern) != width or set(pattern) - _VALUES.keys():
            raise ValueError(f"`{category}` has a pattern that is not of {width} of 0, 1 and -")
        if not (isinstance(times, int | float) and 0 < times < np.inf):
            raise ValueError(f"`{category}` counts a pattern {times} times")
    marks = np.array([[_VALUES[mark] for mark in pattern] for pattern in patterns], dtype=np.int8)
    return Tally(
        patterns=marks.reshape(len(patterns), width),
        counts=np.array(list(patterns.values()), dtype=np.float64),
    )


def _verdict(row: Mapping[str, Any]) -> Verdict:
    return Verdict(**{**row, **{name: Gain(**row[name]) for name in _GAINS}})


def _fix(path: Path, why: str) -> str:
    return (
        f"{path}: {why}; run `coe panel fit` and `coe panel apply` again, or `coe panel rollback`, "
        "or delete the file: panels then sit by the written ranking"
    )
