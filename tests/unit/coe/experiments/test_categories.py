import numpy as np
import pytest

from coe.experiments import sequential
from coe.experiments.categories import effects
from coe.experiments.effect import between
from coe.experiments.summary import Moments, Summary

CONTROL = Summary(
    categories={
        "code": Moments.counted(2000, 1000),
        "law": Moments.counted(2000, 1000),
        "poetry": Moments.counted(20, 10),
    }
)
ARM = Summary(
    categories={
        "code": Moments.counted(2000, 1200),
        "law": Moments.counted(2000, 1010),
        "poetry": Moments.counted(20, 20),
        "sums": Moments.counted(500, 400),
    }
)


def test_the_category_that_gained_stands_out() -> None:
    code, law, poetry, sums = effects(CONTROL, ARM, "share", 0.05)

    assert [each.category for each in (code, law, poetry, sums)] == [
        "code",
        "law",
        "poetry",
        "sums",
    ]
    assert code.interval is not None
    assert code.interval.low > 0.0
    assert code.p < 0.001
    assert law.interval is not None
    assert law.interval.low < 0.0 < law.interval.high
    assert law.p > 0.05


def test_a_category_with_too_few_units_is_not_judged() -> None:
    *_, poetry, sums = effects(CONTROL, ARM, "share", 0.05)

    assert (poetry.interval, poetry.p, poetry.control, poetry.arm) == (None, 1.0, 20, 20)
    assert (sums.interval, sums.p, sums.control, sums.arm) == (None, 1.0, 0, 500)


def test_each_of_many_intervals_is_wider_than_one_alone() -> None:
    code, *_ = effects(CONTROL, ARM, "share", 0.05)

    effect = between(CONTROL.categories["code"], ARM.categories["code"], "share")
    alone = sequential.interval(effect, 0.05)
    assert code.interval is not None
    assert code.interval.low < alone.low
    assert code.interval.confidence == pytest.approx(1 - 0.05 / 4)


def test_twenty_categories_without_a_difference_hardly_ever_raise_an_alarm() -> None:
    generator = np.random.default_rng(8)
    alarms = 0
    for _ in range(200):
        sides = [
            Summary(
                categories={
                    f"c{number}": Moments.counted(300, int(generator.binomial(300, 0.5)))
                    for number in range(20)
                }
            )
            for _ in range(2)
        ]
        alarms += any(each.p < 0.05 for each in effects(sides[0], sides[1], "share", 0.1))

    assert alarms <= 0.05 * 200


def test_no_category_has_no_effect() -> None:
    assert effects(Summary(), Summary(), "mean", 0.1) == ()
