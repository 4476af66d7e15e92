"""What headers say of who may answer."""

from __future__ import annotations

import pytest

from coe.composition.policy_values import Group
from coe.errors import InvalidRequest
from coe.policies.wishes import NONE, Wishes, headers_of, told_in, wishes_of


def test_most_requests_say_nothing() -> None:
    assert wishes_of([(b"content-type", b"application/json")]) is NONE


def test_names_and_tags_are_read_from_all_lines() -> None:
    headers = [(b"x-coe-exclude", b"a, tag:cloud ,"), (b"x-coe-exclude", b"b")]

    group = Group(experts=frozenset({"a", "b"}), tags=frozenset({"cloud"}))
    assert wishes_of(headers) == Wishes(exclude=group)


def test_a_data_class_stands_there_once() -> None:
    assert wishes_of([(b"x-coe-data-class", b" secret ")]) == Wishes(data="secret")
    with pytest.raises(InvalidRequest, match="twice"):
        wishes_of([(b"x-coe-data-class", b"secret"), (b"x-coe-data-class", b"public")])


def test_nobody_names_hundreds() -> None:
    with pytest.raises(InvalidRequest, match="at most 64"):
        wishes_of([(b"x-coe-exclude", b",".join([b"x"] * 65))])


def test_a_batch_keeps_what_its_headers_said() -> None:
    headers = [(b"x-coe-exclude", b"a, tag:b"), (b"x-coe-data-class", b"c"), (b"host", b"h")]

    assert wishes_of(headers_of(told_in(headers))) == wishes_of(headers)
