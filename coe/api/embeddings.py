"""/v1/embeddings: the composition's own encoders, and experts whose backend has the endpoint."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator
from typing import Any

import orjson

from coe import pipeline
from coe.api import wire
from coe.composition.barring import encoder_key
from coe.errors import InvalidRequest, UnknownModel
from coe.pipeline import Gateway
from coe.policies.permits import allowed, bars, refused
from coe.scheduler.loop import Told
from coe.settings import Settings
from coe.types import Answer, Call, Decision, Plan, Query


def parse(
    body: dict[str, Any],
    query_id: str,
    settings: Settings,
    sender: wire.Sender,
) -> Query:
    """Check an embeddings request."""
    del settings
    return wire.parse_embeddings(body, query_id, sender)


async def open_answer(gateway: Gateway, query: Query, told: Told | None = None) -> Answer:
    """Encode here where the model is one of the encoders, else ask the expert of that name.

    Raises:
        UnknownModel: neither an encoder nor an expert has that name.
        Forbidden: the request may not reach that one.
        InvalidRequest: an input that the encoder cannot take.
    """
    is_encoder = query.model in gateway.encoders
    if not is_encoder and query.model in gateway.composition.experts:
        return await pipeline.answer(gateway, query, told)
    query = await pipeline.admitted(gateway, query)
    if not is_encoder:
        experts = allowed(query.permit, gateway.composition.experts)
        known = ", ".join([*gateway.encoders, *experts])
        raise UnknownModel(f"no model `{query.model}`; there are: {known}", param="model")
    if bars(query.permit, (encoder_key(query.model),)):
        raise refused(query.permit, encoder_key(query.model))
    call = Call(
        expert=query.model,
        backend="encoder",
        model=query.model,
        body=query.body,
        endpoint="embeddings",
    )
    body = await asyncio.to_thread(_encode, gateway, query)
    return Answer(
        query=query,
        decision=Decision(reason="pinned", pinned_expert=query.model),
        plan=Plan(calls=(call,), permit=query.permit),
        call=call,
        first=body,
        frames=_nothing(),
    )


def _encode(gateway: Gateway, query: Query) -> bytes:
    given = query.body["input"]
    texts = [given] if isinstance(given, str) else given
    if not all(isinstance(text, str) for text in texts):
        raise InvalidRequest(
            "this encoder takes text, not token numbers: `input` must hold strings", param="input"
        )
    vectors = gateway.encoders[query.model].encode(texts)
    as_text = query.body.get("encoding_format") == "base64"
    rows = [
        {
            "object": "embedding",
            "index": index,
            "embedding": base64.b64encode(row.tobytes()).decode() if as_text else row.tolist(),
        }
        for index, row in enumerate(vectors.astype("<f4"))
    ]
    tokens = sum(max(1, len(text) // 4) for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return orjson.dumps({"object": "list", "data": rows, "model": query.model, "usage": usage})


async def _nothing() -> AsyncGenerator[bytes, None]:
    return
    yield b""  # makes this an async generator
