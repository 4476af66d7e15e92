"""The choice over many prompts at once is the one that is made live."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from coe.mapping.choose import Chooser
from coe.mapping.fitted import FittedMap
from coe.mapping.outcomes import NONE
from coe.mapping.policy import choice
from coe.types import Dial

EXPERTS = ("coder", "lawyer", "general")


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_choice_over_many_prompts_is_the_live_one(seed: int) -> None:
    random = np.random.default_rng(seed)
    cost = np.where(random.random(3) < 0.3, np.nan, random.random((3, 3)))
    quality = random.random((3, 3))
    fitted = FittedMap(
        categories=("code", "law", NONE),
        experts=EXPERTS,
        quality=quality,
        lower=quality,
        upper=quality,
        counts=np.ones((3, 3)),
        latency_s=random.random((3, 3)),
        traffic=np.full(3, 1 / 3),
        assignment=EXPERTS,
        cost=cost,
        used=tuple(name for name in EXPERTS if random.random() < 0.8) or EXPERTS,
        price_weight=float(random.choice([0.0, 0.5])),
        latency_weight=float(random.choice([0.0, 0.1])),
    )
    memberships = random.dirichlet(np.ones(3), 8)
    inside = np.array([name in fitted.used for name in EXPERTS])

    chosen = choice(fitted, memberships, inside, (fitted.price_weight, fitted.latency_weight))

    live = Chooser(fitted)
    assert [EXPERTS[i] for i in chosen] == [
        live.rank(row, Dial(choose="fitted"))[0].expert for row in memberships
    ]
