"""Who is given an answer, who is not, and what becomes of streams on the way."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import numpy as np
import orjson
import pytest

from coe import sse
from coe.cache import Cache, Counts, MemoryShelf
from coe.cache.collected import Collected
from coe.cache.embedding import Embedder
from coe.composition.barring import encoder_key
from coe.composition.cache_values import CacheRules
from coe.identity import FREE, Identity, Permit
from coe.types import Answer, Call, Decision, Plan, Query

pytestmark = pytest.mark.anyio

ANN, BEA = Identity(tenant="a", team="law"), Identity(tenant="b", team="law")
CAT, DAN = Identity(tenant="c", team="art"), Identity(tenant="d")


class Encoder:
    """Takes every text for the same, and notes what it was asked."""

    name, dim, fingerprint = "small", 2, "f1"

    def __init__(self) -> None:
        self.seen: list[str] = []

    def encode(self, texts: Any) -> Any:
        self.seen += texts
        return np.array([[1.0, 0.0]] * len(texts), dtype=np.float32)


def query(identity: Identity = ANN, text: str = "hi", permit: Permit = FREE) -> Query:
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    return Query(id="7", model="m", body=body, identity=identity, permit=permit)


def opened(asked: Query, expert: str = "good") -> Answer:
    call = Call(expert=expert, backend="up", model="m", body=asked.body)
    message = {"role": "assistant", "content": "hello"}
    whole = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    return Answer(
        query=asked,
        decision=Decision(category="code"),
        plan=Plan(calls=(call,)),
        call=call,
        first=orjson.dumps(whole),
        frames=pieces(),
    )


async def pieces(*given: bytes) -> AsyncGenerator[bytes, None]:
    for piece in given:
        yield piece


def cache(partition: Any = "key", embedder: Embedder | None = None) -> Cache:
    encoder = "small" if embedder is not None else ""
    rules = CacheRules(partition=partition, encoder=encoder, is_semantic=embedder is not None)
    return Cache(rules, "mark", MemoryShelf(), Counts(), embedder)


async def keep(kept: Cache, asked: Query, expert: str = "good") -> None:
    kept.keep(await kept.recall(asked, lambda _: asked.permit), opened(asked, expert))
    await kept.settle()


async def hits(kept: Cache, asked: Query) -> bool:
    return (await kept.recall(asked, lambda _: asked.permit)).answer is not None


async def test_a_team_shares_its_answers_and_no_other_has_them() -> None:
    kept = cache("team")
    await keep(kept, query(ANN))

    assert await hits(kept, query(BEA))
    assert not await hits(kept, query(CAT))
    assert not await hits(kept, query(DAN))


async def test_keys_of_a_team_share_nothing_unless_they_are_told_to() -> None:
    kept = cache("key")
    await keep(kept, query(ANN))

    assert await hits(kept, query(ANN))
    assert not await hits(kept, query(BEA))


async def test_nothing_is_kept_of_a_key_whose_words_are_not() -> None:
    kept, discreet = cache(), Identity(tenant="a", keeps_text=False)
    await keep(kept, query(discreet))

    assert (await kept.recall(query(discreet), lambda _: FREE)).said == "off"
    assert not await hits(kept, query(Identity(tenant="a")))


async def test_who_is_barred_in_the_category_of_an_answer_is_not_given_it() -> None:
    kept = cache()
    await keep(kept, query())
    barred = Permit(barred={"good": ("policy", "not for code")})

    in_code = await kept.recall(query(), lambda name: barred if name == "code" else FREE)

    assert in_code.answer is None
    assert await hits(kept, query())


async def test_a_turn_is_not_shown_to_an_encoder_that_may_not_see_it() -> None:
    encoder = Encoder()
    kept = cache(embedder=Embedder(lambda: encoder))
    barred = Permit(barred={encoder_key("small"): ("data", "it is elsewhere")})

    await keep(kept, query(text="one"))
    assert await hits(kept, query(text="two"))
    assert not await hits(kept, query(text="three", permit=barred))

    assert encoder.seen == ["one", "two"]


async def test_an_encoder_that_fails_leaves_the_same_request() -> None:
    def gone() -> Any:
        raise RuntimeError("the encoder is gone")

    kept = cache(embedder=Embedder(gone))
    await keep(kept, query(text="one"))

    assert await hits(kept, query(text="one"))
    assert not await hits(kept, query(text="two"))


async def test_a_stream_that_nobody_reads_is_closed_where_it_comes_from() -> None:
    told: list[bytes | None] = []
    source = pieces(b"b", b"c")
    assert await anext(source) == b"b"

    await Collected(b"a", source, 100, told.append).aclose()

    with pytest.raises(StopAsyncIteration):
        await anext(source)
    assert told == []


@pytest.mark.parametrize(("most", "whole"), [(3, b"abc"), (2, None)])
async def test_a_stream_is_told_once_it_ended(most: int, whole: bytes | None) -> None:
    told: list[bytes | None] = []
    stream = Collected(b"a", pieces(b"b", b"c"), most, told.append)

    assert [piece async for piece in stream] == [b"b", b"c"]
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    assert told == [whole]


async def test_frames_of_what_is_kept_end_as_a_stream_does() -> None:
    kept = cache()
    await keep(kept, query())
    asked = query()
    body = {**asked.body, "stream": True}
    streamed = Query(id="8", model="m", body=body, stream=True, identity=ANN)

    answer = (await kept.recall(streamed, lambda _: FREE)).answer

    assert answer is not None
    last = [orjson.loads(sse.data(frame) or b"") for frame in sse.frames(answer.first)][-1]
    assert last["choices"][0]["finish_reason"] == "stop"
    assert [piece async for piece in answer.frames] == []
