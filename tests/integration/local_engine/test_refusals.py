"""Calls that the engine does not serve."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from coe.errors import BackendRejected, ContextTooLong

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
    ],
)
async def test_what_would_change_the_meaning_is_refused(
    lab: Any, body: dict[str, Any], param: str
) -> None:
    async with lab.running() as backend:
        with pytest.raises(BackendRejected) as caught:
            await lab.ask(backend, "red", **body)

    assert (caught.value.status, caught.value.param) == (400, param)


async def test_an_image_is_refused_with_its_place(lab: Any) -> None:
    parts = [{"type": "text", "text": "what is"}, {"type": "image_url", "image_url": {"url": "x"}}]

    async with lab.running() as backend:
        with pytest.raises(BackendRejected) as caught:
            await lab.ask(backend, "red", messages=[{"role": "user", "content": parts}])

    assert caught.value.param == "messages.0.content.1"


async def test_a_prompt_that_fills_the_context_is_told_both_numbers(lab: Any) -> None:
    async with lab.running() as backend:
        with pytest.raises(ContextTooLong, match=rf"\d+ tokens.*context of {lab.context}"):
            await lab.ask(backend, "red", "zzz " * lab.context)


async def test_an_expert_that_it_does_not_have_is_a_404(lab: Any) -> None:
    async with lab.running() as backend:
        with pytest.raises(BackendRejected) as caught:
            await lab.ask(backend, "nobody")

    assert caught.value.status == 404


async def test_it_embeds_nothing(lab: Any) -> None:
    chat = lab.dispatch("red")
    wanted = dataclasses.replace(chat, call=dataclasses.replace(chat.call, endpoint="embeddings"))

    async with lab.running() as backend:
        with pytest.raises(BackendRejected, match="only chats"):
            await anext(backend.generate(wanted))
