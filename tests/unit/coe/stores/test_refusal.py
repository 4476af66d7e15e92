"""What is read of an error of Redis, and how often it is told."""

from __future__ import annotations

import pytest

from coe.stores.refusal import QUIET_S, Heard, read


@pytest.mark.parametrize(
    ("message", "code", "expected"),
    [
        (
            "this user has no permissions",
            "NOPERM",
            ("NOPERM", "NOPERM this user has no permissions"),
        ),
        ("MISCONF Errors writing to disk", None, ("MISCONF", "MISCONF Errors writing to disk")),
        ("unknown command 'X'", None, ("ERR", "unknown command 'X'")),
        ("", None, ("ERR", "")),
        (
            "Command # 1 (SET k a prompt) of pipeline caused error: ('MISCONF no disk',)",
            None,
            ("MISCONF", "MISCONF no disk"),
        ),
        (
            'Command # 2 (SET k v) of pipeline caused error: ("can\'t write",)',
            "READONLY",
            ("READONLY", "READONLY can't write"),
        ),
    ],
)
def test_code_and_text_are_read_and_values_are_not(
    message: str, code: str | None, expected: tuple[str, str]
) -> None:
    assert read(message, code) == expected


@pytest.mark.parametrize("code", ["LOADING", "MASTERDOWN", "BUSY"])
def test_a_server_that_refuses_everything_is_told_from_a_command_that_is_refused(code: str) -> None:
    assert read(f"{code} not now", None).is_of_everything
    assert not read("READONLY not here", None).is_of_everything


@pytest.mark.parametrize(
    ("said", "is_one"),
    [
        ("READONLY You can't write against a read only replica.", True),
        ("MASTERDOWN Link with MASTER is down", True),
        ("Error running script (call to f_1): @user_script:1: -READONLY You can't write", True),
        ("OOM command not allowed", False),
        ("unknown command 'READONLY'", False),
    ],
)
def test_a_server_that_leads_no_more_is_told_from_one_that_refuses(
    said: str, *, is_one: bool
) -> None:
    assert read(said, None).is_of_a_replica is is_one


def test_a_refusal_is_news_once_and_again_after_it_was_quiet() -> None:
    heard = Heard()

    assert heard.is_news("SET", "OOM", 0.0)
    assert not heard.is_news("SET", "OOM", QUIET_S)
    assert not heard.is_news("SET", "OOM", 2 * QUIET_S)
    assert heard.is_news("GET", "OOM", 2 * QUIET_S)
    assert heard.is_news("SET", "OOM", 3.1 * QUIET_S)
