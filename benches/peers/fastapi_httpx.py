"""The obvious pass-through: FastAPI, a pydantic body, httpx. Served by uvicorn."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict

UPSTREAM = os.environ["BENCH_UPSTREAM"] + "/chat/completions"


class ChatRequest(BaseModel):
    """What a first version of such a gateway would declare."""

    model_config = ConfigDict(extra="allow")

    model: str
    messages: list[dict[str, Any]]
    stream: bool = False


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Hold one client, and so one connection pool, for the life of the process."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=256)
    async with httpx.AsyncClient(timeout=60, limits=limits) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/v1/chat/completions", response_model=None)
async def chat(body: ChatRequest, request: Request) -> Response:
    """Forward the body; relay the answer as it comes."""
    client: httpx.AsyncClient = request.app.state.client
    if not body.stream:
        answer = await client.post(UPSTREAM, json=body.model_dump())
        return Response(answer.content, answer.status_code, media_type="application/json")
    call = client.build_request("POST", UPSTREAM, json=body.model_dump())
    answer = await client.send(call, stream=True)

    async def relay() -> AsyncIterator[bytes]:
        try:
            async for chunk in answer.aiter_raw():
                yield chunk
        finally:
            await answer.aclose()

    return StreamingResponse(relay(), answer.status_code, media_type="text/event-stream")
