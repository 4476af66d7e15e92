from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from coe.asking import Experts
from coe.classify import Classifier, Policy
from coe.errors import ConfigError, RouterUnavailable
from coe.protocols import Router
from coe.types import Embedding, Evidence, Scores

pytestmark = pytest.mark.anyio


class ByLength:
    """Scores a text by its length; records its batches; can be held and broken."""

    name = "by-length"
    categories = ("short", "long")
    calibrated = True

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.threads: set[int] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None

    def score(self, texts: Sequence[str]) -> Scores:
        self.batches.append(list(texts))
        self.threads.add(threading.get_ident())
        self.gate.wait(10)
        if self.error is not None:
            raise self.error
        rows = [[0.9, 0.1] if len(text) < 10 else [0.1, 0.9] for text in texts]
        return Scores(values=np.array(rows, dtype=np.float32))


async def loaded(router: Router, **policy: float) -> Classifier:
    classifier = Classifier(lambda: router, Policy(**policy))  # type: ignore[arg-type]
    await classifier.load()
    return classifier


async def test_decides_in_another_thread() -> None:
    router = ByLength()
    classifier = await loaded(router)

    decision = await classifier.classify("hello")

    assert decision.category == "short"
    assert decision.router == "by-length"
    assert decision.calibrated
    assert threading.get_ident() not in router.threads


async def test_a_text_seen_before_is_not_scored_again() -> None:
    router = ByLength()
    classifier = await loaded(router)

    await classifier.classify("hello")
    await classifier.classify("hello")

    assert router.batches == [["hello"]]


async def test_what_arrives_during_a_call_shares_the_next_one() -> None:
    router = ByLength()
    classifier = await loaded(router)
    router.gate.clear()

    async with asyncio.TaskGroup() as group:
        first = group.create_task(classifier.classify("first"))
        while not router.batches:
            await asyncio.sleep(0)
        others = [group.create_task(classifier.classify(text)) for text in ("a", "b", "a", "c")]
        await asyncio.sleep(0)
        router.gate.set()

    assert first.result().category == "short"
    assert [task.result().category for task in others] == ["short"] * 4
    assert router.batches == [["first"], ["a", "b", "c"]]


async def test_a_router_that_fails_is_a_decision_for_the_default() -> None:
    router = ByLength()
    classifier = await loaded(router)
    router.error = RouterUnavailable("the encoder is gone")

    decision = await classifier.classify("hello")

    assert decision.reason == "router-failed"
    assert decision.detail == "the encoder is gone"
    assert decision.abstained


async def test_a_router_with_a_bug_is_a_decision_for_the_default() -> None:
    router = ByLength()
    classifier = await loaded(router)
    router.error = ZeroDivisionError("secret detail")

    decision = await classifier.classify("hello")

    assert decision.reason == "router-failed"
    assert decision.detail == "ZeroDivisionError"


async def test_a_failure_is_not_remembered() -> None:
    router = ByLength()
    classifier = await loaded(router)
    router.error = RouterUnavailable("gone")
    await classifier.classify("hello")
    router.error = None

    assert (await classifier.classify("hello")).category == "short"


async def test_a_late_router_is_a_decision_for_the_default() -> None:
    router = ByLength()
    classifier = await loaded(router, wait_s=0.01)
    router.gate.clear()

    decision = await classifier.classify("hello")
    router.gate.set()

    assert decision.reason == "router-failed"
    assert "0.01 s" in decision.detail


async def test_who_leaves_does_not_cancel_who_asked_the_same() -> None:
    router = ByLength()
    classifier = await loaded(router)
    router.gate.clear()
    leaver = asyncio.create_task(classifier.classify("hello"))
    stayer = asyncio.create_task(classifier.classify("hello"))
    while not router.batches:
        await asyncio.sleep(0)

    leaver.cancel()
    router.gate.set()

    assert (await stayer).category == "short"
    assert leaver.cancelled()


async def test_a_request_waits_for_a_router_that_is_being_loaded() -> None:
    gate = threading.Event()

    def build() -> Router:
        gate.wait(10)
        return ByLength()

    classifier = Classifier(build, Policy())
    loading = asyncio.create_task(classifier.load())
    waiting = asyncio.create_task(classifier.classify("hello"))
    await asyncio.sleep(0)
    assert not classifier.ready
    gate.set()

    assert (await waiting).category == "short"
    await loading


