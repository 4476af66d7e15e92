from __future__ import annotations

from typing import Any

import pytest

from coe.backends.local.options import Options, read
from coe.errors import ConfigError


def test_without_keys_the_defaults_hold() -> None:
    assert read("tiny", {}) == Options()


def test_keys_are_read() -> None:
    assert read("tiny", {"threads": 2, "dtype": "bfloat16"}) == Options(threads=2, dtype="bfloat16")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"thread": 1}, r"backends\.tiny: unknown key `thread` \(did you mean `threads`\?\)"),
        ({"zzz": 1}, r"unknown key `zzz` \(expected one of threads, max_batch"),
        ({"threads": 0}, r"backends\.tiny\.threads: 0 is too small"),
        ({"threads": "two"}, r"'two' is not a valid value \(expected a whole number\)"),
        ({"threads": True}, "expected a whole number"),
        ({"device": 0}, "expected a text"),
        ({"dtype": "int4"}, r"'int4' \(expected one of float32, bfloat16, float16\)"),
    ],
)
def test_a_wrong_key_or_value_is_told_with_its_place(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read("tiny", given)
