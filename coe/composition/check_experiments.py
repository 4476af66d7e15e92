"""Checks of experiments: their shares are a whole, and nothing is compared with itself."""

from __future__ import annotations

from coe.composition import units
from coe.composition.complete import complete
from coe.composition.document import KeyPath
from coe.composition.experiment_keys import ExperimentKeys
from coe.composition.models import FileKeys
from coe.composition.names import check_known
from coe.composition.report import Report, suggestion
from coe.composition.variants import MOST, changes, combined, overlapping
from coe.experiments.assign import split

WORTH = 0.03
_SHARES = frozenset({"feedback", "judge", "errors"})


def check_experiments(file: FileKeys, report: Report) -> None:
    """Report experiments that cannot be run, or whose result would mean nothing."""
    models = set(complete(file).models)
    for name, keys in file.experiments.items():
        path: KeyPath = ("experiments", name)
        _check_arms(keys, path, report)
        _check_stop(keys, path, report)
        _check_audience(keys, path, file, models, report)
        if keys.mode == "split":
            _check_split(keys, path, file, report)
        else:
            _check_shadow(keys, path, file, report)
    for one, other, changed in overlapping(file.experiments):
        message = f"`{one}` and `{other}` both change `{changed}`, and both are running"
        report.error(("experiments", other), message, "pause one of the two", key=True)
    if sum(1 for _ in combined(file.experiments)) > MOST:
        message = f"the running experiments have more than {MOST} combinations of arms"
        report.error(("experiments",), message, "pause some of them", key=True)


def worth_of(keys: ExperimentKeys) -> float | None:
    """Return the smallest difference worth having, in the units of the metric; None by default.

    Raises:
        ValueError: it is not in those units.
    """
    text, primary = keys.stop.worth, keys.metrics.primary
    if text is None:
        return WORTH if primary in _SHARES else None
    if primary in _SHARES:
        return units.parse_points(text)
    if primary == "latency":
        return units.parse_duration(text)
    return units.parse_money(text)[0]


def _check_arms(keys: ExperimentKeys, path: KeyPath, report: Report) -> None:
    least = 2 if keys.mode == "split" else 1
    if len(keys.arms) < least:
        report.error((*path, "arms"), f"{len(keys.arms)} arms; it takes {least} or more", key=True)
    for arm, one in keys.arms.items():
        if one.choose and "routing.choose" in one.set:
            message = "`choose` is short for `set: {routing.choose: ...}`"
            report.error((*path, "arms", arm, "choose"), message, "keep one of the two", key=True)
    values = list(changes(keys).items())
    for place, (arm, changed) in enumerate(values):
        same = next((other for other, theirs in values[:place] if theirs == changed), None)
        if same is not None and keys.status == "running" and changed:
            message = f"the arms `{same}` and `{arm}` change the same"
            report.error((*path, "arms", arm), message, "remove one of the two", key=True)


def _check_split(keys: ExperimentKeys, path: KeyPath, file: FileKeys, report: Report) -> None:
    missing = [name for name, arm in keys.arms.items() if arm.share is None]
    for name in missing:
        message = "`share` is missing"
        report.error((*path, "arms", name), message, "write for example `share: 50%`", key=True)
    if not missing and len(keys.arms) > 1:
        try:
            split("", {name: arm.share or 0.0 for name, arm in keys.arms.items()})
        except ValueError as error:
            report.error((*path, "arms"), str(error), key=True)
    for key in ("sample", "judge"):
        if getattr(keys, key) is not None:
            report.error((*path, key), f"`{key}` is for `mode: shadow`", "remove it", key=True)
    if keys.metrics.primary == "judge":
        message = "a judge compares the answers of a shadow; here there is one answer"
        report.error((*path, "metrics", "primary"), message, "write `feedback`, or `mode: shadow`")
    if keys.unit == "request" and file.routing.sessions.stick != "never":
        message = "a conversation may go from one arm to another between two turns"
        report.warning((*path, "unit"), message, "`unit: session` keeps it in one")


def _check_shadow(keys: ExperimentKeys, path: KeyPath, file: FileKeys, report: Report) -> None:
    for name, arm in keys.arms.items():
        if arm.share is not None:
            message = "in a shadow experiment every arm answers; `sample` says how often"
            report.error((*path, "arms", name, "share"), message, "remove it", key=True)
    if keys.judge is not None:
        check_known(report, "experts", keys.judge.expert, (*path, "judge", "expert"))
    elif keys.metrics.primary == "judge":
        report.error(path, "`judge` is missing: nobody compares the answers", "name one", key=True)
    if keys.metrics.primary == "feedback":
        message = "nobody sees the answers of a shadow, so that nobody can say anything of them"
        report.error((*path, "metrics", "primary"), message, "write `judge`, `latency` or `cost`")
    del file


def _check_stop(keys: ExperimentKeys, path: KeyPath, report: Report) -> None:
    stop = keys.stop
    try:
        worth = worth_of(keys)
    except ValueError as error:
        report.error((*path, "stop", "worth"), str(error))
    else:
        if worth is None:
            message = f"`worth` is missing: there is no usual one of `{keys.metrics.primary}`"
            hint = "such as `0.2s`" if keys.metrics.primary == "latency" else "such as `0.001 USD`"
            report.error((*path, "stop"), message, hint, key=True)
    if stop.method != "sequential" and stop.per_arm is None:
        message = f"`per_arm` is missing: `{stop.method}` has an end that is planned"
        report.error((*path, "stop"), message, "`coe exp power` says how many it takes", key=True)
    if not 0.5 <= stop.confidence < 1:  # noqa: PLR2004 - under that, nothing is said
        message = f"a confidence of {stop.confidence:g}"
        report.error((*path, "stop", "confidence"), message, "such as 0.95")


def _check_audience(
    keys: ExperimentKeys, path: KeyPath, file: FileKeys, models: set[str], report: Report
) -> None:
    audience = keys.audience
    for key in ("categories", "categories_not"):
        for name in getattr(audience, key) or ():
            check_known(report, "categories", name, (*path, "audience", key))
    for name in audience.models or ():
        if name not in models:
            hint = suggestion(name, models, what="models")
            where = (*path, "audience", "models")
            report.error(where, f"there is no model `{name:.60}`", hint)
    if audience.categories is not None and audience.categories_not:
        message = "`categories` and `categories_not` are both there"
        report.error((*path, "audience"), message, "keep one of the two", key=True)
    if audience.teams is not None and audience.teams_not:
        message = "`teams` and `teams_not` are both there"
        report.error((*path, "audience"), message, "keep one of the two", key=True)
    if (audience.categories or audience.categories_not) and not file.categories:
        report.error((*path, "audience"), "this file has no categories", "remove it", key=True)