async def test_a_router_that_cannot_be_loaded_says_why() -> None:
    def build() -> Router:
        raise ConfigError("no such encoder")

    classifier = Classifier(build, Policy())
    with pytest.raises(ConfigError, match="no such encoder"):
        await classifier.load()

    decision = await classifier.classify("hello")

    assert decision.reason == "router-failed"
    assert decision.detail == "no such encoder"
    assert not classifier.ready


async def test_a_router_whose_encoder_is_down_is_tried_again() -> None:
    tries = 0

    def build() -> Router:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise RouterUnavailable("the encoder is down")
        return ByLength()

    classifier = Classifier(build, Policy())
    loading = asyncio.create_task(classifier.load())
    meanwhile = await classifier.classify("hello")
    await loading

    assert meanwhile.reason == "router-failed"
    assert meanwhile.detail == "the encoder is down"
    assert (await classifier.classify("hello")).category == "short"


async def test_an_impatient_load_says_that_the_encoder_is_down() -> None:
    def build() -> Router:
        raise RouterUnavailable("the encoder is down")

    with pytest.raises(RouterUnavailable):
        await Classifier(build, Policy()).load(patient=False)


async def test_a_text_that_is_not_unicode_is_classified() -> None:
    assert (await (await loaded(ByLength())).classify("\ud800")).category == "short"


class Unsure(ByLength):
    """Has no scores of a text the first time that it is asked about it."""

    def score(self, texts: Sequence[str]) -> Scores:
        failures = tuple(
            "" if any(text in batch for batch in self.batches) else "the judge is late"
            for text in texts
        )
        values = super().score(texts).values
        values[[bool(failure) for failure in failures]] = 0.0
        judge = Evidence(kind="judge", category="", text="late")
        return Scores(values=values, evidence=((judge,),) * len(texts), failures=failures)


async def test_a_text_without_scores_says_why_and_is_scored_again() -> None:
    classifier = await loaded(Unsure())

    first, second = [await classifier.classify("hello") for _ in range(2)]

    assert (first.reason, first.detail) == ("router-failed", "the judge is late")
    assert first.evidence[0].text == "late"
    assert second.category == "short"


async def test_where_the_window_has_no_scores_the_turn_has_the_word() -> None:
    router = Unsure()
    router.batches.append(["hello"])
    classifier = await loaded(router)

    decision = await classifier.classify("hello", "hi\n\nhello")

    assert (decision.reason, decision.category) == ("matched", "short")


NOBODY = Experts(composition=None, house=None)  # type: ignore[arg-type]  # never asked


async def test_a_router_that_asks_experts_scores_each_text_apart() -> None:
    router = ByLength()
    classifier = Classifier(lambda: router, Policy(), asks=NOBODY)
    await classifier.load()
    router.gate.clear()

    held = [asyncio.create_task(classifier.classify(text)) for text in ("a", "b", "a")]
    while len(router.batches) < 2:
        await asyncio.sleep(0)
    router.gate.set()

    assert [decision.category for decision in await asyncio.gather(*held)] == ["short"] * 3
    assert sorted(router.batches) == [["a"], ["b"]]
    assert len(router.threads) == 2


class Embeds(ByLength):
    """Scores by length, and says what it read; embeddings are of two encoders."""

    def score(self, texts: Sequence[str]) -> Scores:
        scores = super().score(texts)
        vectors = np.eye(2, dtype=np.float32)[[len(text) % 2 for text in texts]]
        encoders = ["even" if len(text) % 2 == 0 else "odd" for text in texts]
        pairs = zip(vectors, encoders, strict=True)
        return replace(scores, embeddings=tuple(Embedding(*pair) for pair in pairs))


async def test_a_decision_carries_the_embedding_that_is_wanted_and_no_other() -> None:
    router = Embeds()
    classifier = Classifier(lambda: router, Policy(), wanted="even")
    await classifier.load()

    even, odd = await classifier.classify("even"), await classifier.classify("odd")
    again = await classifier.classify("even")

    assert even.embedding is not None
    assert even.embedding.encoder == "even"
    assert even.embedding.vector.tolist() == [1, 0]
    assert odd.embedding is None
    assert again.embedding is even.embedding


async def test_where_no_embedding_is_wanted_none_is_kept() -> None:
    classifier = await loaded(Embeds())

    assert (await classifier.classify("even")).embedding is None
