"""/v1/completions with the real openai SDK over real sockets."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from .conftest import Gateways, Running

pytestmark = pytest.mark.anyio


def client(running: Running) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=running.url, api_key="unused", max_retries=0)


@pytest.mark.parametrize("prompt", ["say it", ["say it"]])
async def test_a_prompt_is_a_users_message(gateways: Gateways, prompt: Any) -> None:
    async with gateways.start() as running, client(running) as api:
        made = await api.completions.create(
            model="good", prompt=prompt, max_tokens=9, extra_body={"top_k": 3}
        )

    assert made.object == "text_completion"
    assert made.model == "good"
    assert made.choices[0].text == "echo: say it"
    assert made.choices[0].finish_reason == "stop"
    assert made.usage is not None
    assert made.usage.prompt_tokens == 2
    assert gateways.sent == {
        "model": "ok",
        "messages": [{"role": "user", "content": "say it"}],
        "max_tokens": 9,
        "top_k": 3,
    }


async def test_a_stream(gateways: Gateways) -> None:
    async with gateways.start() as running, client(running) as api:
        stream = await api.completions.create(
            model="good", prompt="say it", stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]

    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == "echo: say it"
    assert {chunk.object for chunk in chunks} == {"text_completion"}
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 5


async def test_an_echo_comes_first(gateways: Gateways) -> None:
    async with gateways.start() as running, client(running) as api:
        whole = await api.completions.create(model="good", prompt="a b", echo=True)
        stream = await api.completions.create(model="good", prompt="a b", echo=True, stream=True)
        text = "".join([chunk.choices[0].text async for chunk in stream])

    assert whole.choices[0].text == text == "a becho: a b"
    assert "echo" not in gateways.sent


async def test_several_choices(gateways: Gateways) -> None:
    async with gateways.start("n-2") as running, client(running) as api:
        made = await api.completions.create(model="behaves", prompt="hi", n=2, best_of=2)

    assert [(choice.index, choice.text) for choice in made.choices] == [
        (0, "echo: hi"),
        (1, "echo: hi"),
    ]
    assert [choice.finish_reason for choice in made.choices] == ["stop", "stop"]


async def test_log_probabilities_have_the_older_shape(gateways: Gateways) -> None:
    async with gateways.start("logprobs") as running, client(running) as api:
        made = await api.completions.create(model="behaves", prompt="hi", logprobs=2)

    logprobs = made.choices[0].logprobs
    assert logprobs is not None
    assert (logprobs.tokens, logprobs.token_logprobs, logprobs.text_offset) == (["a"], [-0.5], [0])
    assert (gateways.sent["logprobs"], gateways.sent["top_logprobs"]) == (True, 2)


async def test_a_refusal_is_text(gateways: Gateways) -> None:
    async with gateways.start("refusal") as running, client(running) as api:
        made = await api.completions.create(model="behaves", prompt="hi")

    assert made.choices[0].text == "I would rather not"


async def test_an_answer_at_its_limit_says_so(gateways: Gateways) -> None:
    async with gateways.start("length") as running, client(running) as api:
        made = await api.completions.create(model="behaves", prompt="hi", max_tokens=1)

    assert made.choices[0].finish_reason == "length"


async def test_an_unknown_model_is_not_found(gateways: Gateways) -> None:
    async with gateways.start() as running, client(running) as api:
        with pytest.raises(openai.NotFoundError) as caught:
            await api.completions.create(model="gpt-7", prompt="hi")

    assert caught.value.code == "model_not_found"


async def test_an_error_of_the_upstream_keeps_its_status(gateways: Gateways) -> None:
    async with gateways.start("error-500") as running, client(running) as api:
        with pytest.raises(openai.InternalServerError) as caught:
            await api.completions.create(model="behaves", prompt="hi", stream=True)

    assert caught.value.status_code == 502


@pytest.mark.parametrize("behaviour", ["error-frame-after-2", "truncate-after-2", "drop-after-2"])
@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_a_broken_stream_never_ends_cleanly(gateways: Gateways, behaviour: str) -> None:
    async with gateways.start(behaviour) as running, client(running) as api:
        stream = await api.completions.create(model="behaves", prompt="hi", stream=True)
        with pytest.raises(openai.APIError):
            async for _ in stream:
                pass


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", None),
        ("prompt", ["a", "b"]),
        ("prompt", [1, 2]),
        ("prompt", []),
        ("prompt", 5),
        ("suffix", "end"),
        ("best_of", 3),
        ("echo", "yes"),
        ("logprobs", 21),
        ("logprobs", "many"),
        ("n", 0),
        ("stream", 1),
        ("messages", []),
        ("model", 3),
    ],
)
async def test_a_malformed_field_is_named(gateways: Gateways, field: str, value: object) -> None:
    body = {"model": "good", "prompt": "hi", field: value}
    async with gateways.start() as running:
        response = await running.request("POST", f"{running.url}/completions", json=body)
        error = (await response.json())["error"]

    assert response.status == 400
    assert error["param"] == field
    assert field in error["message"]
    assert gateways.upstream.received == 0


async def test_an_echo_with_log_probabilities_is_refused(gateways: Gateways) -> None:
    async with gateways.start() as running, client(running) as api:
        with pytest.raises(openai.BadRequestError) as caught:
            await api.completions.create(model="good", prompt="hi", echo=True, logprobs=1)

    assert caught.value.param == "echo"
