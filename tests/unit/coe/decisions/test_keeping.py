from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from coe.decisions.keeping import kept

CONTENT = st.text(max_size=300) | st.lists(
    st.fixed_dictionaries({"type": st.just("text"), "text": st.text(max_size=300)})
)
MESSAGES = st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": CONTENT}))


def message(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def test_sec_16_keys_in_a_prompt_are_not_kept() -> None:
    parts = [{"type": "text", "text": "password: hunter2hunter2"}]

    rows = kept([message("use sk-canary0123456789"), message(parts)], 10_000)

    assert rows[0]["content"] == "use [key]"
    assert rows[1]["content"][0]["text"] == "password: [key]"


def test_the_oldest_messages_go_first() -> None:
    rows = kept([message("a" * 100), message("b" * 100), message("c")], 200)

    assert [row["content"][0] for row in rows] == ["b", "c"]


def test_of_a_message_that_is_too_long_the_beginning_is_kept() -> None:
    (row,) = kept([message("a" * 1000)], 200)

    assert row == {"role": "user", "content": "a" * 100 + "…"}


@given(MESSAGES, st.integers(200, 2000))
def test_sec_16_no_more_is_kept_than_the_bound(messages: list[Any], most: int) -> None:
    rows = kept(messages, most)

    # A control character takes six bytes of JSON for one; the cut is by bytes of text.
    assert len(rows) <= len(messages)
    assert sum(len(orjson.dumps(row)) for row in rows) <= 3 * most + 100


def test_texts_of_an_input_are_kept_likewise() -> None:
    assert kept("hello", 100) == ["hello"]
    assert kept(["a" * 60, "b"], 50) == ["b"]
    assert kept(None, 100) == []
