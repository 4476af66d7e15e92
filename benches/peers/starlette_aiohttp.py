"""The fast obvious pass-through: Starlette, orjson, aiohttp; bytes are relayed. On uvicorn."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

UPSTREAM = os.environ["BENCH_UPSTREAM"] + "/chat/completions"
JSON = {"content-type": "application/json"}


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Hold one session, and so one connection pool, for the life of the process."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        app.state.session = session
        yield


async def chat(request: Request) -> Response:
    """Parse the body, rewrite the model, forward; relay the answer as it comes."""
    body = orjson.loads(await request.body())
    body["model"] = "bench"
    session: aiohttp.ClientSession = request.app.state.session
    answer = await session.post(UPSTREAM, data=orjson.dumps(body), headers=JSON)
    if not body.get("stream"):
        async with answer:
            content = await answer.read()
        return Response(content, answer.status, media_type="application/json")

    async def relay() -> AsyncIterator[bytes]:
        async with answer:
            async for chunk in answer.content.iter_any():
                yield chunk

    return StreamingResponse(relay(), answer.status, media_type="text/event-stream")


app = Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])], lifespan=lifespan)
