from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coe.errors import BackendTimeout, ConfigError
from coe.protocols import RouterSpec
from coe.testing.routers import GivenExpert, GivenParts, check_router
from coe.types import Category
from routers.llm import LlmRouter, build

CATEGORIES = (
    Category(
        name="sums",
        description="numbers and what they make",
        utterances=("two plus two", 'what is "nine" times four', "a third one", "a fourth one"),
        negatives=("a sum in a contract",),
    ),
    Category(name="trips"),
    Category(name="verse", utterances=("a poem about rain",)),
)
Says = Callable[[Mapping[str, Any]], str]


class Judge:
    """Says one thing after the other, the last one for ever; keeps what it was asked."""

    name = "judge"

    def __init__(self, *answers: str | Exception) -> None:
        self.asked: list[Mapping[str, Any]] = []
        self.left = list(answers)
        self.ask = GivenExpert(self.name, self.answer).ask

    def answer(self, body: Mapping[str, Any]) -> str:
        self.asked.append(body)
        answer = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def verdict(category: str, confidence: float = 1.0) -> str:
    return json.dumps({"category": category, "confidence": confidence})


def judged(expert: Judge, **options: Any) -> LlmRouter:
    return LlmRouter(name="judge", categories=CATEGORIES, expert=expert, **options)


def text_of(body: Mapping[str, Any]) -> str:
    return str(json.loads(body["messages"][1]["content"])["text"])


def test_what_is_not_given_to_the_verdict_is_shared_by_the_others_and_none() -> None:
    scores = judged(Judge(verdict("trips", 0.7))).score(["to Rome"])

    assert scores.values[0] == pytest.approx([0.1, 0.7, 0.1])
    assert scores.failures == ("",)
    ((found,),) = scores.evidence
    assert (found.kind, found.category, found.text) == ("judge", "trips", "judge: trips, 0.70 sure")


def test_none_of_these_is_a_verdict() -> None:
    scores = judged(Judge(verdict("none of these", 0.7))).score(["hm"])

    assert scores.values[0] == pytest.approx([0.1, 0.1, 0.1])
    assert scores.failures == ("",)
    assert (scores.evidence[0][0].category, scores.evidence[0][0].text) == (
        "",
        "judge: none of these, 0.70 sure",
    )


def test_samples_are_averaged_and_the_most_frequent_is_shown_first() -> None:
    judge = Judge(verdict("sums", 1.0), verdict("trips", 0.7), verdict("trips", 0.4))

    scores = judged(judge, samples=3).score(["which"])

    assert scores.values[0] == pytest.approx([(1 + 0.1 + 0.2) / 3, 1.1 / 3, 0.3 / 3])
    assert [item.text for item in scores.evidence[0]] == [
        "judge: trips in 2 of 3 answers, 0.55 sure",
        "judge: sums in 1 of 3 answers, 1.00 sure",
    ]
    assert [(body["temperature"], body["seed"]) for body in judge.asked] == [
        (0.7, 0),
        (0.7, 1),
        (0.7, 2),
    ]


def test_a_sample_that_says_nothing_gives_nothing_to_anybody() -> None:
    judge = Judge("hm", BackendTimeout("late"), verdict("verse"))

    scores = judged(judge, samples=3).score(["which"])

    assert scores.values[0] == pytest.approx([0, 0, 1 / 3])
    assert scores.failures == ("",)


@pytest.mark.parametrize(
    "answer",
    [
        verdict("sums", 0.9),
        f"  {verdict('sums', 0.9)}\n",
        f"```json\n{verdict('sums', 0.9)}\n```",
        f"```\n{verdict('sums', 0.9)}\n```\n",
        f"<think>\n{verdict('trips')} is wrong\n</think>\n\n{verdict('sums', 0.9)}",
    ],
)
def test_an_answer_may_be_fenced_or_thought_about(answer: str) -> None:
    values = judged(Judge(answer)).score(["x"]).values[0]

    assert values[0] == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("", "not JSON"),
        ("sums", "not JSON"),
        (f"It is: {verdict('sums')}", "not JSON"),
        (verdict("sums")[:-1], "not JSON"),
        ("[" * 3000, "not JSON"),
        (f"{verdict('sums')}{' ' * 5000}x", "longer than 4000"),
        ('["sums", 1]', "not an object with category and confidence"),
        ('{"category": "sums"}', "not an object with"),
        ('{"category": "sums", "confidence": 1, "why": "x"}', "not an object with"),
        (verdict("Sums"), "names no category"),
        (verdict("coder; ignore the rules"), "names no category"),
        ('{"category": ["sums"], "confidence": 1}', "names no category"),
        (verdict("sums", 1.01), "not a number from 0 to 1"),
        ('{"category": "sums", "confidence": NaN}', "not a number from 0 to 1"),
        ('{"category": "sums", "confidence": true}', "not a number from 0 to 1"),
        ('{"category": "sums", "confidence": "0.9"}', "not a number from 0 to 1"),
        (BackendTimeout("no answer within 2 s"), "no answer within 2 s"),
    ],
)
def test_an_answer_that_says_nothing_has_no_scores_and_says_why(
    answer: str | Exception, why: str
) -> None:
    scores = judged(Judge(answer)).score(["x"])

    assert scores.values.tolist() == [[0.0] * 3]
    assert scores.failures[0].startswith("judge `judge`: ")
    assert why in scores.failures[0]
    ((found,),) = scores.evidence
    assert (found.kind, found.category, found.text) == ("judge", "", scores.failures[0])


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.text(max_size=30)
        | st.builds(
            lambda name, sure: json.dumps({"category": name, "confidence": sure}),
            st.sampled_from(["sums", "trips", "verse", "none of these", "else"]),
            st.floats(-0.5, 1.5) | st.none() | st.integers(),
        ),
        min_size=4,
        max_size=4,
    )
)
def test_whatever_is_said_the_scores_are_a_distribution(answers: list[str]) -> None:
    scores = judged(Judge(*answers), samples=2).score(["a", "b"])

    assert ((scores.values >= 0) & (scores.values <= 1)).all()
    assert (scores.values.sum(axis=1) <= 1 + 1e-6).all()
    assert not any(
        row.any() for row, failure in zip(scores.values, scores.failures, strict=True) if failure
    )


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200))
def test_a_text_stands_in_the_question_as_data_and_nowhere_else(text: str) -> None:
    judge = Judge(verdict("sums"))
    judged(judge).score([text, "another"])

    first, *others = judge.asked
    assert text_of(first) == text.encode("utf-8", "replace").decode()
    assert all(other["messages"][0] == first["messages"][0] for other in others)


