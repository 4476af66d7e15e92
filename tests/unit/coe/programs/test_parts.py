"""The pure parts of prompt programs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from coe.claim import Claim
from coe.composition import Cost, Expert
from coe.composition.programs import Example, Examples
from coe.drafting.bodies import offer_of
from coe.programs.memory import LONGEST, Memory, key_of
from coe.programs.nearest import Nearest
from coe.programs.prompt import about, asked, sample, sent
from coe.programs.spelling import renamed
from coe.scoring.checks import Exact
from coe.scoring.prices import at_most, expected
from coe.scoring.rows import Row
from coe.types import Call, Dispatch
from coe.usage import summed

EXACT = Exact(answers=("4",))

COUNTS = st.integers(0, 10**6)
USAGES = st.fixed_dictionaries(
    {"prompt_tokens": COUNTS, "completion_tokens": COUNTS, "total_tokens": COUNTS},
    optional={"prompt_tokens_details": st.dictionaries(st.sampled_from("abc"), COUNTS)},
)


@given(st.lists(st.none() | USAGES))
def test_usage_is_the_sum_of_all_calls_in_whatever_order(usages: list[Any]) -> None:
    told = [usage for usage in usages if usage is not None]
    total = summed(usages)

    assert (total is None) == (not told)
    assert total == summed(reversed(usages))
    for key in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert sum(usage[key] for usage in told) == (total or {}).get(key, 0)
    for key in "abc":
        details = [usage.get("prompt_tokens_details", {}).get(key, 0) for usage in told]
        assert sum(details) == ((total or {}).get("prompt_tokens_details") or {}).get(key, 0)


def test_usage_keeps_what_cannot_be_added() -> None:
    assert summed([{"tier": "a", "x": None}, {"tier": "b", "x": 2}]) == {"tier": "a", "x": 2}


def dispatch(key: str = "", **body: Any) -> Dispatch:
    call = Call(expert="e", backend="b", model="m", body={"messages": [], **body})
    return Dispatch(query_id="1", call=call, claim=Claim(key=key))


def test_how_an_answer_is_sent_makes_no_other_request() -> None:
    plain = key_of(dispatch())

    same = dispatch(model="x", stream=True, stream_options={"include_usage": True})

    assert key_of(same) == plain
    assert key_of(dispatch(temperature=1)) != plain
    assert key_of(dispatch("other")) != plain


def test_keys_do_not_depend_on_the_order_of_fields() -> None:
    assert key_of(dispatch(a=1, b=2)) == key_of(dispatch(b=2, a=1))


def test_answers_are_forgotten_when_they_are_old_or_many() -> None:
    memory = Memory(ttl_s=10, most=2)
    memory.keep(b"a", b"1", 0)
    memory.keep(b"b", b"2", 1)

    assert memory.recall(b"a", 9.9) == b"1"
    memory.keep(b"c", b"3", 9.9)
    assert memory.recall(b"b", 9.9) is None  # the least recently used
    assert memory.recall(b"a", 10) is None  # too old
    assert memory.recall(b"c", 10) == b"3"
    assert len(memory) == 1


def test_a_very_long_answer_is_not_kept() -> None:
    memory = Memory(ttl_s=10, most=2)

    memory.keep(b"a", b"x" * (LONGEST + 1), 0)

    assert memory.recall(b"a", 0) is None


def test_what_is_kept_has_bounded_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coe.programs.memory.ROOM", 10)
    memory = Memory(ttl_s=10, most=9)
    for number in range(4):
        memory.keep(b"%d" % number, b"12345", 0)
        memory.keep(b"%d" % number, b"1234", 0)

    assert [memory.recall(b"%d" % n, 0) for n in range(4)] == [None, None, b"1234", b"1234"]


def test_system_prompts_become_one() -> None:
    user = {"role": "user", "content": "hi"}
    parts = {"role": "developer", "content": [{"type": "text", "text": "b"}]}

    assert sent("a", {"messages": [user]})["messages"] == [
        {"role": "system", "content": "a"},
        user,
    ]
    (joined, _) = sent("a", {"messages": [parts, user]})["messages"]
    assert joined["role"] == "developer"
    assert [part["text"] for part in joined["content"]] == ["a", "b"]


def test_samples_are_whole_alone_and_differ() -> None:
    body = {"messages": [], "stream": True, "stream_options": {}, "n": 1, "seed": 5, "top_p": 1}

    assert sample(body, 2) == {"messages": [], "seed": 7, "top_p": 1}
    assert sample(body, 0, stream=True)["stream_options"] == {"include_usage": True}


def test_a_prompts_length_is_about_a_token_for_four_letters() -> None:
    assert about({"messages": [{"role": "user", "content": "x" * 40}]}) == 14


def test_a_name_is_replaced_where_it_is_a_key_and_never_in_a_text() -> None:
    call = Call(expert="mine", backend="b", model="m", body={})
    rename = renamed("th.irs", call)

    assert rename(b'{"model": "th.irs","model":"thxirs"}') == b'{"model":"mine","model":"thxirs"}'
    text = b'{"content":"\\"model\\":\\"th.irs\\""}'
    assert rename(text) == text


def test_where_the_user_said_nothing_examples_are_near_to_nothing() -> None:
    assert asked({"messages": [{"role": "assistant", "content": "hi"}]}) == ""


class Letters:
    """An encoder that counts letters.

    Attributes:
        seen: all texts that it was given.
    """

    name, dim, fingerprint = "letters", 26, "1"

    def __init__(self) -> None:
        self.seen: list[str] = []

    def encode(self, texts: Any) -> NDArray[np.float32]:
        self.seen += texts
        rows = np.array([[t.count(chr(97 + i)) + 1e-6 for i in range(26)] for t in texts])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def examples(*texts: str, nearest: int = 2) -> Examples:
    rows = tuple(
        Example(messages=({"role": "user", "content": text},), answer=text.upper())
        for text in texts
    )
    return Examples(rows=rows, nearest=nearest, encoder="letters")


def test_the_nearest_examples_come_last() -> None:
    near = Nearest(examples("zzz", "aab", "aaa"), Letters, "")

    assert [row.answer for row in near.to("aaaa")] == ["AAB", "AAA"]


def test_of_equally_near_examples_the_first_is_nearer() -> None:
    near = Nearest(examples("ab", "ba", "ab", nearest=1), Letters, "")

    assert near.to("ab")[0] is near.examples.rows[0]


def test_embeddings_are_made_once_and_read_from_the_file(tmp_path: Path) -> None:
    first, second = Letters(), Letters()
    made = Nearest(examples("aaa", "bbb"), lambda: first, str(tmp_path)).load()
    (file,) = tmp_path.iterdir()

    read = Nearest(examples("aaa", "bbb"), lambda: second, str(tmp_path)).load()

    assert np.array_equal(made, read)
    assert second.seen == []
    file.write_bytes(b"rubbish")
    again = Nearest(examples("aaa", "bbb"), lambda: second, str(tmp_path)).load()
    assert np.array_equal(made, again)
    assert second.seen == ["aaa", "bbb"]


def test_embeddings_that_cannot_be_kept_are_made_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")

    vectors = Nearest(examples("aaa"), Letters, str(tmp_path / "file" / "below")).load()

    assert vectors.shape == (1, 26)
    assert "are not kept" in caplog.text


@pytest.mark.parametrize(("texts", "seen"), [(("aaa", "bbb"), 2), (("aaa", "bbc"), 4)])
def test_a_changed_composition_keeps_the_embeddings_that_are_the_same(
    texts: tuple[str, ...], seen: int
) -> None:
    encoder = Letters()
    before = Nearest(examples("aaa", "bbb"), lambda: encoder, "")
    before.load()
    after = Nearest(examples(*texts), lambda: encoder, "")
    after.follow(before)

    after.load()

    assert len(encoder.seen) == seen


def test_a_program_costs_its_calls_and_what_it_adds_to_each() -> None:
    body: dict[str, Any] = {"max_tokens": 100}
    row = Row(place="", digest="", messages=({"role": "user", "content": "x" * 40},), check=EXACT)
    coder = Expert(name="c", backend="b", model="m", cost=Cost(input=1.0, output=2.0))
    voted = replace(coder, calls=5, added=400)
    free = replace(coder, calls=0)

    one, five = expected(coder, row, body), expected(voted, row, body)
    assert one is not None
    assert five == pytest.approx(5 * (one + 100 / 1e6))
    most = at_most(coder, row.messages, 100)
    assert at_most(voted, row.messages, 100) == pytest.approx(5 * (most + 400 / 1e6))
    assert expected(free, row, body) == at_most(free, row.messages, 100) == 0


def test_what_a_panel_sets_aside_for_a_program_is_for_all_of_its_calls() -> None:
    call = Call(expert="c", backend="b", model="m", body={"messages": [], "max_tokens": 10})
    coder = Expert(name="c", backend="b", model="m", cost=Cost(input=1.0, output=2.0))

    one, five = offer_of(call, coder), offer_of(call, replace(coder, calls=5, added=400))

    assert five.prompt == pytest.approx(5 * (one.prompt + 400 / 1e6))
    assert five.token == pytest.approx(5 * one.token)
