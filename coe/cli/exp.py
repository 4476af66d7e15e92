"""`coe exp`: what experiments there are and have shown; begin, pause, promote and take back."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import orjson

from coe.cli.logged import open_logs, warn_of_keys
from coe.cli.printed import columns, print_json, write_file
from coe.cli.serve import read_settings
from coe.composition import Arm, Composition, Experiment, load, units
from coe.composition.draft import Draft
from coe.composition.edit import rewrite, set_key
from coe.composition.variants import keys_of
from coe.errors import ConfigError, NotFound
from coe.experiments import power
from coe.jsonfile import read_object, replace_file
from coe.reporting import page, text
from coe.reporting.gather import gather
from coe.reporting.report import Report
from coe.reporting.report import report as reported
from coe.settings import Settings
from coe.stores.decisions import SHADOW

PROMOTED = "promoted.json"
_TOLD = "a gateway that serves this file follows it on SIGHUP"


def list_experiments(config: Path | None, *, as_json: bool) -> None:
    """Print the experiments of a composition."""
    composition = load(read_settings(config, None, None).config)
    rows = [
        {
            "experiment": one.name,
            "status": one.status,
            "mode": one.mode,
            "unit": one.unit,
            "arms": {arm.name: arm.share for arm in one.arms},
            "metric": one.primary,
        }
        for one in composition.experiments.values()
    ]
    if as_json:
        print_json(rows)
        return
    if not rows:
        print("no experiments in this file; docs/how-to/run-an-experiment.md shows how")
        return
    table = [
        (
            str(row["experiment"]),
            str(row["status"]),
            str(row["mode"]),
            str(row["unit"]),
            ", ".join(_shared(one) for one in composition.experiments[str(row["experiment"])].arms),
            str(row["metric"]),
        )
        for row in rows
    ]
    for line in columns(("experiment", "status", "mode", "unit", "arms", "by"), table):
        print(line)


def show_report(
    name: str,
    config: Path | None,
    *,
    states: Sequence[Path] = (),
    html: Path | None,
    as_json: bool,
) -> None:
    """Print what an experiment has shown; exit 3 where it should end or pause.

    Args:
        name: of the experiment.
        config: the composition file.
        states: the state folders whose logs are read; none: that of the settings.
        html: where a page is written.
        as_json: print all of it.
    """
    settings = read_settings(config, None, None)
    composition = load(settings.config)
    one = experiment_of(composition, name)
    found = read_report(one, settings, states, now=time.time())
    if html is not None:
        write_file(html, page.page(found))
    if as_json:
        print_json(text.document(found))
    else:
        _print(found)
    if found.verdict.is_stop:
        raise SystemExit(3)


def read_report(
    one: Experiment, settings: Settings, states: Sequence[Path] = (), *, now: float
) -> Report:
    """Return what the decision logs say of an experiment.

    Raises:
        NotFound: there is no decision log.
    """
    with open_logs(settings, states) as logs:
        if one.mode != SHADOW and one.unit != "request":  # else each decision is a unit
            warn_of_keys(logs)
        records = logs.records(one.name)
        feedback = logs.feedback(since=records[0].at if records else now)
    return reported(one, gather(one, records, feedback), now=now)


def experiment_of(composition: Composition, name: str) -> Experiment:
    """Return an experiment of a composition. Raises NotFound."""
    one = composition.experiments.get(name)
    if one is None:
        known = ", ".join(composition.experiments) or "none"
        raise NotFound(f"no experiment `{name:.80}` in {composition.source}; there are: {known}")
    return one


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be found, for `coe exp power`.

    Attributes:
        base: the control's share; None for a mean.
        deviation: the standard deviation of a unit's value, for a mean.
        effect: the difference.
        power: how likely it is to be found.
        confidence: of what is said then.
        share: of the units that the arm gets.
        per_day: units a day; None where nobody says.
    """

    base: float | None
    deviation: float | None
    effect: float
    power: float
    confidence: float
    share: float
    per_day: float | None


def show_power(wanted: Wanted, *, as_json: bool) -> None:
    """Print how many units it takes.

    Raises:
        ConfigError: the numbers do not go together.
    """
    if (wanted.base is None) == (wanted.deviation is None):
        raise ConfigError("say what is compared: --base 0.6 for a share, or --deviation 1.2")
    try:
        comparison = (
            power.shares(wanted.base, wanted.effect, part=wanted.share)
            if wanted.base is not None
            else power.means(wanted.deviation or 0.0, wanted.effect, part=wanted.share)
        )
        alpha = 1.0 - wanted.confidence
        fixed = power.size(comparison, power=wanted.power, alpha=alpha)
        worth = abs(wanted.effect)
        sequential = power.sequential_size(comparison, worth, power=wanted.power, alpha=alpha)
        course = power.sequential_course(comparison, sequential, worth, alpha=alpha)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    found = {
        "fixed": fixed,
        "sequential_at_most": sequential,
        "sequential_on_average": ceil(course.units),
    }
    if as_json:
        print_json(found)
        return
    print(f"to find {wanted.effect:+g} with {wanted.power:.0%} power, units of all arms together:")
    for row in columns(("method", "units", "days"), [_days(*one, wanted) for one in found.items()]):
        print(row)


