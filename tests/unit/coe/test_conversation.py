from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe import conversation
from coe.composition import Context, Stickiness
from coe.conversation import SessionKey, Window, read, stripped

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function"}]}
RESULT = {"role": "tool", "tool_call_id": "1", "content": "7"}
SOURCES = Stickiness().key


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def said(*texts: str) -> list[dict[str, Any]]:
    """A conversation in which the user said these, with answers between."""
    messages = []
    for text in texts:
        messages += [user(text), {"role": "assistant", "content": "fine"}]
    return messages[:-1]


def window(messages: list[dict[str, Any]], **context: Any) -> Window:
    return read(messages, Context(**context))


def key(
    messages: list[dict[str, Any]], sources: Any = SOURCES, tenant: str = "", **body: Any
) -> SessionKey:
    headers = [(b"x-session-id", body.pop("header"))] if "header" in body else []
    found = conversation.session_key(
        read(messages, Context()),
        sources,
        headers=headers,
        body={"messages": messages, **body},
        context=Context(),
        tenant=tenant,
    )
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("messages", "turn", "text", "turns"),
    [
        ([user("hello")], "hello", "hello", 1),
        ([{"role": "system", "content": "be brief"}, user("hello")], "hello", "hello", 1),
        (said("a", "b"), "b", "b\na", 2),
        (said("a", "b", "c", "d"), "d", "d\nc\nb", 3),
        ([user([{"type": "text", "text": "a"}, IMAGE])], "a", "a", 1),
        ([user([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])], "a\nb", "a\nb", 1),
        ([*said("a"), user([IMAGE])], "a", "a", 1),
        ([user([IMAGE])], "", "", 0),
        ([user(None)], "", "", 0),
        ([user("")], "", "", 0),
        ([user([])], "", "", 0),
        ([user([{"type": "text", "text": None}])], "", "", 0),
        ([{"role": "system", "content": "be brief"}], "", "", 0),
        ([user("what is 7?"), CALL, RESULT], "what is 7?", "what is 7?", 1),
        ([user("  \n a \n")], "a", "a", 1),
        (said("何歳ですか", "もう一度", "🙂"), "🙂", "🙂\nもう一度\n何歳ですか", 3),
    ],
)
def test_what_is_routed(messages: list[Any], turn: str, text: str, turns: int) -> None:
    found = window(messages)

    assert (found.turn, found.text, found.turns) == (turn, text, turns)


def test_a_window_of_one_turn_is_the_last_turn() -> None:
    found = window(said("a", "b", "c"), turns=1)

    assert (found.turn, found.text, found.previous) == ("c", "c", "b")


def test_a_long_turn_is_cut_to_its_beginning_and_its_end() -> None:
    found = window([user("a" * 500_000 + "b" * 500_000)])

    assert len(found.turn) == 4000
    assert found.turn.startswith("aaa")
    assert found.turn.endswith("bbb")


def test_an_earlier_turn_does_not_outweigh_the_last_one() -> None:
    found = window(said("x" * 10_000, "and now?"))

    assert found.text.startswith("and now?\nxxx")
    assert len(found.text) <= len("and now?\n") + conversation.EARLIER_CHARS


def test_a_conversation_of_200000_tokens_is_read_from_its_end() -> None:
    found = window([*said(*["word " * 400] * 500), user("stop")])

    assert found.text.startswith("stop\n")
    assert found.turns == 3


text_parts = st.builds(lambda text: {"type": "text", "text": text}, st.text(max_size=30))
contents = st.none() | st.text(max_size=300) | st.lists(text_parts | st.just(IMAGE), max_size=3)
roles = st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"])
conversations = st.lists(
    st.builds(lambda role, content: {"role": role, "content": content}, roles, contents),
    min_size=1,
    max_size=12,
)


@given(conversations, st.integers(1, 5), st.integers(100, 400))
def test_every_conversation_has_a_window_within_its_limits(
    messages: list[Any], turns: int, limit: int
) -> None:
    found = window(messages, turns=turns, max_chars=limit)

    assert len(found.text) <= limit
    assert found.turns <= turns
    assert found.text.startswith(found.turn)
    assert bool(found.turn) == (found.turns > 0)


@given(conversations)
def test_every_conversation_has_a_session(messages: list[Any]) -> None:
    assert key(messages).source == "derived"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("<system-reminder>be kind</system-reminder>hello", "hello"),
        ("a<system_reminder>x\ny</system_reminder>b", "ab"),
        ("a <system-reminder>1</system-reminder>b<system-reminder>2</system-reminder>", "a b"),
        ("<system-reminder>never closed", "<system-reminder>never closed"),
        ("a</system-reminder>b", "a</system-reminder>b"),
        ("<system-reminder><system-reminder>in</system-reminder>out", "out"),
    ],
)
def test_reminders_that_programs_add_are_not_routed(text: str, left: str) -> None:
    assert stripped(text, Context()) == left


def test_reminders_stay_where_the_composition_says_so() -> None:
    text = "<system-reminder>x</system-reminder>"

    assert stripped(text, Context(strip_reminders=False)) == text


