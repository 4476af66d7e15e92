from __future__ import annotations

import io
import logging

import orjson
import pytest

from coe.telemetry.logs import Form, JsonFormatter, TextFormatter

SECRET = "what somebody asked"


def broken() -> None:
    try:
        int(SECRET)
    except ValueError as error:
        raise RuntimeError(f"could not read {SECRET}") from error


def logged(form: Form) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logger = logging.Logger("coe.test")  # noqa: LOG001 - of this test alone
    logger.addHandler(handler)
    try:
        broken()
    except RuntimeError:
        logger.exception("request %s failed", "r1")
    return stream.getvalue()


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_exception_is_told_by_its_class_and_its_frames_alone(form: Form) -> None:
    told = logged(form)

    assert "request r1 failed" in told
    assert "builtins.RuntimeError" in told
    assert "builtins.ValueError" in told
    assert "test_logs.py" in told
    assert "broken" in told
    assert SECRET not in told
    assert "could not read" not in told


def test_an_object_is_one_line() -> None:
    line = logged("json")

    assert line.count("\n") == 1
    row = orjson.loads(line)
    assert (row["level"], row["logger"]) == ("ERROR", "coe.test")
    assert row["error"][0] == "builtins.RuntimeError"
