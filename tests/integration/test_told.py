"""What servers tell of a model besides their answers, over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from coe.backends.told import Told, is_listed, told
from coe.protocols import BackendSpec

pytestmark = pytest.mark.anyio

VLLM = {"/v1/models": {"data": [{"id": "other"}, {"id": "m", "max_model_len": 8192}]}}
LLAMACPP = {"/props": {"default_generation_settings": {"n_ctx": 4096}}}
OLLAMA = {
    "/v1/models": {"data": [{"id": "m:latest"}]},
    "/api/ps": {"models": [{"name": "m:latest", "size": 2**30, "context_length": 2048}]},
}
ODD = {
    "/v1/models": [1, 2],
    "/props": {"default_generation_settings": 3},
    "/api/ps": {"models": ["m", {"name": "m", "size": "big"}]},
}


@asynccontextmanager
async def serving(answers: dict[str, Any], base: str = "/v1") -> AsyncIterator[BackendSpec]:
    """A server that answers with JSON at these paths, and elsewhere with 404."""

    async def answer(request: web.Request) -> web.Response:
        if request.path not in answers:
            return web.json_response({"error": "not here"}, status=404)
        return web.json_response(answers[request.path])

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    try:
        yield BackendSpec(name="b", type="openai", url=f"http://127.0.0.1:{port}{base}")
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (VLLM, Told(context=8192, by="/v1/models")),
        (LLAMACPP, Told(context=4096, by="/props")),
        (OLLAMA, Told(context=2048, memory=2**30, by="/api/ps")),
        (
            {**VLLM, **OLLAMA, "/v1/models": VLLM["/v1/models"]},
            Told(context=8192, memory=2**30, by="/v1/models"),
        ),
        ({}, Told()),
    ],
)
async def test_each_kind_of_server_says_what_it_knows(
    answers: dict[str, Any], expected: Told
) -> None:
    async with serving(answers) as spec:
        assert await told(spec, "m") == expected


async def test_an_answer_in_another_shape_says_nothing() -> None:
    async with serving(ODD) as spec:
        found = await told(spec, "m")

    assert (found.context, found.memory) == (None, None)


async def test_nobody_there_says_nothing() -> None:
    assert await told(BackendSpec(name="b", type="openai", url="http://127.0.0.1:9"), "m") == Told()
    assert await told(BackendSpec(name="b", type="local"), "m") == Told()


def test_a_model_is_listed_with_or_without_its_tag() -> None:
    assert is_listed("m", ("m:latest",))
    assert is_listed("m:8b", ("m:8b", "m:latest"))
    assert not is_listed("m", ("m:8b",))
