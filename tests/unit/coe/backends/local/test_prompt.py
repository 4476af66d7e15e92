from __future__ import annotations

from typing import Any

import pytest

from coe.backends.local.prompt import encode, plain_messages, plain_template
from coe.errors import BackendRejected


class Letters:
    """As much of a Hugging Face tokenizer as a prompt needs: a token per letter."""

    chat_template: str | None = None
    bos_token_id: int | None = None
    eos_token_id: int | None = 7

    def __call__(self, text: str, *, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": [1] * add_special_tokens + [ord(letter) for letter in text]}

    def apply_chat_template(self, messages: Any, **_: Any) -> str:
        return "|".join(message["content"] for message in messages)


class Templated(Letters):
    chat_template = "yes"


class Refusing(Templated):
    def apply_chat_template(self, messages: Any, **_: Any) -> str:
        raise ValueError(f"{len(messages)} messages are too many")


def user(content: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content}]


def test_text_parts_are_joined_by_newlines() -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]

    assert plain_messages(user(parts)) == user("one\ntwo")


def test_developers_speak_as_the_system_and_nothing_is_an_empty_text() -> None:
    messages = [{"role": "developer", "content": None}]

    assert plain_messages(messages) == [{"role": "system", "content": ""}]


def test_the_plain_template_ends_where_the_assistant_speaks() -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]

    assert plain_template(messages) == "System: Be brief.\n\nUser: Hi\n\nAssistant:"


def test_a_tokenizer_without_a_template_gets_the_plain_one_and_its_own_first_token() -> None:
    ids = encode(Letters(), user("Hi"))

    assert ids[0] == 1
    assert "".join(map(chr, ids[1:])) == "User: Hi\n\nAssistant:"


def test_a_template_s_text_gets_no_second_first_token() -> None:
    assert encode(Templated(), user("Hi")) == (ord("H"), ord("i"))


def test_there_is_always_a_token_to_start_from() -> None:
    assert encode(Templated(), user("")) == (7,)


def test_what_the_template_refuses_is_a_400() -> None:
    with pytest.raises(BackendRejected, match="refuses these messages: 1 messages are too many"):
        encode(Refusing(), user("Hi"))


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "robot", "content": "x"}, "messages.0.role"),
        ({"content": "x"}, "messages.0.role"),
        ({"role": "user", "content": 5}, "messages.0.content"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "messages.0.content.0"),
        ({"role": "user", "content": ["x"]}, "messages.0.content.0"),
        ({"role": "user", "content": [{"type": "text"}]}, "messages.0.content.0"),
        ({"role": "assistant", "tool_calls": [{}]}, "messages.0.tool_calls"),
    ],
)
def test_what_is_not_text_is_a_400_with_its_place(message: dict[str, Any], param: str) -> None:
    with pytest.raises(BackendRejected) as caught:
        plain_messages([message])

    assert (caught.value.status, caught.value.param) == (400, param)
