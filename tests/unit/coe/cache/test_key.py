"""What is the same of two requests, and what is not."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.cache.key import Key, key_of, partition_of, turn_of, wish_of
from coe.errors import InvalidRequest
from coe.identity import FREE, Identity, Permit
from coe.types import Query

TURN = {"role": "user", "content": "what is a lease"}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=4,
)
BODIES = st.fixed_dictionaries(
    {
        "messages": st.lists(
            st.fixed_dictionaries(
                {"role": st.sampled_from(["system", "user"]), "content": st.text(max_size=4)}
            ),
            min_size=1,
            max_size=3,
        )
    },
    optional={"temperature": st.integers(0, 2), "tools": VALUES, "x": VALUES, "stream": VALUES},
)
PEOPLE = st.builds(Identity, tenant=st.sampled_from(["a", "b"]), team=st.sampled_from(["", "t"]))
PERMITS = st.sampled_from(
    [FREE, Permit(barred={"e": ("tag", "no")}), Permit(data="inner"), Permit(is_thrifty=True)]
)
QUERIES = st.builds(
    Query,
    id=st.just("i"),
    model=st.just("m"),
    body=BODIES,
    identity=PEOPLE,
    permit=PERMITS,
    endpoint=st.sampled_from(["chat/completions", "embeddings"]),
)


def meaning(query: Query, mark: str) -> object:
    """Return what makes a request another one, said in another way than by a digest."""
    body = {key: value for key, value in query.body.items() if key != "stream"}
    permit = query.permit
    return (
        query.identity.tenant,
        mark,
        query.endpoint,
        sorted(permit.barred),
        permit.data,
        permit.is_thrifty,
        typed(body),
    )


def typed(value: Any) -> Any:
    """Return a value in which True is not 1."""
    if isinstance(value, dict):
        return {key: typed(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [typed(entry) for entry in value]
    return type(value).__name__, value


def key(query: Query, mark: str = "k", encoder: str = "") -> Key:
    return key_of(query, mark, partition_of(query.identity, "key"), encoder)


def asked(*messages: dict[str, Any], **fields: Any) -> Query:
    return Query(id="i", model="m", body={"messages": list(messages or (TURN,)), **fields})


@given(one=QUERIES, other=QUERIES, marks=st.tuples(*[st.sampled_from("km")] * 2))
def test_keys_are_equal_where_the_requests_are_and_nowhere_else(
    one: Query, other: Query, marks: tuple[str, str]
) -> None:
    same = meaning(one, marks[0]) == meaning(other, marks[1])

    assert (key(one, marks[0]) == key(other, marks[1])) == same


@given(query=QUERIES, data=st.data())
def test_one_change_of_a_request_is_another_key(query: Query, data: st.DataObject) -> None:
    body = copy.deepcopy(dict(query.body))
    body["messages"][data.draw(st.integers(0, len(body["messages"]) - 1))]["content"] += "!"
    changed = data.draw(
        st.sampled_from(
            [
                replace(query, body=body),
                replace(query, identity=replace(query.identity, tenant="c")),
                replace(query, permit=replace(query.permit, barred={"f": ("tag", "no")})),
                replace(query, body={**query.body, "a field": 1}),
            ]
        )
    )

    assert key(changed) != key(query)


def test_a_team_shares_and_who_is_in_none_shares_with_nobody() -> None:
    ann, bea = (Identity(tenant=name, team="law") for name in "ab")
    alone = Identity(tenant="law")

    assert partition_of(ann, "team") == partition_of(bea, "team")
    assert partition_of(ann, "key") != partition_of(bea, "key")
    assert partition_of(alone, "team") != partition_of(ann, "team")
    assert partition_of(Identity(tenant="c"), "team") != partition_of(alone, "team")


@pytest.mark.parametrize(
    ("query", "turn"),
    [
        (asked(), "what is a lease"),
        (asked({"role": "system", "content": "be brief"}, TURN), "what is a lease"),
        (asked(tools=[{"type": "function"}]), None),
        (asked(functions=[{"name": "f"}]), None),
        (asked({"role": "user", "content": [{"type": "text", "text": "a"}]}), None),
        (asked({"role": "user", "content": [{"type": "text", "text": "a"}]}, TURN), None),
        (asked(TURN, {"role": "assistant", "content": "it is"}), None),
        (asked({"role": "user", "content": "  "}), None),
        (asked({"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]}, TURN), None),
        (replace(asked(), endpoint="embeddings"), None),
    ],
)
def test_only_text_of_a_user_among_text_has_a_scope(query: Query, turn: str | None) -> None:
    assert turn_of(query) == turn
    assert bool(key(query, encoder="minilm").scope) == (turn is not None)


def test_a_scope_is_all_but_the_last_turn_and_its_numbers() -> None:
    def scope(text: str, earlier: str = "hi", encoder: str = "e", **fields: Any) -> str:
        turns = [{"role": "user", "content": earlier}, {"role": "user", "content": text}]
        return key(asked(*turns, **fields), encoder=encoder).scope

    assert scope("a lease of 3 years") == scope("3 years of lease")
    assert scope("a lease of 3 years") != scope("a lease of 4 years")
    assert scope("a") != scope("a", earlier="hello")
    assert scope("a") != scope("a", encoder="f")
    assert scope("a") != scope("a", seed=1)
    assert scope("a") == scope("a", stream=True)


def test_a_wish_is_read_and_a_strange_one_refused() -> None:
    assert wish_of(()) == "use"
    assert wish_of([(b"x-coe-cache", b" Refresh ")]) == "refresh"
    assert wish_of([(b"x-coe-part", b"1"), (b"x-coe-cache", b"use")]) == "off"
    with pytest.raises(InvalidRequest, match="use, refresh or off"):
        wish_of([(b"x-coe-cache", b"no")])
