"""Who asks, by what they show."""

from __future__ import annotations

from coe.identity import tenant_of


def test_the_tenant_tells_clients_apart_and_is_not_their_key() -> None:
    one, other = (tenant_of([(b"authorization", b"Bearer " + key)]) for key in (b"a", b"b"))

    assert one != other
    assert "Bearer" not in one
    assert one == tenant_of([(b"authorization", b"Bearer a")])
    assert tenant_of([(b"host", b"here")]) == ""


def test_a_key_is_the_same_in_either_header_and_authorization_goes_first() -> None:
    bearer, key = (b"authorization", b"Bearer a"), (b"x-api-key", b"a")

    assert tenant_of([key]) == tenant_of([bearer])
    assert tenant_of([(b"x-api-key", b"b"), bearer]) == tenant_of([bearer])
    assert tenant_of([(b"x-api-key", b"b")]) != tenant_of([bearer])
