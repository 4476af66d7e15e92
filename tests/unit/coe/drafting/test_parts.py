"""What a panel sends, reads, adds up and writes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any

import orjson
import pytest

from coe.composition import Cost, Expert
from coe.drafting import bodies, passing, provenance, reading, rendering
from coe.drafting.budget import LEAST_TOKENS, Budget, Grant, Offer
from coe.drafting.records import Bill, Record
from coe.drafts import Member, Merge, Pick, Relay, Write
from coe.errors import BackendProtocolError
from coe.types import Call, PanelPlan

EXPERT = Expert(name="a", backend="b", model="m", cost=Cost(input=1.0, output=2.0))
COE = {"provenance": {"panel": "p"}}


def call(**body: Any) -> Call:
    messages = [{"role": "user", "content": "hi"}]
    return Call(
        expert="a", backend="b", model="m", body={"messages": messages, **body}, stream=True
    )


def completion(text: str | None = "hello", **message: Any) -> dict[str, Any]:
    whole = {"role": "assistant", "content": text, **message}
    choice = {"index": 0, "message": whole, "logprobs": None, "finish_reason": "stop"}
    return {"id": "1", "object": "chat.completion", "created": 2, "model": "a", "choices": [choice]}


# --- budget


def test_a_call_without_a_limit_gets_one_that_its_share_pays_for() -> None:
    budget = Budget(1.0)

    first = budget.reserve("1", Offer(prompt=0.05, token=0.001), shares=4)
    second = budget.reserve("2", Offer(prompt=0.05, token=0.001), shares=3)

    assert first == Grant(0.25, 200)
    assert second is not None
    assert second.limit == 200
    budget.settle("1", 0.01)
    budget.settle("2", None)
    assert budget.spent == pytest.approx(0.26)
    assert budget.held == 0


def test_a_call_that_could_pass_the_limit_is_not_paid_for() -> None:
    budget = Budget(0.1)

    assert budget.reserve("1", Offer(prompt=0.05, token=0.001, limit=60)) is None
    assert budget.reserve("1", Offer(prompt=0.05, token=0.001, limit=50)) is not None
    assert budget.reserve("2", Offer(prompt=0.001)) is None


def test_an_answer_of_a_few_words_is_not_asked_for() -> None:
    assert Budget(0.031).reserve("1", Offer(token=0.001)) is None
    assert Budget(0.033).reserve("1", Offer(token=0.001)) == Grant(pytest.approx(0.033), 33)


def test_a_limit_that_is_set_is_no_higher_than_the_context_allows() -> None:
    granted = Budget(1.0).reserve("1", Offer(token=0.001, ceiling=100))

    assert granted is not None
    assert granted.limit == 100


def test_without_a_limit_everything_is_paid_for() -> None:
    assert Budget().reserve("1", Offer(prompt=float("inf"))) == Grant()


# --- bodies


def test_a_draft_is_asked_for_as_a_whole_and_as_one() -> None:
    asked = bodies.draft_call(
        call(stream=True, stream_options={"include_usage": True}, n=3, stop=["x"]),
        Member(expert="a"),
        Grant(),
    )

    assert not asked.stream
    assert asked.is_part
    assert set(asked.body) == {"messages", "stop"}


def test_a_sample_differs_from_the_first() -> None:
    again = Member(expert="a", sample=2)

    assert bodies.draft_call(call(seed=5), again, Grant()).body["seed"] == 7
    assert bodies.draft_call(call(), again, Grant()).body["temperature"] == 0.7
    assert bodies.draft_call(call(temperature=0.0), again, Grant()).body["temperature"] == 0.0


def test_a_limit_of_the_client_s_own_stays() -> None:
    grant = Grant(1.0, 500)

    assert bodies.limited({"max_tokens": 20}, grant) == {"max_tokens": 20}
    assert bodies.limited({"max_completion_tokens": 20}, grant) == {"max_completion_tokens": 20}
    assert bodies.limited({}, grant) == {"max_tokens": 500}
    assert bodies.limited({}, Grant()) == {}


def test_an_offer_is_never_too_low() -> None:
    asked = call(max_tokens=100)
    offer = bodies.offer_of(asked, EXPERT)

    assert offer.prompt >= len(orjson.dumps(asked.body)) / 1e6
    assert offer.token == pytest.approx(2e-6)
    assert offer.limit == 100
    assert bodies.offer_of(asked, Expert(name="x", backend="b", model="m")).prompt == float("inf")


def test_a_picture_that_is_elsewhere_counts() -> None:
    parts = [{"type": "image_url", "image_url": {"url": "http://x"}}]
    picture = call(messages=[{"role": "user", "content": parts}])

    assert bodies.offer_of(picture, EXPERT).prompt > 4096 / 1e6


def test_a_limit_leaves_room_for_the_prompt() -> None:
    small = Expert(name="a", backend="b", model="m", context=40, cost=EXPERT.cost)

    assert bodies.offer_of(call(), small).ceiling == LEAST_TOKENS


# --- reading


@pytest.mark.parametrize("whole", [b"", b"[]", b"nonsense", b'"text"'])
def test_what_is_no_object_is_no_answer(whole: bytes) -> None:
    with pytest.raises(BackendProtocolError):
        reading.parsed(whole, "a")


MALFORMED: list[tuple[Mapping[str, Any], str]] = [
    ({}, "without a message"),
    ({"choices": []}, "without a message"),
    ({"choices": ["x"]}, "without a message"),
    ({"choices": [{"message": None}]}, "without a message"),
    (completion(None), "no text"),
    (completion("  \n"), "no text"),
    (completion(None, refusal="I would rather not"), "refused"),
    (completion(None, tool_calls=[{"id": "1"}]), "calls a tool"),
    (completion([{"type": "image"}]), "no text"),  # type: ignore[arg-type]
    ({"choices": [{"message": {"content": ""}, "finish_reason": "length"}]}, "`length`"),
]


@pytest.mark.parametrize(("answer", "why"), MALFORMED)
def test_what_cannot_be_read_is_a_failed_draft(answer: Mapping[str, Any], why: str) -> None:
    draft = reading.draft_of(answer, 3)

    assert draft.member == 3
    assert draft.has_failed
    assert why in draft.error


def test_a_draft_tells_how_sure_it_is() -> None:
    answer = completion([{"type": "text", "text": "he"}, {"type": "text", "text": "llo"}])  # type: ignore[arg-type]
    answer["choices"][0]["logprobs"] = {"content": [{"logprob": -0.5}, {"logprob": -1.5}, {}]}

    draft = reading.draft_of(answer, 0)

    assert draft.text == "hello"
    assert draft.logprob == -1.0


@pytest.mark.parametrize("usage", [None, "x", {}, {"prompt_tokens": True}, {"prompt_tokens": -1}])
def test_usage_that_is_none_costs_nobody_knows_what(usage: Any) -> None:
    bill = reading.bill_of(usage, EXPERT, 1.0)

    assert bill.cost is None
    assert bill.prompt_tokens is None


# --- rendering


def test_log_probabilities_are_for_who_asks() -> None:
    answer = completion()
    answer["choices"][0]["logprobs"] = {"content": []}

    assert rendering.chosen(answer, "b", logprobs=False)["choices"][0]["logprobs"] is None
    assert rendering.chosen(answer, "b", logprobs=True)["choices"][0]["logprobs"] is not None
    assert rendering.chosen(answer, "b", logprobs=True)["model"] == "b"


def test_texts_are_joined_and_one_that_was_cut_says_so() -> None:
    cut = completion("two ")
    cut["choices"][0]["finish_reason"] = "length"

    merged = rendering.merged([completion("one"), cut], ["a", "b"], as_choices=False)

    assert merged["choices"][0]["message"]["content"] == "**a**\n\none\n\n**b**\n\ntwo"
    assert merged["choices"][0]["finish_reason"] == "length"


# --- passing


async def rest(*blocks: bytes) -> AsyncGenerator[bytes, None]:
    for block in blocks:
        yield block


def frame(value: Mapping[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"


def chunk(text: str = "", reason: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": reason}
    return {"id": "1", "object": "chat.completion.chunk", "choices": [choice], **more}


async def passed(*blocks: bytes, include_usage: bool) -> tuple[list[Any], list[Any]]:
    told: list[Any] = []

    def closing(held: Any, head: Any, usage: Any) -> list[bytes]:
        told.append(usage)
        return rendering.closing(held, head, {"total_tokens": 9}, COE, include_usage=include_usage)

    frames = [
        orjson.loads(one[6:])
        async for block in passing.passed_on(blocks[0], rest(*blocks[1:]), closing)
        for one in block.split(b"\n\n")
        if one.startswith(b"data: ")
    ]
    return frames, told


USAGE = {"prompt_tokens": 1, "completion_tokens": 2}


@pytest.mark.anyio
@pytest.mark.parametrize("include_usage", [True, False])
async def test_the_last_chunk_says_how_the_answer_came_about(*, include_usage: bool) -> None:
    blocks = (
        frame(chunk("a")),
        frame(chunk("b")) + frame(chunk("", "stop")),
        frame({**chunk(), "choices": [], "usage": USAGE}),
    )

    frames, told = await passed(*blocks, include_usage=include_usage)

    assert told == [USAGE]
    assert [one for one in frames if "coe" in one] == [frames[-1]]
    assert ("usage" in frames[-1]) is include_usage
    finish = [one for one in frames if one["choices"] and one["choices"][0]["finish_reason"]]
    assert finish == [frames[-2 if include_usage else -1]]


@pytest.mark.anyio
async def test_usage_beside_the_finish_reason_is_swallowed() -> None:
    frames, told = await passed(frame(chunk("a", "stop", usage=USAGE)), include_usage=False)

    assert told == [USAGE]
    assert "usage" not in frames[-1]
    assert frames[-1]["coe"] == COE


@pytest.mark.anyio
async def test_a_stream_without_a_finish_reason_ends_with_the_provenance() -> None:
    frames, _ = await passed(frame(chunk("a")), include_usage=False)

    assert frames[-1]["coe"] == COE
    assert frames[-1]["choices"][0]["finish_reason"] is None


@pytest.mark.anyio
async def test_comments_pass() -> None:
    blocks = [
        block
        async for block in passing.passed_on(b": ping\n\n" + frame(chunk("a")), rest(), no_end)
    ]

    assert blocks[0].startswith(b": ping\n\n")


def no_end(held: Any, head: Any, usage: Any) -> list[bytes]:
    del held, head, usage
    return []


# --- provenance


def test_calls_that_changed_nothing_are_counted() -> None:
    drafts = [Record(expert=name, role="draft", status="unused") for name in "abc"]
    unmade = Record(expert="d", role="draft", status="dropped", is_made=False)
    judge = Record(expert="j", role="judge", status="used")
    records = [*drafts, unmade, judge]

    assert provenance.unnecessary(Pick(member=0), records) == 2
    assert provenance.unnecessary(Pick(member=1), records) == 0
    assert provenance.unnecessary(Relay(member=1), records) == 0
    drafts[0].status = "used"
    assert provenance.unnecessary(Write(expert="w", messages=(), used=(0,)), records) == 2
    assert provenance.unnecessary(Merge(members=(0,), as_choices=True), records) == 2


def test_a_cost_that_nobody_knows_is_not_zero() -> None:
    plan = PanelPlan(panel="p", calls=(), weights=())
    free = Record(expert="a", role="draft", bill=Bill())

    assert provenance.report(plan, [free], {"a": EXPERT}).cost is None
    assert provenance.usage([free]) is None