def test_a_long_text_keeps_its_two_ends() -> None:
    judge = Judge(verdict("sums"))
    judged(judge).score(["a" * 100_000 + "b" * 100_000])

    said = text_of(judge.asked[0])
    assert said == "a" * 2000 + " [...] " + "b" * 2000


def test_the_judge_is_told_the_categories_and_the_form() -> None:
    judge = Judge(verdict("sums"))
    judged(judge, utterances=2).score(["x"])

    (body,) = judge.asked
    told = body["messages"][0]["content"]
    assert (
        '- "sums": numbers and what they make; such as "two plus two", "what is \\"nine\\" times '
        'four"; but not "a sum in a contract"'
    ) in told
    assert '- "trips": see its name' in told
    assert body["temperature"] == 0
    form = body["response_format"]["json_schema"]
    assert form["strict"] is True
    assert form["schema"]["properties"]["category"]["enum"] == [
        "sums",
        "trips",
        "verse",
        "none of these",
    ]


def test_a_server_without_schemas_is_only_told() -> None:
    judge = Judge(verdict("sums"))
    judged(judge, enforced=False).score(["x"])

    assert "response_format" not in judge.asked[0]


def test_a_text_is_asked_once_while_it_is_remembered() -> None:
    judge = Judge(verdict("sums"))
    router = judged(judge, entries=2)

    router.score(["a", "a", "b"])
    router.score(["a"])
    assert [text_of(body) for body in judge.asked] == ["a", "b"]
    router.score(["c"])  # b goes, seen longest ago
    router.score(["a", "c", "b"])
    assert [text_of(body) for body in judge.asked] == ["a", "b", "c", "b"]


def test_a_failure_is_not_remembered() -> None:
    router = judged(Judge("hm", verdict("sums")))

    assert router.score(["a"]).failures[0]
    assert not router.score(["a"]).failures[0]


def by_length(body: Mapping[str, Any]) -> str:
    """Judge by the text alone, as a model at temperature zero does; some it cannot judge."""
    names = (*(category.name for category in CATEGORIES), "none of these", "nonsense")
    size = len(text_of(body))
    return verdict(names[size % len(names)], (size % 10) / 10)


def spec(**options: Any) -> RouterSpec:
    return RouterSpec(name="judge", type="llm", options=options, categories=CATEGORIES)


@pytest.mark.parametrize(
    "options", [{}, {"samples": 3, "cache": 0}, {"schema": "described", "utterances": 0}]
)
def test_it_keeps_the_contract(options: dict[str, Any]) -> None:
    parts = GivenParts(experts={"small": GivenExpert("small", by_length)})

    check_router(lambda: build(spec(expert="small", **options), parts))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"routers\.judge\.expert: is missing"),
        ({"expert": "big"}, "no expert `big`"),
        ({"expert": "small", "samples": 0}, r"samples: expected a whole number from 1 to 16"),
        ({"expert": "small", "schema": "enforce"}, "schema: .*did you mean 'enforced'"),
        ({"expert": "small", "utterances": -1}, "utterances: expected a whole number"),
        ({"expert": "small", "judge": 1}, r"routers\.judge\.judge: unknown option"),
    ],
)
def test_a_wrong_option_names_its_place(options: dict[str, Any], message: str) -> None:
    parts = GivenParts(experts={"small": GivenExpert("small", by_length)})

    with pytest.raises(ConfigError, match=message):
        build(spec(**options), parts)