def test_a_turn_of_a_reminder_alone_is_no_turn() -> None:
    found = window([*said("a"), user("<system-reminder>x</system-reminder>")])

    assert found.turn == "a"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("fix\n```python\n{}\n```\nplease", "fix\n```python\n```\nplease"),
        ("fix\n~~~\n{}\n~~~\nplease", "fix\n~~~\n~~~\nplease"),
        ("```\n{}", "```"),
        ("````md\n```\n{}\n```\n````\nso", "````md\n````\nso"),
        ("```\nshort\n```\n{}", "```\nshort\n```\n{}"),
    ],
)
def test_long_code_blocks_are_not_routed(text: str, left: str) -> None:
    code = "x = 1\n" * 20

    found = stripped(text.format(code), Context(code_blocks_over=50))

    assert found == left.format(code).strip()


@given(st.text(alphabet="`~ab \n", max_size=200))
def test_stripping_code_only_ever_removes(text: str) -> None:
    assert len(stripped(text, Context(code_blocks_over=0))) <= len(text) + text.count("\n")


@pytest.mark.parametrize("unit", ["<system-reminder>", "```\n", "</system-reminder>", "~~~a\n"])
def test_stripping_takes_time_in_proportion_to_the_text(unit: str) -> None:
    """A million characters that open again and again: quadratic work would not end."""
    stripped(unit * (1_000_000 // len(unit)), Context())


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([user("a")], False),
        ([user("a"), CALL], True),
        ([user("a"), CALL, RESULT], True),
        ([user("a"), CALL, RESULT, {"role": "assistant", "content": "7"}, user("b")], False),
        ([user("a"), CALL, RESULT, user("b")], False),
        ([user("a"), {"role": "function", "name": "f", "content": "7"}], True),
        ([user("a"), {"role": "assistant", "content": "half a"}], False),
        ([user("a"), CALL, user([{"type": "tool_result", "content": "7"}])], True),
        ([user("a"), user([{"type": "tool_result"}, {"type": "text", "text": "go on"}])], False),
        ([{"role": "system", "content": "a"}], False),
    ],
)
def test_a_tool_loop_ends_when_the_user_speaks(messages: list[Any], *, expected: bool) -> None:
    assert window(messages).in_tool_loop is expected


def test_the_first_source_that_has_a_key_gives_it() -> None:
    messages = said("a")

    assert key(messages, header=b"s1", user="u").source == "header:x-session-id"
    assert key(messages, user="u", prompt_cache_key="p").source == "body:user"
    assert key(messages, prompt_cache_key="p").source == "body:prompt_cache_key"
    assert key(messages).source == "derived"
    assert key(messages, user="", prompt_cache_key=7).source == "derived"


def test_without_a_source_there_is_no_session() -> None:
    found = conversation.session_key(
        window(said("a")), ["body:user"], headers=[], body={}, context=Context(), tenant=""
    )

    assert found is None


@pytest.mark.parametrize("body", [{"header": b"s1"}, {"user": "u"}, {}])
def test_the_same_words_of_two_tenants_are_two_sessions(body: dict[str, Any]) -> None:
    one, other, nobody = (key(said("a", "b"), tenant=name, **body) for name in ("t1", "t2", ""))

    assert key(said("a", "b"), tenant="t1", **body) == one
    for field in ("here", "before", "owner"):
        assert len({getattr(found, field) for found in (one, other, nobody)}) == 3


def test_a_header_names_one_conversation_whatever_is_sent() -> None:
    first, second = key(said("a"), header=b"s1"), key([user("something else")], header=b"s1")

    assert first.here == second.before
    assert key(said("a"), header=b"s2").here != first.here


@pytest.mark.parametrize("body", [{}, {"user": "u"}, {"prompt_cache_key": "p"}])
def test_the_next_turn_finds_the_turn_before(body: dict[str, str]) -> None:
    first, second = key(said("a"), **body), key(said("a", "b"), **body)

    assert first.before is None
    assert second.before == first.here
    assert key(said("a", "b", "c"), **body).before == second.here


def test_a_turn_that_was_cut_is_found_again() -> None:
    long = "a" * 3000 + "b" * 3000

    assert key(said(long, "b")).before == key(said(long)).here


def test_a_tool_loop_finds_its_own_turn() -> None:
    assert key([*said("a"), CALL, RESULT]).here == key(said("a")).here


def test_two_conversations_of_one_user_do_not_meet() -> None:
    assert key(said("a", "go on"), user="u").before != key(said("b"), user="u").here


@pytest.mark.parametrize(
    "other",
    [
        {"messages": said("b")},
        {"messages": [{"role": "system", "content": "s"}, *said("a")]},
        {"messages": said("a"), "tools": [{"type": "function"}]},
    ],
)
def test_a_derived_key_is_of_system_tools_and_first_turn(other: dict[str, Any]) -> None:
    derived = conversation.derived

    assert derived(other, Context()) != derived({"messages": said("a")}, Context())
    assert derived({"messages": said("a", "x")}, Context()) == derived(
        {"messages": said("a", "y", "z")}, Context()
    )


def test_text_that_is_not_unicode_has_a_key() -> None:
    assert key(said("\ud800"), user="\udc00").here
