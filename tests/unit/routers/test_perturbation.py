from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routers.perturbation import CHANGES, bare, contracted, polite, typing_noise

TEXTS = st.text(max_size=200)


@given(TEXTS, st.integers(0, 100))
def test_noise_is_the_same_for_the_same_text_and_seed(text: str, seed: int) -> None:
    assert typing_noise(text, seed=seed) == typing_noise(text, seed=seed)
    assert typing_noise(text, rate=0.0, seed=seed) == text


def test_noise_mistypes_about_its_share_of_the_characters() -> None:
    text = "x" * 20_000

    typed = typing_noise(text, rate=0.02)
    inserted = sum(character != "x" for character in typed)
    dropped = len(text) + inserted - len(typed)

    # A third each; swapping two x shows nothing, and an inserted letter may be an x.
    assert 90 < inserted < 180
    assert 90 < dropped < 180


def test_a_slip_drops_swaps_or_inserts_one_character() -> None:
    text = "0123456789"
    swaps = {f"{text[:i]}{text[i + 1]}{text[i]}{text[i + 2 :]}" for i in range(9)}
    drops = {f"{text[:i]}{text[i + 1 :]}" for i in range(10)}

    typed = {typing_noise(text, rate=0.05, seed=seed) for seed in range(300)}

    assert typed & swaps
    assert typed & drops
    assert any(len(word) == 11 and word.strip("0123456789").isalpha() for word in typed)


@given(TEXTS)
def test_every_change_takes_any_text(text: str) -> None:
    for change in CHANGES.values():
        assert isinstance(change(text), str)
        assert change(text) == change(text)


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("What's the time?", "What is the time?"),
        ("what is the time?", "what's the time?"),
        ("I cannot see, and do not ask", "I can't see, and don't ask"),
        ("the fabric is soft", "the fabric is soft"),
    ],
)
def test_short_and_long_forms_change_places(text: str, other: str) -> None:
    assert contracted(text) == other


def test_politeness_and_bareness_keep_the_words() -> None:
    assert bare("Add 1.5, please! Now?") == "add 1.5 please now"
    assert "book a flight" in polite("Book a flight").lower()