def set_status(name: str, status: str, config: Path | None) -> None:
    """Write an experiment's status into the file."""
    settings = read_settings(config, None, None)
    one = experiment_of(load(settings.config), name)
    if one.status == status:
        print(f"{name} is {status} already")
        return
    rewrite(settings.config, partial(set_key, path=("experiments", name, "status"), value=status))
    print(f"{name}: {one.status} -> {status}; {_TOLD}")


def promote(
    name: str, arm: str, config: Path | None, *, states: Sequence[Path] = (), force: bool
) -> None:
    """Write what an arm changes into the file, and end the experiment.

    Args:
        name: of the experiment.
        arm: whose changes are to stay.
        config: the composition file.
        states: the state folders whose logs are read; none: that of the settings.
        force: although the report does not say that the arm is better.

    Raises:
        ConfigError: the report does not say so, or the file cannot be edited.
    """
    settings = read_settings(config, None, None)
    composition = load(settings.config)
    one = experiment_of(composition, name)
    chosen = next((each for each in one.arms if each.name == arm), None)
    if chosen is None:
        names = ", ".join(each.name for each in one.arms)
        raise NotFound(f"`{name}` has no arm `{arm:.80}`; there are: {names}")
    verdict = read_report(one, settings, states, now=time.time()).verdict
    is_better = verdict.value == "arm better" and verdict.arm == arm
    is_kept = arm == one.arms[0].name and verdict.value in {"control better", "no difference"}
    if not (is_better or is_kept or force):
        raise ConfigError(f"{verdict.sentence} To promote `{arm}` all the same: --force")
    before: dict[str, Any] = {}

    def change(draft: Draft) -> Draft:
        for path, value in chosen.changes.items():
            draft = _put(draft, path, value, before)
        return draft.put(("experiments", name, "status"), "done")

    rewrite(settings.config, change)
    path = settings.state_folder / PROMOTED
    kept = _promotions(path)
    kept.append(
        {"experiment": name, "arm": arm, "at": time.time(), "status": one.status, "before": before}
    )
    _keep(path, kept)
    print(f"{name}: `{arm}` is the file's own way now, and the experiment is done; {_TOLD}")
    for place in chosen.changes:
        print(f"  {place}")


def rollback(name: str, config: Path | None) -> None:
    """Take back what the last promotion of an experiment wrote into the file.

    Raises:
        NotFound: nothing of it was promoted.
    """
    settings = read_settings(config, None, None)
    path = settings.state_folder / PROMOTED
    kept = _promotions(path)
    last = next((one for one in reversed(kept) if one["experiment"] == name), None)
    if last is None:
        raise NotFound(f"nothing of `{name:.80}` was promoted ({path})")

    def change(draft: Draft) -> Draft:
        for place, value in last["before"].items():
            key = tuple(orjson.loads(place))
            draft = draft.put(key, value) if value is not None else draft.remove(key)
        return draft.put(("experiments", name, "status"), "paused")

    rewrite(settings.config, change)
    kept.remove(last)
    _keep(path, kept)
    print(f"{name}: as before `{last['arm']}` was promoted, and paused; {_TOLD}")


def _put(draft: Draft, path: str, value: Any, before: dict[str, Any]) -> Draft:
    """Put a value at an arm's path, and note what was there."""
    key = keys_of(draft.content, path)
    if key[:2] == ("routing", "routes") and len(key) == 3:  # noqa: PLR2004 - a whole route
        # The experts of a category may stand there instead.
        own = ("categories", key[2], "experts")
        if draft.get(own) is not None and isinstance(value, list | str):
            key = own
    before[orjson.dumps(key).decode()] = draft.get(key)
    return draft.put(key, value)


def _promotions(path: Path) -> list[dict[str, Any]]:
    """Return what was promoted, oldest first. Raises ConfigError where the file is damaged."""
    found = read_object(
        path,
        "list of promotions",
        1,
        lambda content: list(content["promoted"]),
        lambda file, wrong: f"{file} {wrong}; move it away to begin anew",
    )
    return found or []


def _keep(path: Path, promoted: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, orjson.dumps({"version": 1, "promoted": promoted}))


def _print(found: Report) -> None:
    for line in text.lines(found):
        print(line)
    print()
    for line in columns(text.HEADS, [text.row(found, arm) for arm in found.arms]):
        print(line)
    for compared in found.verdict.compared:
        print()
        print(f"`{compared.arm}` less `{found.arms[0].name}`: ", end="")
        print(f"{text.between(found, compared.interval)}  {compared.standing}")
        for harm in compared.harms:
            print(f"  {harm.sentence(compared.arm, found.arms[0].name)}")
        rows = [
            (one.category, f"{one.control:,}", f"{one.arm:,}", text.between(found, one.interval))
            for one in found.categories[compared.arm]
        ]
        if rows:
            heads = ("  category", "control", "arm", "effect, of all categories together")
            for line in columns(heads, [("  " + row[0], *row[1:]) for row in rows]):
                print(line)


def _shared(arm: Arm) -> str:
    return f"{arm.name} {units.format_share(arm.share)}" if arm.share else arm.name


def _days(method: str, number: int, wanted: Wanted) -> Sequence[str]:
    days = "-" if wanted.per_day is None else f"{number / wanted.per_day:.1f}"
    return method.replace("_", ", ", 1).replace("_", " "), f"{number:,}", days
