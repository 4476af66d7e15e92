from __future__ import annotations

from typing import Any

import pytest

from coe.backends.local.request import Sampling, parse
from coe.errors import BackendRejected

HELLO = [{"role": "user", "content": "hello"}]


def test_an_ordinary_request_leaves_everything_to_the_model() -> None:
    request = parse({"messages": HELLO, "user": "someone", "metadata": {}, "tools": []})

    assert request.sampling(Sampling(temperature=0.3, top_k=5)) == Sampling(
        temperature=0.3, top_k=5
    )
    assert (request.n, request.max_tokens, request.stop) == (1, None, ())


def test_the_request_wins_over_the_model_s_defaults() -> None:
    request = parse({"messages": HELLO, "temperature": 0, "top_p": 0.5, "top_k": -1})

    found = request.sampling(Sampling(temperature=0.7, top_k=40))

    assert found == Sampling(temperature=0.0, top_p=0.5, top_k=0)


def test_the_new_name_of_the_token_limit_wins_over_the_old() -> None:
    assert parse({"messages": HELLO, "max_tokens": 5}).max_tokens == 5
    both = {"messages": HELLO, "max_tokens": 5, "max_completion_tokens": 7}
    assert parse(both).max_tokens == 7


def test_one_stop_string_may_stand_alone() -> None:
    assert parse({"messages": HELLO, "stop": "x"}).stop == ("x",)
    assert parse({"messages": HELLO, "stop": ["x", "", "y"]}).stop == ("x", "y")
    assert parse({"messages": HELLO, "stop": None}).stop == ()


def test_nulls_mean_defaults() -> None:
    keys = ("temperature", "n", "seed", "logprobs", "response_format", "stream_options", "tools")

    request = parse({"messages": HELLO, **dict.fromkeys(keys)})

    assert request == parse({"messages": HELLO})


def test_log_probabilities_without_alternatives() -> None:
    assert parse({"messages": HELLO, "logprobs": True}).top_logprobs == 0
    assert parse({"messages": HELLO, "logprobs": True, "top_logprobs": 3}).top_logprobs == 3
    assert parse({"messages": HELLO, "logprobs": False}).top_logprobs is None


def test_tools_that_must_not_be_called_are_no_hindrance() -> None:
    assert parse({"messages": HELLO, "tools": [{}], "tool_choice": "none"})


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": "hello"}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["hello"]}, "messages"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"functions": [{}]}, "functions"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"response_format": "json"}, "response_format"),
        ({"logit_bias": {"1": 2}}, "logit_bias"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"n": True}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"frequency_penalty": 3}, "frequency_penalty"),
        ({"seed": "x"}, "seed"),
        ({"stop": 5}, "stop"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"logprobs": 3}, "logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"stream_options": True}, "stream_options"),
    ],
)
def test_what_is_wrong_or_unsupported_is_a_400_that_names_the_field(
    body: dict[str, Any], param: str
) -> None:
    with pytest.raises(BackendRejected) as caught:
        parse({"messages": HELLO, **body})

    assert (caught.value.status, caught.value.param) == (400, param)
    assert caught.value.type == "invalid_request_error"
