import numpy as np
import pytest

from coe.mapping.choose import Chooser
from coe.mapping.fitted import FittedMap
from coe.mapping.outcomes import NONE
from coe.scoring.routing import believed
from coe.types import Decision, RankedCategory, Reason

RANKED = (RankedCategory("sums", 0.6), RankedCategory("trips", 0.3))


def decided(category: str | None, reason: Reason, *, calibrated: bool = True) -> Decision:
    return Decision(ranked=RANKED, category=category, reason=reason, calibrated=calibrated)


@pytest.mark.parametrize(
    "decision",
    [
        decided("sums", "matched"),
        decided(None, "below-threshold"),
        decided(None, "ambiguous"),
        decided("sums", "matched", calibrated=False),
        decided(None, "below-threshold", calibrated=False),
    ],
)
def test_what_is_kept_of_a_decision_is_what_a_map_will_read_of_it(decision: Decision) -> None:
    shape = np.full((3, 1), 0.5)
    fitted = FittedMap(
        categories=("sums", "trips", NONE),
        experts=("one",),
        quality=shape,
        lower=shape,
        upper=shape,
        counts=shape,
        cost=shape,
        latency_s=shape,
        traffic=np.full(3, 1 / 3),
        used=("one",),
        assignment=("one",) * 3,
    )
    live = Chooser(fitted).memberships(decision)

    shares = believed(decision)

    assert live is not None
    found = [shares["sums"], shares["trips"], 1 - sum(shares.values())]
    np.testing.assert_allclose(found, live)
