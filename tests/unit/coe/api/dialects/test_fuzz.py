"""Whatever a body holds: it is a query, or it is refused with the field's name. Nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.api import wire
from coe.api.dialects import completions, messages, responses
from coe.api.dialects.messages.request import parse_counting
from coe.errors import InvalidRequest
from coe.settings import Settings

SETTINGS = Settings.model_construct()
# Words that mean something somewhere: a body of others is refused at its first field.
KEYS = st.sampled_from(
    [
        "arguments",
        "background",
        "call_id",
        "content",
        "data",
        "detail",
        "disable_parallel_tool_use",
        "echo",
        "format",
        "function",
        "id",
        "image_url",
        "include",
        "input",
        "input_schema",
        "instructions",
        "json_schema",
        "logprobs",
        "max_output_tokens",
        "max_tokens",
        "messages",
        "metadata",
        "model",
        "n",
        "name",
        "output",
        "output_config",
        "parameters",
        "prompt",
        "reasoning",
        "response_format",
        "role",
        "schema",
        "source",
        "stop_sequences",
        "store",
        "stream",
        "system",
        "text",
        "thinking",
        "tool_calls",
        "tool_choice",
        "tool_use_id",
        "tools",
        "truncation",
        "type",
        "url",
        "user_id",
    ]
)
WORDS = st.sampled_from(
    [
        "any",
        "assistant",
        "auto",
        "base64",
        "custom",
        "developer",
        "document",
        "enabled",
        "function",
        "function_call",
        "function_call_output",
        "image",
        "input_image",
        "input_text",
        "json_object",
        "json_schema",
        "message",
        "none",
        "output_text",
        "reasoning",
        "refusal",
        "required",
        "system",
        "text",
        "thinking",
        "tool",
        "tool_result",
        "tool_use",
        "url",
        "user",
    ]
)
SCALARS = st.none() | st.booleans() | st.integers(-2, 30) | WORDS | st.text(max_size=3)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.fixed_dictionaries({"type": WORDS | inner, "text": inner, "content": inner})
        | st.fixed_dictionaries({"role": WORDS | inner, "content": inner})
    ),
    max_leaves=12,
)
USUAL: dict[str, Any] = {
    "model": "m",
    "max_tokens": 5,
    "prompt": "hi",
    "input": "hi",
    "messages": [{"role": "user", "content": "hi"}],
}
OWN = {
    completions.parse: ("model", "prompt"),
    responses.parse: ("model", "input"),
    messages.parse: ("model", "max_tokens", "messages"),
    parse_counting: ("model", "messages"),
    wire.parse_chat: ("model", "messages"),
}


@pytest.mark.parametrize("parse", OWN, ids=lambda parse: parse.__module__.rpartition(".")[2])
@given(fields=st.dictionaries(KEYS, VALUES, max_size=3))
def test_a_body_is_a_query_or_is_refused(parse: Any, fields: dict[str, Any]) -> None:
    usual = {name: USUAL[name] for name in OWN[parse]}
    try:
        query = parse({**usual, **fields}, "q", SETTINGS, wire.NOBODY)
    except InvalidRequest as error:
        place = error.param or ""
    else:
        assert query.body["messages"]
        return
    assert place.split(".")[0].split("[")[0] in {*usual, *fields}
