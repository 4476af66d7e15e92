from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routers.spelling import repair
from routers.words import Vocabulary, count_pairs, vocabulary

TEXTS = (
    "please transfer money to my savings account",
    "what is the balance of my savings account",
    "how much is the rent of a flat in chicago",
    "play some music from the kitchen speaker",
    "book a table at the italian restaurant tonight",
    "i don't know what it's called",
)
COMMON = (*" ".join(TEXTS).split(), "form", "cat", "bat", "rent", "bob", "s", "nw")


def known(texts: Sequence[str] = TEXTS, common: Sequence[str] = COMMON) -> Vocabulary:
    return vocabulary(count_pairs(texts), common)


KNOWN = known()
LONG = sorted(word for word in KNOWN.own if len(word) > 5)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("please transer money", "please transfer money"),  # dropped
        ("please tranfser money", "please transfer money"),  # swapped
        ("please transsfer money", "please transfer money"),  # doubled
        ("please tranqsfer money", "please transfer money"),  # inserted
        ("please tramsfer money", "please transfer money"),  # mistaken
        ("please transfermoney", "please transfer money"),  # the space dropped
        ("please transferm oney", "please transfer money"),  # the space misplaced
        ("please transfe rmoney", "please transfer money"),
        ("the italian restuarnt", "the italian restaurant"),  # two slips of a long word
        ("what is the blance?", "what is the balance?"),
        ("Paly some music", "Play some music"),
        ("music form the kitchen", "music from the kitchen"),  # a word that exists
        ("(teh balance)", "(the balance)"),
    ],
)
def test_a_slip_is_repaired(typed: str, meant: str) -> None:
    assert repair(typed, KNOWN) == meant


@pytest.mark.parametrize(
    "text",
    [
        *TEXTS,
        "",
        "play a cat of a bat",  # words that exist, though no utterance has them
        "balance of nw7x and table2 of 12.50",
        "transfer to Chicagp",  # a name, as far as anyone knows
        "the MONY",
        "for balanc in acount:\n    retur(balanc)",
        "let blance = acount;",
        "see https://exmaple.com/blance and savngs_account",
        "was kostet die Wohnung und wie komme ich dorthin",
        "сколько стоит квартира",
        "口座の残高を教えて",
        "the balance of bob's savings account",
        "please transer money " * 120,
    ],
)
def test_what_may_be_meant_so_is_left_alone(text: str) -> None:
    assert repair(text, KNOWN) == text


@given(st.sampled_from(LONG), st.integers(0, 5), st.sampled_from(["drop", "swap", "double"]))
def test_any_slip_in_a_long_word_is_repaired(word: str, place: int, slip: str) -> None:
    typed = {
        "drop": word[:place] + word[place + 1 :],
        "swap": word[:place] + word[place : place + 2][::-1] + word[place + 2 :],
        "double": word[: place + 1] + word[place:],
    }[slip]

    assert repair(typed, KNOWN) == word


@given(st.text(max_size=60))
def test_no_text_is_refused_and_no_line_is_lost(text: str) -> None:
    assert repair(text, KNOWN).count("\n") == text.count("\n")


@given(st.text(alphabet=st.characters(max_codepoint=0x2FFFF, categories=("N", "P", "S", "Zs"))))
def test_without_letters_nothing_is_touched(text: str) -> None:
    assert repair(text, KNOWN) == text


@given(st.text(alphabet="абвгд жзиклм ščěř ñ 你好 "))
def test_other_scripts_are_not_touched(text: str) -> None:
    assert repair(text, KNOWN) == text


@given(st.lists(st.sampled_from(TEXTS), max_size=4))
def test_what_the_utterances_say_stays(texts: list[str]) -> None:
    text = "\n".join(texts)

    assert repair(text, KNOWN) == text


def test_the_neighbours_decide_between_two_readings() -> None:
    texts = ["buy some bread", "the book is read", "buy a card", "drive a cart"] * 3
    words = known(texts, " ".join(texts).split())

    assert repair("buy some beread", words) == "buy some bread"
    assert repair("the book is rread", words) == "the book is read"
    assert repair("buy a crad", words) == "buy a card"
    assert repair("drive a crat", words) == "drive a cart"


def test_utterances_in_a_language_of_which_no_word_is_known_repair_nothing() -> None:
    words = known(["was kostet die wohnung", "wie komme ich dorthin"], COMMON)

    assert repair("was koste die wohnun", words) == "was koste die wohnun"


def test_an_empty_vocabulary_repairs_nothing() -> None:
    assert repair("anything at all", known((), ())) == "anything at all"
