from __future__ import annotations

from typing import Any

from coe.backends.local.frames import Chunks
from coe.backends.local.request import parse
from coe.backends.local.ticket import Piece, Ticket
from coe.fold import fold


def ticket(**body: Any) -> Ticket:
    request = parse({"messages": [{"role": "user", "content": "hi"}], **body})
    made = Ticket("sql", request, lambda _: None)
    made.prompt_tokens, made.completion_tokens, made.fingerprint = 3, 4, "fp_1"
    return made


def spell(wanted: Ticket, *pieces: Piece) -> list[dict[str, Any]]:
    chunks = Chunks(wanted, answer_id="chatcmpl-1", created=5)
    return [chunk for piece in pieces for chunk in chunks.spell(piece)]


def choice(chunk: dict[str, Any]) -> dict[str, Any]:
    only: dict[str, Any] = chunk["choices"][0]
    return only


def test_the_first_chunk_carries_role_and_text_and_the_last_the_reason() -> None:
    chunks = spell(
        ticket(), Piece(choice=0, text="a"), Piece(choice=0, text="b", finish_reason="stop")
    )

    assert [choice(chunk)["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": "a"},
        {"content": "b"},
        {},
    ]
    assert [choice(chunk)["finish_reason"] for chunk in chunks] == [None, None, "stop"]


def test_an_empty_answer_is_one_chunk() -> None:
    chunks = spell(ticket(), Piece(choice=0, text="", finish_reason="stop"))

    assert [choice(chunk)["delta"] for chunk in chunks] == [{"role": "assistant", "content": ""}]
    assert choice(chunks[0])["finish_reason"] == "stop"


def test_each_choice_starts_with_its_role() -> None:
    chunks = spell(ticket(n=2), Piece(choice=1, text="x"), Piece(choice=0, text="y"))

    assert [choice(chunk)["delta"].get("role") for chunk in chunks] == ["assistant"] * 2


def test_log_probabilities_are_told_once() -> None:
    wanted = ticket(logprobs=True)
    notes = ({"token": "a"},)

    answer = fold(spell(wanted, Piece(choice=0, text="a", logprobs=notes, finish_reason="length")))

    assert answer["choices"][0]["logprobs"]["content"] == [{"token": "a"}]


def test_usage_has_no_choices_and_is_null_before() -> None:
    wanted = ticket(stream_options={"include_usage": True})

    usage = Chunks(wanted, answer_id="chatcmpl-1", created=5).usage()

    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    assert spell(wanted, Piece(choice=0, text="a"))[0]["usage"] is None
    assert "usage" not in spell(ticket(), Piece(choice=0, text="a"))[0]
