from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.access import key as keys
from coe.access.key import Wish, issue, renewed, revoked
from coe.errors import ArtefactError

AT = 1_800_000_000.0
WISH = Wish(name="ci", team="search", experts=("a", "tag:small"), limits=("60 requests/min",))


def test_the_text_of_a_key_is_its_id_and_256_random_bits() -> None:
    key, text = issue(WISH, at=AT, by="me")
    prefix, key_id, secret = text.split("-")
    assert (prefix, key_id, len(secret)) == ("coe", key.id, 64)
    assert len({issue(WISH, at=AT, by="me")[1] for _ in range(100)}) == 100


def test_nothing_that_is_kept_or_printed_holds_the_secret() -> None:
    key, text = issue(WISH, at=AT, by="me")
    secret = text.rsplit("-", 1)[1]
    assert secret not in keys.written(key).decode()
    assert secret[:-4] not in repr(key)
    assert key.digest not in repr(key)
    assert secret.endswith(key.ending)
    assert len(key.ending) == 4


def test_a_kept_key_is_read_back() -> None:
    key, _ = issue(replace(WISH, expires=AT + 5), at=AT, by="me")
    assert keys.read(keys.written(key)) == key


@pytest.mark.parametrize(
    "text", [b"", b"{}", b"[]", b"no", b'{"digest": "zz"}', b'{"digest": "00", "later": 1}']
)
def test_a_damaged_record_is_refused(text: bytes) -> None:
    with pytest.raises(ArtefactError):
        keys.read(text)


def test_a_key_ends_when_it_expires_or_is_revoked() -> None:
    key, _ = issue(WISH, at=AT, by="me")
    assert key.until == math.inf
    assert replace(key, expires=AT + 5).until == AT + 5
    ended = revoked(key, at=AT + 1, by="you")
    assert (ended.until, ended.changed_by) == (AT + 1, "you")
    assert revoked(ended, at=AT + 9, by="they") is ended


def test_a_renewed_key_is_the_same_key_with_another_secret() -> None:
    key, text = issue(WISH, at=AT, by="me")
    other, fresh = renewed(key, by="you")
    assert fresh != text
    assert other.digest != key.digest
    assert other.identity == key.identity


@pytest.mark.parametrize("shown", [b"", b"Bearer", b"Bearer ", b"coe-a-b", b"Basic coe-a-b"])
def test_what_is_no_bearer_token_of_ours_is_no_key(shown: bytes) -> None:
    assert keys.split(shown) is None


def test_the_scheme_may_be_written_as_anybody_likes() -> None:
    assert keys.split(b"bearer  coe-a-b-c ") == (b"a", b"b-c")


@given(st.binary(max_size=80))
def test_any_bytes_are_split_or_refused(shown: bytes) -> None:
    parts = keys.split(b"Bearer " + shown)
    assert parts is None or b"coe-" + parts[0] + b"-" + parts[1] == shown.strip()


def test_the_keys_of_a_team_are_tenants_of_their_own() -> None:
    one, two = (issue(WISH, at=AT, by="me")[0].identity for _ in range(2))
    assert one.team == two.team == "search"
    assert one.tenant != two.tenant
