from __future__ import annotations

from typing import Any

import pytest

from coe.errors import ConfigError
from coe.options import Options


def options(**values: Any) -> Options:
    return Options("routers.fast", values)


def test_an_unknown_key_lists_what_is_allowed_and_what_was_meant() -> None:
    message = r"routers\.fast\.topk: unknown option \(did you mean 'top_k'; allowed here: "

    with pytest.raises(ConfigError, match=message.replace("'; ", r"'\?; ")):
        options(topk=3).allow("encoder", "top_k")


def test_an_entry_without_options_says_so() -> None:
    with pytest.raises(ConfigError, match="it takes no options"):
        options(x=1).allow()


def test_what_is_absent_takes_the_default() -> None:
    none = options()

    assert none.allow("a") is none
    assert none.text("a", "word") == "word"
    assert none.integer("a", 3, least=1, most=9) == 3
    assert none.number("a", 0.5, least=0, most=1) == 0.5
    assert none.choice("a", "max", ("max", "min")) == "max"


def test_a_whole_number_is_a_number() -> None:
    value = options(margin=1).number("margin", 0.5, least=0, most=1)

    assert value == 1.0
    assert isinstance(value, float)


@pytest.mark.parametrize("value", [-1, 10, 2.5, "3", True, None, float("nan")])
def test_an_integer_out_of_range_or_of_another_type_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"routers\.fast\.k: expected a whole number from 0 to 9"):
        options(k=value).integer("k", 1, least=0, most=9)


@pytest.mark.parametrize("value", [-0.1, 1.1, "0.5", False, None, float("nan")])
def test_a_number_out_of_range_or_of_another_type_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"routers\.fast\.k: expected a number from 0 to 1"):
        options(k=value).number("k", 0.5, least=0, most=1)


def test_a_misspelt_choice_suggests_the_right_one() -> None:
    with pytest.raises(ConfigError, match=r"found 'centriod' \(did you mean 'centroid'\?\)"):
        options(score="centriod").choice("score", "max", ("max", "centroid"))


@pytest.mark.parametrize("value", [[], "abc", ["a", 1], ["a", ""], ["a", "a"], None, {"a": 1}])
def test_names_are_a_list_of_different_texts(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"routers\.fast\.stages: expected a list"):
        options(stages=value).names("stages")


def test_a_missing_value_is_called_missing() -> None:
    with pytest.raises(ConfigError, match=r"routers\.fast\.stages: is missing"):
        options().names("stages")


def test_a_long_value_is_not_repeated_whole() -> None:
    with pytest.raises(ConfigError) as caught:
        options(score="x" * 10_000).choice("score", "max", ("max",))

    assert len(caught.value.message) < 250
