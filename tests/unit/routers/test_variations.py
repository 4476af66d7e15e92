from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from routers.variations import EACH, variations

TEXTS = ["book a flight to rome", "a hotel in bern please", "add two and two"]
GROUPS = [0, 0, 1]


def test_each_text_has_its_variations_beside_it() -> None:
    made = variations(TEXTS, GROUPS, seed=1)

    assert len(made) == EACH * len(TEXTS)
    assert set(made[EACH * 2].split()) <= set(TEXTS[2].split())
    assert not set(" ".join(made[: EACH * 2]).split()) & {"add", "two", "and"}


def test_a_seed_says_which() -> None:
    assert variations(TEXTS, GROUPS, seed=1) == variations(TEXTS, GROUPS, seed=1)
    assert variations(TEXTS * 5, GROUPS * 5, seed=1) != variations(TEXTS * 5, GROUPS * 5, seed=2)


@given(st.lists(st.text(max_size=30), max_size=6), st.integers(0, 9))
def test_any_text_can_be_varied(texts: list[str], seed: int) -> None:
    made = variations(texts, [0] * len(texts), seed=seed)

    assert len(made) == EACH * len(texts)
    longest = max((len(text.split()) for text in texts), default=0)
    assert all(len(varied.split()) <= 2 * longest for varied in made)
