from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.backends.local.text import Detokenizer, StopStrings, TextStream


def decode_bytes(tokens: Sequence[int]) -> str:
    """A byte-level tokenizer: one token per byte."""
    return bytes(tokens).decode(errors="replace")


def decode_byte_fallback(tokens: Sequence[int]) -> str:
    """One replacement character per byte while a run of bytes is no text, as in Llama 2."""
    try:
        return bytes(tokens).decode()
    except UnicodeDecodeError as error:
        bad = len(tokens) - error.start
        return bytes(tokens[: error.start]).decode() + "\ufffd" * bad


def decode_words(tokens: Sequence[int]) -> str:
    """A tokenizer that drops the space before the first word, as SentencePiece does."""
    words = ("the", "cat", "sat", "here")
    return " ".join(words[token] for token in tokens)


def pieces(stream: TextStream, tokens: Sequence[int]) -> list[str]:
    found = []
    for token in tokens:
        shown = stream.push(token)
        found.append(shown.text)
        if shown.stopped:
            return found
    return [*found, stream.finish().text]


@given(st.text())
def test_pieces_of_any_text_spell_it(text: str) -> None:
    tokens = list(text.encode())

    assert "".join(pieces(TextStream(decode_bytes), tokens)) == text


@given(st.binary())
def test_pieces_of_any_bytes_spell_what_a_whole_decode_gives(raw: bytes) -> None:
    assert "".join(pieces(TextStream(decode_bytes), raw)) == decode_bytes(raw)


@pytest.mark.parametrize("decode", [decode_bytes, decode_byte_fallback])
@pytest.mark.parametrize("character", ["é", "€", "😀"])
def test_half_a_character_is_never_shown(decode: Any, character: str) -> None:
    detokenizer = Detokenizer(decode)
    *start, last = character.encode()

    assert [detokenizer.push(byte) for byte in start] == [""] * len(start)
    assert detokenizer.push(last) == character


def test_the_space_between_words_survives_decoding_in_parts() -> None:
    assert pieces(TextStream(decode_words), [0, 1, 2]) == ["the", " cat", " sat", ""]


def test_a_character_that_is_never_completed_is_shown_at_the_end() -> None:
    assert pieces(TextStream(decode_bytes), [65, 0xE2]) == ["A", "", "\ufffd"]


def test_a_run_of_noise_is_not_held_back_for_ever() -> None:
    shown = pieces(TextStream(decode_bytes), [0xFF] * 10)

    assert "".join(shown) == "\ufffd" * 10
    assert "".join(shown[:-1])


def test_what_might_become_a_stop_string_is_held_back() -> None:
    stops = StopStrings(["END"])

    assert stops.push("an E") == ("an ", False)
    assert stops.push("N") == ("", False)
    assert stops.push("ter") == ("ENter", False)


def test_the_stop_string_that_is_complete_first_wins() -> None:
    assert StopStrings(["c", "b"]).push("abcd") == ("a", True)
    assert StopStrings(["abc", "b"]).push("abcd") == ("a", True)
    assert StopStrings(["bc", "c"]).push("abcd") == ("a", True)


def test_empty_stop_strings_are_ignored() -> None:
    assert StopStrings([""]).push("text") == ("text", False)


@given(
    st.text(alphabet="ab", max_size=40),
    st.lists(st.text(alphabet="ab", min_size=1, max_size=4), max_size=4),
    st.lists(st.integers(1, 5), max_size=40),
)
def test_no_part_of_a_stop_string_is_shown(text: str, stops: list[str], cuts: list[int]) -> None:
    hits = [(text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text]
    expected = text[: min(hits)[1]] if hits else text
    streamed, rest, stopped = "", text, False
    found = StopStrings(stops)

    for cut in [*cuts, *[1] * len(text)]:
        piece, rest = rest[:cut], rest[cut:]
        shown, stopped = found.push(piece)
        streamed += shown
        assert expected.startswith(streamed)
        if stopped:
            break
    streamed += "" if stopped else found.finish()

    assert stopped == bool(hits)
    assert streamed == expected


def test_a_note_travels_with_the_text_that_its_token_begins() -> None:
    stream = TextStream(decode_bytes, ["bc"])

    assert stream.push(ord("a"), {"n": 1}).notes == ({"n": 1},)
    assert stream.push(ord("b"), {"n": 2}).notes == ()
    assert stream.push(ord("x"), {"n": 3}).notes == ({"n": 2}, {"n": 3})


def test_a_stop_string_cuts_the_notes_of_its_tokens_off() -> None:
    stream = TextStream(decode_bytes, ["bc"])

    shown = [stream.push(ord(letter), {"letter": letter}) for letter in "abc"]

    assert [note["letter"] for piece in shown for note in piece.notes] == ["a"]
    assert shown[-1].stopped


def test_the_end_releases_what_might_have_become_a_stop_string_and_its_notes() -> None:
    stream = TextStream(decode_bytes, ["bc"])
    stream.push(ord("b"), {"n": 1})

    end = stream.finish()

    assert (end.text, end.notes, end.stopped) == ("b", ({"n": 1},), False)


def test_a_stop_string_may_be_reached_by_the_last_held_character() -> None:
    stream = TextStream(decode_bytes, ["\ufffd"])
    stream.push(0xE2)

    assert stream.finish().stopped
