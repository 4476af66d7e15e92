"""What a request's headers say of how it wants to wait."""

from __future__ import annotations

import pytest

from coe.claim import Claim, claim_of
from coe.errors import InvalidRequest


def test_nothing_is_asked_for_where_nothing_is_said() -> None:
    assert claim_of([(b"host", b"here")]) == Claim()
    assert Claim().left_s() is None


def test_the_lane_and_the_deadline_are_read() -> None:
    claim = claim_of([(b"x-coe-lane", b" Bulk "), (b"x-coe-deadline-ms", b"5000")])

    assert claim.lane == "bulk"
    left_s = claim.left_s()
    assert left_s is not None
    assert 4 < left_s <= 5


def test_the_key_tells_clients_apart_and_is_not_theirs() -> None:
    one, other = (claim_of([(b"authorization", b"Bearer " + key)]).key for key in (b"a", b"b"))

    assert one != other
    assert "Bearer" not in one
    assert one == claim_of([(b"authorization", b"Bearer a")]).key


def test_a_key_is_the_same_in_either_header_and_authorization_goes_first() -> None:
    bearer, key = (b"authorization", b"Bearer a"), (b"x-api-key", b"a")

    assert claim_of([key]).key == claim_of([bearer]).key
    assert claim_of([(b"x-api-key", b"b"), bearer]).key == claim_of([bearer]).key
    assert claim_of([(b"x-api-key", b"b")]).key != claim_of([bearer]).key


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
        claim_of([(name, value)])
