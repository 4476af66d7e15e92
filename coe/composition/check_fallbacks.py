"""Checks of what happens when an expert fails: who is named is there, and rules go together."""

from __future__ import annotations

from coe.composition.models import FileKeys
from coe.composition.names import check_known
from coe.composition.report import Report


def check_fallbacks(file: FileKeys, report: Report) -> None:
    """The last resort is an expert that may answer, and no key takes back what another one says."""
    keys = file.fallbacks
    if keys.use == "none":
        others = {
            "attempts": "attempts" in keys.model_fields_set and keys.attempts > 1,
            "last_resort": keys.last_resort is not None,
            "hedge": keys.hedge is not None,
            "retry_after": keys.retry_after is not None,
        }
        for key in (key for key, is_given in others.items() if is_given):
            message = f"`{key}` asks once more, and `use: none` nobody"
            report.error(("fallbacks", key), message, "remove one of the two", key=True)
    name = keys.last_resort
    if name is not None:
        path = ("fallbacks", "last_resort")
        is_known = check_known(report, "experts", name, path)
        expert = file.experts.get(name) if is_known else None
        if expert is not None and expert.status != "live":
            message = f"`{name}` is {expert.status}, and does not answer everybody"
            report.error(path, message, "name an expert that is `live`")
    for i, kind in enumerate(keys.never_retry):
        if keys.retry_on is not None and kind in keys.retry_on:
            message = f"`{kind}` is also in `retry_on`"
            report.error(("fallbacks", "never_retry", i), message, "keep one of the two")
