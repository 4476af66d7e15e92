"""All text of a body is looked at, wherever it stands."""

from __future__ import annotations

from typing import Any

import pytest

from coe.policies.texts import texts_of

WORD = "needle"


@pytest.mark.parametrize(
    "field",
    [
        {"messages": [{"role": "user", "content": WORD}]},
        {"messages": [{"role": "system", "content": WORD}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": WORD}]}]},
        {"messages": [{"role": "tool", "tool_call_id": "1", "content": WORD}]},
        {"messages": [{"role": "tool", "content": [{"type": "text", "text": WORD}]}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": WORD}}]}]},
        {"messages": [{"role": "assistant", "function_call": {"arguments": f'{{"a": "{WORD}"}}'}}]},
        {"messages": [{"role": "user", "name": WORD, "content": "x"}]},
        {"tools": [{"type": "function", "function": {"name": "f", "description": WORD}}]},
        {"prediction": {"type": "content", "content": WORD}},
        {"metadata": {"note": WORD}},
        {"input": ["a", WORD]},
        {"a field that nobody knows": [[[{"deep": WORD}]]]},
    ],
)
def test_it_is_found_wherever_it_stands(field: dict[str, Any]) -> None:
    assert WORD in list(texts_of({"model": "m", **field}))


def test_a_key_behind_a_line_break_in_arguments_begins_a_line() -> None:
    call = {"function": {"name": "write", "arguments": '{"text": "key:\\nAKIA"}'}}

    texts = list(texts_of({"messages": [{"role": "assistant", "tool_calls": [call]}]}))

    assert "key:\nAKIA" in texts


def test_pictures_sound_and_files_are_no_text() -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "file", "file": {"file_data": "AAAA", "filename": "name.pdf"}},
    ]

    texts = set(texts_of({"messages": [{"role": "user", "content": parts}]}))

    assert not any("AAAA" in text for text in texts)
    assert "name.pdf" in texts
