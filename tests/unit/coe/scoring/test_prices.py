import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.composition import Cost, Expert
from coe.scoring.prices import Purse, answer_limit, at_most, currency_of, price

DEAR = Cost(input=2.0, output=10.0)


def expert(**keys: object) -> Expert:
    return Expert(name="e", backend="b", model="m", **keys)  # type: ignore[arg-type]


def test_a_price_is_per_million_tokens() -> None:
    assert price(DEAR, 1_000_000, 100_000) == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("cost", "prompt", "answer"),
    [
        (None, 1, 1),
        (Cost(input=1.0), 1, 1),
        (Cost(output=1.0), 1, 1),
        (DEAR, None, 1),
        (DEAR, 1, None),
    ],
)
def test_a_price_that_is_not_known_is_not_zero(
    cost: Cost | None, prompt: int | None, answer: int | None
) -> None:
    assert price(cost, prompt, answer) is None


def test_prices_are_in_one_currency() -> None:
    euro = expert(cost=Cost(input=1.0, currency="EUR"))

    assert currency_of([expert(), expert()]) == ""
    assert currency_of([expert(), euro]) == "EUR"
    with pytest.raises(ValueError, match="EUR, USD"):
        currency_of([euro, expert(cost=DEAR)])


def test_the_limit_of_an_answer_is_the_one_that_the_backend_is_given() -> None:
    assert answer_limit(expert(), {}) is None
    assert answer_limit(expert(max_output=50), {}) is None
    assert answer_limit(expert(max_output=50), {"max_tokens": 80}) == 50
    assert answer_limit(expert(defaults={"max_tokens": 9}), {}) == 9
    assert answer_limit(expert(defaults={"max_tokens": 9}), {"max_tokens": 80}) == 80
    assert answer_limit(expert(force={"max_tokens": 9}), {"max_tokens": 80}) == 9


@given(st.text(), st.integers(0, 1000))
def test_no_tokenisation_costs_more_than_the_most(text: str, limit: int) -> None:
    tokens = len(text.encode("utf-8", "surrogatepass"))  # a byte each

    most = at_most(expert(cost=DEAR), [{"role": "user", "content": text}], limit)

    assert most >= (price(DEAR, tokens, limit) or 0.0)


def test_parts_of_a_message_cost_too() -> None:
    parts = [{"type": "text", "text": "x" * 1000}, {"type": "image_url", "image_url": {}}]

    assert at_most(expert(cost=DEAR), [{"role": "user", "content": parts}], 0) > 0.002


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 1)), max_size=30), st.floats(0, 20))
def test_a_purse_is_never_overdrawn(calls: list[tuple[float, float]], cap: float) -> None:
    """Whatever is held at once, and whatever share of what it may cost a call then does."""
    purse = Purse(cap)
    open_: list[tuple[float, float]] = []
    for most, share in calls:
        if purse.hold(most):
            open_.append((most, share))
        elif open_:
            held, spent = open_.pop()
            purse.settle(held, held * spent)
        assert purse.spent + purse.held <= cap + 1e-9
    for most, _ in open_:
        purse.settle(most, None)
    assert purse.spent <= cap + 1e-9


def test_a_purse_without_a_cap_adds_up() -> None:
    purse = Purse()

    assert purse.hold(1e9)
    purse.settle(1e9, 0.5)

    assert (purse.spent, purse.held) == (0.5, 0.0)
