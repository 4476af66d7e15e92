from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.backends.local.request import Sampling

torch = pytest.importorskip("torch")

from coe.backends.local.sampling import logprob_entry, penalized, pick  # noqa: E402

LOGITS = torch.log(torch.tensor([0.1, 0.6, 0.05, 0.25]))


def letters(tokens: list[int]) -> str:
    return "".join("abcd"[token] for token in tokens)


def test_temperature_zero_takes_the_likeliest() -> None:
    assert pick(LOGITS, Sampling(temperature=0), 0.99) == 1


@pytest.mark.parametrize(
    ("uniform", "token"),
    [(0.0, 1), (0.59, 1), (0.61, 3), (0.84, 3), (0.86, 0), (0.96, 2), (0.999999, 2)],
)
def test_a_draw_falls_into_the_share_of_its_token(uniform: float, token: int) -> None:
    assert pick(LOGITS, Sampling(temperature=1), uniform) == token


def test_a_low_temperature_sharpens() -> None:
    assert pick(LOGITS, Sampling(temperature=0.05), 0.99) == 1


@given(st.floats(0, 1, exclude_max=True))
def test_top_p_keeps_the_fewest_tokens_that_reach_it(uniform: float) -> None:
    assert pick(LOGITS, Sampling(temperature=1, top_p=0.7), uniform) in {1, 3}
    assert pick(LOGITS, Sampling(temperature=1, top_p=0.0), uniform) == 1


@given(st.floats(0, 1, exclude_max=True))
def test_top_k_keeps_the_k_likeliest(uniform: float) -> None:
    assert pick(LOGITS, Sampling(temperature=1, top_k=2), uniform) in {1, 3}


def test_penalties_follow_openai_s_formula() -> None:
    sampling = Sampling(presence_penalty=0.5, frequency_penalty=0.25)

    found = penalized(LOGITS, sampling, {1: 2})

    assert float(found[1] - LOGITS[1]) == pytest.approx(-(0.5 + 2 * 0.25))
    assert float(found[0]) == float(LOGITS[0])


def test_without_penalties_the_logits_are_left_alone() -> None:
    assert penalized(LOGITS, Sampling(), {1: 2}) is LOGITS


def test_log_probabilities_are_those_of_the_whole_distribution() -> None:
    entry = logprob_entry(LOGITS * 1.0, 3, 2, letters)

    assert entry["token"] == "d"
    assert entry["bytes"] == [100]
    assert entry["logprob"] == pytest.approx(math.log(0.25), abs=1e-5)
    assert [other["token"] for other in entry["top_logprobs"]] == ["b", "d"]


def test_half_a_character_has_no_bytes_and_an_impossible_token_has_a_finite_logprob() -> None:
    logits = torch.tensor([0.0, -math.inf])

    entry = logprob_entry(logits, 1, 0, lambda _: "\ufffd")

    assert entry["bytes"] is None
    assert entry["logprob"] == -9999.0
    assert entry["top_logprobs"] == []
