"""Checks of what is kept of answers: keys that say nothing alone, and encoders that are there."""

from __future__ import annotations

from coe.composition.models import FileKeys
from coe.composition.names import check_known
from coe.composition.report import Report

_SEMANTIC = ("similarity", "encoder")


def check_cache(file: FileKeys, completed: FileKeys, report: Report) -> None:
    """Report what has no effect, and an encoder that is not there.

    Args:
        file: as it is written.
        completed: with what is there by itself.
        report: told what is wrong.
    """
    keys = file.cache
    given = keys.model_fields_set
    if keys.mode == "none":
        for key in sorted(given - {"mode"}):
            message = f"`{key}` has no effect: nothing is kept"
            report.error(("cache", key), message, "add `mode: exact`", key=True)
        return
    if keys.mode == "exact":
        for key in _SEMANTIC:
            if key in given:
                message = f"`{key}` has no effect on `mode: exact`"
                report.error(("cache", key), message, "write `exact_then_semantic`", key=True)
    elif keys.encoder is not None:
        at = ("cache", "encoder")
        check_known(report, "encoders", keys.encoder, at, implicit=completed.encoders)
    if keys.mode == "exact_then_semantic" and keys.similarity == 0:
        hint = "such as 0.95"
        report.error(("cache", "similarity"), "0 takes every question for the same", hint)
