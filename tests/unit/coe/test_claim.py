"""What a request's headers say of how it wants to wait."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coe.claim import Claim, behind, claim_of
from coe.errors import InvalidRequest
from coe.identity import Identity, Permit
from coe.types import Query


def _query(*headers: tuple[bytes, bytes]) -> Query:
    return Query(id="1", model="coe/auto", body={}, headers=headers)


def test_nothing_is_asked_for_where_nothing_is_said() -> None:
    assert claim_of(_query((b"host", b"here"))) == Claim()
    assert Claim().left_s() is None


def test_the_lane_and_the_deadline_are_read() -> None:
    claim = claim_of(_query((b"x-coe-lane", b" Bulk "), (b"x-coe-deadline-ms", b"5000")))

    assert claim.lane == "bulk"
    left_s = claim.left_s()
    assert left_s is not None
    assert 4 < left_s <= 5


def test_who_asks_waits_as_their_tenant_and_takes_their_permit_along() -> None:
    query = replace(
        _query(), identity=Identity(tenant="a", team="t"), permit=Permit(barred={"x": ("r", "d")})
    )

    for claim, key in ((claim_of(query), "a"), (behind(query), "")):
        assert claim.key == key
        assert claim.identity is query.identity
        assert claim.permit is query.permit


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"x-coe-lane", b"fast"),
        (b"x-coe-lane", b""),
        (b"x-coe-deadline-ms", b"0"),
        (b"x-coe-deadline-ms", b"-1"),
        (b"x-coe-deadline-ms", b"1e3"),
        (b"x-coe-deadline-ms", b"86400001"),
        (b"x-coe-deadline-ms", b"9" * 400),
        (b"x-coe-deadline-ms", "²".encode("latin-1")),
    ],
)
def test_what_means_nothing_is_refused(name: bytes, value: bytes) -> None:
    with pytest.raises(InvalidRequest, match=name.decode()):
        claim_of(_query((name, value)))
