from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.aggregators.judging import compared, names, rated, rating, transcript, winner
from coe.drafts import Remark

WORDS = st.text("0123456789abcdef", min_size=8, max_size=8)


@given(WORDS, st.integers(0, 9), st.integers(0, 9))
def test_two_answers_have_two_names_that_follow_from_the_mark(
    word: str, first: int, second: int
) -> None:
    one, other = names(word, first, second)

    assert one != other
    assert len(one) == len(other) == 1
    assert not {one, other} & set("AICETO")
    assert names(word, first, second) == (one, other)


def test_names_change_with_the_mark_and_with_the_order() -> None:
    drawn = {names(f"{n:08x}", *pair) for n in range(100) for pair in ((0, 1), (1, 0))}

    assert len(drawn) > 100


@pytest.mark.parametrize(
    ("said", "place"),
    [
        ("K", 0),
        ("**M**", 1),
        ("Answer K is better.", 0),
        ("M adds wrongly, K does not.\n\nK\n", 0),
        ("<think>K? M?</think>M", 1),
        ("TIE", None),
        ("K or M", None),
        ("K, a TIE otherwise", None),
        ("k", None),
        ("KM", None),
        ("The first one.", None),
        ("", None),
        (" \n ", None),
    ],
)
def test_a_verdict_is_one_name_on_the_last_line(said: str, place: int | None) -> None:
    assert winner(Remark(text=said), ("K", "M")) == place
    assert winner(Remark(text=said, error="cut off"), ("K", "M")) is None


def test_a_judge_is_shown_the_conversation_and_both_answers_in_order() -> None:
    system, user = compared("[user]\nhi", ("one", "two"), ("K", "M"), "ab12")

    assert user["content"] == (
        "<conversation ab12>\n[user]\nhi\n</conversation ab12>\n\n"
        "<answer K ab12>\none\n</answer K ab12>\n\n"
        "<answer M ab12>\ntwo\n</answer M ab12>"
    )
    assert "K if answer K is better, M if answer M is" in system["content"]
    assert "{" not in system["content"]


def test_an_answer_is_rated_in_percent() -> None:
    system, user = rated("[user]\nhi", "hello {x}")

    assert "hello {x}" in user["content"]
    assert "{" not in system["content"]
    assert rating(Remark(text="It is right.\n85")) == 0.85
    assert rating(Remark(text="0")) == 0.0
    assert rating(Remark(text="85\nI think")) is None
    assert rating(Remark(text="-3")) is None
    assert rating(Remark(text="101")) is None
    assert rating(Remark(error="late")) is None


def test_a_transcript_says_who_speaks() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "image_url"}]},
        {"role": "assistant", "content": None},
    ]

    assert transcript(messages) == "[system]\nBe brief.\n\n[user]\nhi\n\n[assistant]\n"
