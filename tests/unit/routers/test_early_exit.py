from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from routers.early_exit import NONE, Exit, Rehearsal, fit_exit, fit_stages, leads


def simulated(
    rows: int, seed: int, *, later: float = 0.95
) -> tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.bool_]]:
    """A stage whose lead says how often it is right, and a last stage that is right mostly."""
    generator = np.random.default_rng(seed)
    lead = generator.uniform(0.0, 6.0, rows)
    is_right = generator.random(rows) < 1 / (1 + np.exp(-1.5 * lead))
    second = 1 / (1 + np.exp(lead))
    values = np.stack([1 - second, second, np.zeros(rows)], axis=1) * 0.999
    labels = np.where(is_right, 0, 2)
    return values.astype(np.float32), labels, generator.random(rows) < later


def test_the_lead_is_the_gap_of_two_logits() -> None:
    logits = np.array([[3.0, 1.0, -2.0], [0.5, 0.5, 0.0]])
    values = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    assert leads(values) == pytest.approx([2.0, 0.0], abs=1e-5)


@pytest.mark.parametrize(("value", "is_ahead"), [(1.0, True), (0.0, False)])
def test_a_lone_category_leads_over_nothing(value: float, *, is_ahead: bool) -> None:
    lead = leads(np.array([[value]], dtype=np.float32))

    assert (lead[0] > 10) == is_ahead


def test_more_may_be_lost_more_texts_exit() -> None:
    values, labels, later = simulated(20_000, seed=1)

    exits = [fit_exit(values, labels, later, most_lost=lost) for lost in (0.001, 0.003, 0.01)]

    assert 0 < exits[0].share < exits[1].share < exits[2].share < 1
    assert exits[0].least_lead > exits[1].least_lead > exits[2].least_lead


def test_it_keeps_its_promise_on_new_texts() -> None:
    """Of forty fits, two in the mean may be over."""
    losses = []
    for seed in range(40):
        fitted = fit_exit(*simulated(5000, seed), most_lost=0.005)
        values, labels, later = simulated(50_000, seed + 1000)
        out = fitted.lets_out(values)
        right = values.argmax(axis=1) == labels
        losses.append(float((later & out).mean() - (right & out).mean()))

    assert np.mean(losses) < 0.005
    assert (np.array(losses) > 0.005).mean() <= 0.1


def test_few_rows_prove_nothing() -> None:
    values, labels, later = simulated(300, seed=1)

    fitted = fit_exit(values, labels, later, most_lost=0.003)

    assert not fitted.is_open
    assert fitted == Exit(least_lead=math.inf, rows=300)
    assert not fitted.lets_out(values).any()


def test_a_stage_that_is_as_good_as_the_last_always_exits() -> None:
    values, labels, _ = simulated(5000, seed=1)
    right = values.argmax(axis=1) == labels

    fitted = fit_exit(values, labels, right)

    assert fitted.share > 0.99  # all but those under the floor
    assert fitted.lets_out(values).mean() == fitted.share


def test_what_looks_like_no_category_never_exits() -> None:
    fitted = Exit(least_lead=1.0)

    out = fitted.lets_out(np.array([[0.4, 0.0], [0.6, 0.0], [0.6, 0.5]], dtype=np.float32))

    assert out.tolist() == [False, True, False]


def test_a_text_of_none_that_exits_is_a_loss_where_the_last_stage_holds_it_back() -> None:
    values, labels, later = simulated(5000, seed=1)
    outside = np.tile(np.array([[0.99, 0.001, 0.0]], dtype=np.float32), (200, 1))
    all_values = np.concatenate([values, outside])
    all_labels = np.concatenate([labels, np.full(200, NONE)])

    inside_only = fit_exit(values, labels, later, most_lost=0.005)
    with_outside = fit_exit(
        all_values, all_labels, np.concatenate([later, np.ones(200, dtype=bool)]), most_lost=0.005
    )

    assert inside_only.is_open
    assert with_outside.least_lead > inside_only.least_lead
    assert not with_outside.lets_out(outside).any()


def test_a_text_of_none_under_the_floor_is_right() -> None:
    rehearsal = Rehearsal(
        texts=("a", "b", "c"),
        labels=np.array([NONE, NONE, 1]),
        values=np.array([[0.4, 0.1], [0.1, 0.6], [0.1, 0.2]], dtype=np.float32),
    )

    assert rehearsal.right.tolist() == [True, False, True]


def test_only_texts_that_both_stages_rehearsed_are_compared() -> None:
    values, labels, _ = simulated(4000, seed=3)
    early = Rehearsal(texts=tuple(map(str, range(4000))), labels=labels, values=values)
    sure = np.eye(3, dtype=np.float32)[labels]
    last = Rehearsal(
        texts=tuple(map(str, range(1000, 5000))),
        labels=np.concatenate([labels[1000:], np.zeros(1000, dtype=np.intp)]),
        values=np.concatenate([sure[1000:], np.zeros((1000, 3), dtype=np.float32)]),
    )

    (fitted,) = fit_stages([early], last, most_lost=0.01)

    expected = fit_exit(values[1000:], labels[1000:], np.ones(3000, dtype=bool), most_lost=0.01)
    assert fitted == expected
    assert fitted.rows == 3000


def test_what_may_be_lost_is_divided_among_the_stages() -> None:
    values, labels, _ = simulated(5000, seed=1)
    texts = tuple(map(str, range(5000)))
    stage = Rehearsal(texts=texts, labels=labels, values=values)
    last = Rehearsal(texts=texts, labels=labels, values=np.eye(3, dtype=np.float32)[labels])

    both = fit_stages([stage, stage], last, most_lost=0.02)

    assert both[0] == both[1] == fit_stages([stage], last, most_lost=0.01)[0]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1, width=32), st.floats(0, 1, width=32)), max_size=20),
    st.floats(0, 20),
)
def test_a_smaller_lead_lets_no_fewer_out(rows: list[tuple[float, float]], lead: float) -> None:
    values = np.array(rows, dtype=np.float32).reshape(-1, 2)

    some = Exit(least_lead=lead).lets_out(values)
    more = Exit(least_lead=lead / 2).lets_out(values)

    assert (some <= more).all()
