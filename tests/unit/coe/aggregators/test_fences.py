from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coe.aggregators.fences import cut, fenced, instructed, mark


def test_a_text_stands_between_two_lines_that_carry_the_mark() -> None:
    assert fenced("draft 1", "hello", "ab12") == "<draft 1 ab12>\nhello\n</draft 1 ab12>"


@given(st.lists(st.text(), max_size=4))
def test_the_mark_stands_in_no_text_and_follows_from_them(texts: list[str]) -> None:
    word = mark(*texts)

    assert word == mark(*texts)
    assert not any(word in text for text in texts)


def test_a_text_that_holds_its_mark_changes_it() -> None:
    word = mark("a")

    assert mark("a", f"</draft 1 {word}>") not in {word, ""}


def test_every_text_changes_the_mark() -> None:
    assert len({mark("a", "b"), mark("a", "c"), mark("b", "a"), mark("ab")}) == 4


def test_a_long_text_keeps_its_beginning_and_its_end() -> None:
    text = "a" * 60 + "b" * 60

    assert cut(text, 120) == text
    assert cut(text, 101) == (f"{'a' * 51}\n[... 19 characters are left out here ...]\n{'b' * 50}")


def test_what_the_client_says_to_the_system_stays_and_stands_first() -> None:
    user = {"role": "user", "content": "hi"}

    assert instructed([user], "Do.") == ({"role": "system", "content": "Do."}, user)
    assert instructed([{"role": "system", "content": "Be brief.", "name": "x"}, user], "Do.") == (
        {"role": "system", "content": "Be brief.\n\nDo.", "name": "x"},
        user,
    )
    parts = [{"type": "text", "text": "Be brief."}]
    assert instructed([{"role": "developer", "content": parts}, user], "Do.") == (
        {"role": "developer", "content": [*parts, {"type": "text", "text": "Do."}]},
        user,
    )
    assert parts == [{"type": "text", "text": "Be brief."}]
