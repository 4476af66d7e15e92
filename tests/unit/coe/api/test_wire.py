from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.api import wire
from coe.errors import InvalidRequest
from coe.settings import Settings
from coe.types import Query

SETTINGS = Settings()
USER = {"role": "user", "content": "hello"}


def chat(**fields: Any) -> Query:
    return wire.parse_chat({"model": "coe/auto", "messages": [USER], **fields}, "id", SETTINGS)


def json_of(raw: bytes) -> dict[str, Any]:
    return wire.parse_json(raw, SETTINGS)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "not JSON"),
        (b"hello", "not JSON"),
        (b'{"a": 1', "not JSON"),
        (b'{"a": NaN}', "not JSON"),
        (b'{"a": "\xff"}', "not JSON"),
        (b"[1]", "must be a JSON object, not a list"),
        (b"null", "must be a JSON object, not null"),
        (b'{"a": 1, "a": 2}', "`a` stands twice"),
        (b'{"a" : 1, "a": 2}', "`a` stands twice"),
        (b'{"x": {"a": 1, "\\u0061": 2}}', "`a` stands twice"),
        (b'{"a": ' + b"[" * 80 + b"]" * 80 + b"}", "nested too deeply"),
        (b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}", "nested too deeply"),
    ],
)
def test_refuses_a_body_that_is_not_strict_json(raw: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        json_of(raw)


@pytest.mark.parametrize(
    "value", ['":', '": "a":', '\\":', 'he said "x": y', '"messages":', "\\", '\\"']
)
def test_quotes_and_colons_in_a_text_are_no_duplicate_keys(value: str) -> None:
    assert json_of(orjson.dumps({"a": value, "b": {"a": value}}))["a"] == value


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), json_values))
def test_every_json_object_is_parsed_as_it_is(body: dict[str, Any]) -> None:
    assert json_of(orjson.dumps(body)) == body


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": 7}, "model"),
        ({"messages": [{"role": [], "content": "hi"}]}, "messages[0].role"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [USER] * 3000}, "messages"),
        ({"messages": ["hello"]}, "messages[0]"),
        ({"messages": [USER, {"role": "robot", "content": ""}]}, "messages[1].role"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [7]}]}, "messages[0].content"),
        ({"stream": "yes"}, "stream"),
        ({"n": 0}, "n"),
        ({"n": 1000}, "n"),
        ({"n": True}, "n"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"tools": {}}, "tools"),
        ({"tools": [{}] * 1000}, "tools"),
    ],
)
def test_names_the_field_that_is_wrong(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        chat(**fields)

    assert caught.value.param == param


def test_unknown_fields_are_kept() -> None:
    assert chat(metadata={"a": "b"}, made_up=[1]).body["made_up"] == [1]


@pytest.mark.parametrize(
    ("fields", "requires"),
    [
        ({}, set()),
        ({"tools": []}, set()),
        ({"tools": [{"type": "function"}]}, {"tools"}),
        ({"response_format": {"type": "text"}}, set()),
        ({"response_format": {"type": "json_object"}}, {"json"}),
        ({"response_format": {"type": []}}, {"json"}),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            {"vision"},
        ),
    ],
)
def test_what_a_request_requires(fields: dict[str, Any], requires: set[str]) -> None:
    assert chat(**fields).requires == requires


def test_the_clients_request_id_is_echoed_only_if_harmless() -> None:
    assert wire.request_id("req-1.2_3", "ours") == "req-1.2_3"
    assert wire.request_id(None, "ours") == "ours"
    assert wire.request_id("a b", "ours") == "ours"
    assert wire.request_id("a\r\nset-cookie: x", "ours") == "ours"
    assert wire.request_id("x" * 129, "ours") == "ours"


def test_ids_are_unique_and_sort_by_time() -> None:
    ids = [wire.new_id() for _ in range(1000)]

    assert len(set(ids)) == 1000
    assert all(len(one) == 32 for one in ids)
    assert ids[0][:12] <= ids[-1][:12]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": "m"}, "input"),
        ({"model": "m", "input": []}, "input"),
        ({"model": "m", "input": {}}, "input"),
        ({"model": "m", "input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"model": "m", "input": "a", "encoding_format": []}, "encoding_format"),
        ({"input": "a"}, "model"),
    ],
)
def test_an_embeddings_request_is_checked(body: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        wire.parse_embeddings(body, "id")

    assert caught.value.param == param
