"""The contract that clients rely on, with the real openai SDK over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import openai
import pytest

from coe.testing.upstream import FakeUpstream

from .conftest import Running, Serve

pytestmark = pytest.mark.anyio

FILE = """
version: 1
backends: {{up: "{url}"}}
experts:
  good: {{backend: up, model: ok}}
  behaves: {{backend: up, model: "{model}"}}
default: good
timeouts: {{connect: 2s, first_token: 5s, idle: 5s, total: 20s}}
"""
HELLO = [{"role": "user", "content": "hello there"}]


class Sdk:
    """Makes SDK clients for a gateway whose expert `behaves` does what a test wants."""

    def __init__(self, serve: Serve, upstream: FakeUpstream) -> None:
        self._serve = serve
        self.upstream = upstream

    def gateway(self, behaviour: str = "ok") -> AbstractAsyncContextManager[Running]:
        return self._serve(FILE.format(url=self.upstream.url, model=behaviour))


@pytest.fixture
def sdk(serve: Serve, upstream: FakeUpstream) -> Sdk:
    return Sdk(serve, upstream)


def client(running: Running, **options: object) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=running.url, api_key="unused", **options)  # type: ignore[arg-type]


async def text_of(stream: AsyncIterator[object]) -> str:
    return "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])  # type: ignore[attr-defined]


async def test_a_completion(sdk: Sdk) -> None:
    async with sdk.gateway() as running, client(running) as api:
        completion = await api.chat.completions.create(model="good", messages=HELLO)

    assert completion.choices[0].message.content == "echo: hello there"
    assert completion.model == "good"
    assert completion.usage is not None
    assert completion.usage.total_tokens == 5


async def test_a_stream(sdk: Sdk) -> None:
    async with sdk.gateway() as running, client(running) as api:
        stream = await api.chat.completions.create(model="good", messages=HELLO, stream=True)
        models, pieces = set(), []
        async for chunk in stream:
            models.add(chunk.model)
            pieces.append(chunk.choices[0].delta.content or "")

    assert "".join(pieces) == "echo: hello there"
    assert len(pieces) > 2
    assert models == {"good"}


async def test_a_stream_with_usage(sdk: Sdk) -> None:
    async with sdk.gateway() as running, client(running) as api:
        stream = await api.chat.completions.create(
            model="good", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]

    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 5


async def test_several_choices(sdk: Sdk) -> None:
    async with sdk.gateway("n-3") as running, client(running) as api:
        completion = await api.chat.completions.create(model="behaves", messages=HELLO, n=3)

    assert [choice.index for choice in completion.choices] == [0, 1, 2]
    assert sdk.upstream.requests[-1].json["n"] == 3


async def test_tool_calls(sdk: Sdk) -> None:
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    async with sdk.gateway("tools") as running, client(running) as api:
        whole = await api.chat.completions.create(
            model="behaves", messages=HELLO, tools=[tool], tool_choice="auto"
        )
        stream = await api.chat.completions.create(
            model="behaves", messages=HELLO, tools=[tool], stream=True
        )
        deltas = [chunk.choices[0].delta async for chunk in stream if chunk.choices]

    assert whole.choices[0].finish_reason == "tool_calls"
    assert whole.choices[0].message.tool_calls
    assert any(delta.tool_calls for delta in deltas)


async def test_log_probabilities(sdk: Sdk) -> None:
    async with sdk.gateway("logprobs") as running, client(running) as api:
        completion = await api.chat.completions.create(
            model="behaves", messages=HELLO, logprobs=True, top_logprobs=2
        )

    assert completion.choices[0].logprobs is not None
    assert completion.choices[0].logprobs.content


async def test_everything_that_the_sdk_can_send_reaches_the_upstream(sdk: Sdk) -> None:
    fields = {
        "frequency_penalty": 0.5,
        "logit_bias": {"50256": -100},
        "max_completion_tokens": 7,
        "metadata": {"team": "a"},
        "parallel_tool_calls": False,
        "presence_penalty": 0.1,
        "prompt_cache_key": "key",
        "reasoning_effort": "low",
        "response_format": {"type": "json_object"},
        "safety_identifier": "someone",
        "seed": 7,
        "service_tier": "auto",
        "stop": ["\n"],
        "store": False,
        "temperature": 0.3,
        "top_p": 0.9,
        "user": "u1",
        "verbosity": "low",
    }
    async with sdk.gateway() as running, client(running) as api:
        await api.chat.completions.create(
            model="good", messages=HELLO, extra_body={"made_up": {"x": 1}}, **fields
        )

    sent = sdk.upstream.requests[-1].json
    assert sent == {"model": "ok", "messages": HELLO, "made_up": {"x": 1}, **fields}


async def test_the_raw_response_explains_itself(sdk: Sdk) -> None:
    async with sdk.gateway() as running, client(running) as api:
        raw = await api.chat.completions.with_raw_response.create(
            model="good", messages=HELLO, extra_headers={"x-request-id": "mine-1"}
        )

    assert raw.headers["x-request-id"] == "mine-1"
    assert raw.headers["x-coe-expert"] == "good"
    assert raw.headers["x-coe-reason"] == "pinned"
    assert float(raw.headers["x-coe-overhead-ms"]) >= 0
    assert len(raw.headers["x-coe-decision-id"]) == 32


async def test_models_are_listed(sdk: Sdk) -> None:
    async with sdk.gateway() as running, client(running) as api:
        ids = [model.id async for model in api.models.list()]
        one = await api.models.retrieve("coe/auto")

    assert ids[:5] == ["coe/auto", "coe/cheap", "coe/best", "good", "behaves"]
    assert one.owned_by == "coe"


async def test_an_unknown_model_is_not_found(sdk: Sdk) -> None:
    async with sdk.gateway() as running, client(running) as api:
        with pytest.raises(openai.NotFoundError) as caught:
            await api.chat.completions.create(model="gpt-7", messages=HELLO)

    assert caught.value.code == "model_not_found"
    assert caught.value.param == "model"
    assert caught.value.request_id
    assert "coe/auto" in str(caught.value)


# The table of what the SDK does with a server's behaviour, row by row, through the gateway.


async def test_an_error_of_the_upstream_is_not_retried_by_the_sdk(sdk: Sdk) -> None:
    async with sdk.gateway("error-500") as running, client(running) as api:
        with pytest.raises(openai.InternalServerError) as caught:
            await api.chat.completions.create(model="behaves", messages=HELLO)

    assert caught.value.status_code == 502
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert caught.value.response.headers["x-coe-error-origin"] == "upstream"
    assert caught.value.request_id
    assert sdk.upstream.received == 1


async def test_an_upstream_that_asks_to_wait_is_asked_again_by_the_sdk(sdk: Sdk) -> None:
    async with sdk.gateway("error-429-retry-after-ms-50") as running, client(running) as api:
        with pytest.raises(openai.RateLimitError):
            await api.chat.completions.create(model="behaves", messages=HELLO)

    assert sdk.upstream.received == 3


async def test_a_bad_request_of_the_upstream_keeps_its_words(sdk: Sdk) -> None:
    async with sdk.gateway("error-400-context") as running, client(running) as api:
        with pytest.raises(openai.BadRequestError) as caught:
            await api.chat.completions.create(model="behaves", messages=HELLO)

    assert caught.value.code == "context_length_exceeded"
    assert sdk.upstream.received == 1


async def test_an_error_frame_raises_and_the_text_before_it_is_kept(sdk: Sdk) -> None:
    async with sdk.gateway("error-frame-after-2") as running, client(running) as api:
        stream = await api.chat.completions.create(model="behaves", messages=HELLO, stream=True)
        pieces = []
        with pytest.raises(openai.APIError) as caught:
            async for chunk in stream:
                pieces += [chunk.choices[0].delta.content or ""]

    assert "".join(pieces) == "one two"
    assert caught.value.code


@pytest.mark.parametrize("behaviour", ["truncate-after-2", "drop-after-2", "cut-after-2"])
@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_a_truncated_answer_never_ends_cleanly(sdk: Sdk, behaviour: str) -> None:
    async with sdk.gateway(behaviour) as running, client(running) as api:
        stream = await api.chat.completions.create(model="behaves", messages=HELLO, stream=True)
        pieces = []
        with pytest.raises(openai.APIError) as caught:
            async for chunk in stream:
                pieces += [chunk.choices[0].delta.content or ""]

    assert caught.value.code == "upstream_disconnected"
    assert len(pieces) <= 3


async def test_a_stream_that_fails_first_keeps_its_status(sdk: Sdk) -> None:
    async with sdk.gateway("error-frame-first") as running, client(running) as api:
        with pytest.raises(openai.APIStatusError) as caught:
            await api.chat.completions.create(model="behaves", messages=HELLO, stream=True)

    assert caught.value.status_code >= 400


async def test_embeddings_of_an_expert_pass_through(sdk: Sdk) -> None:
    async with sdk.gateway() as running, client(running) as api:
        result = await api.embeddings.create(model="good", input=["a", "b"])

    assert [row.index for row in result.data] == [0, 1]
    assert len(result.data[0].embedding) == 8
