"""The litellm backend against a real OpenAI-compatible server; needs the optional extra."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import orjson
import pytest

from coe.backends import litellm
from coe.errors import ConfigError, PluginError
from coe.protocols import BackendSpec, ExpertSite
from coe.testing.backends import CHECKS, Check
from coe.testing.subject import Behaviour, Subject, drain
from coe.testing.upstream import FakeUpstream
from coe.types import Call, Dispatch, Timeouts

installed = importlib.util.find_spec("litellm") is not None
needs_litellm = pytest.mark.skipif(
    not installed, reason="litellm is not installed: pip install 'coe-gateway[litellm]'"
)

MODELS: dict[Behaviour, str] = {
    "answers": "openai/ok",
    "unauthorized": "openai/error-401",
    "rate-limited": "openai/error-429-retry-after-ms-50",
    "server-error": "openai/error-500",
    "too-long": "openai/error-400-context",
    "error-frame-first": "openai/error-frame-first",
    "error-frame": "openai/error-frame-after-2",
    "silent": "openai/hang",
    "stalled": "openai/stall-after-2",
}


@asynccontextmanager
async def over_litellm(
    concurrency: int | None = None,
) -> AsyncGenerator[tuple[Subject, FakeUpstream], None]:
    async with FakeUpstream() as upstream:
        backend = litellm.build(
            BackendSpec(
                name="any",
                type="litellm",
                url=upstream.url,
                api_key="sk-canary-1",
                concurrency=concurrency,
                experts=(ExpertSite(expert="e", model="openai/ok"),),
            )
        )
        await backend.start()
        yield Subject(backend=backend, models=MODELS, echoes=True), upstream
        await backend.aclose()


@needs_litellm
@pytest.mark.anyio
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
async def test_litellm_keeps_the_contract(check: Check) -> None:
    async with over_litellm() as (subject, _):
        if check.__name__ in {"check_garbage_is_a_protocol_error", "check_truncation_raises"}:
            pytest.skip("litellm hides how the connection ended")
        await check(subject)


@needs_litellm
@pytest.mark.anyio
@pytest.mark.filterwarnings("default")
async def test_a_client_cannot_reach_litellms_own_parameters() -> None:
    async with over_litellm() as (subject, upstream), FakeUpstream() as attacker:
        body = {
            "messages": [{"role": "user", "content": "hi"}],
            "temperature": 0.5,
            "api_base": attacker.url,
            "base_url": attacker.url,
            "api_key": "theirs",
            "extra_headers": {"x-evil": "1"},
            "mock_response": "not the model",
            "fallbacks": ["openai/other"],
        }
        call = Call(expert="e", backend="any", model="openai/ok", body=body)

        outcome = await drain(subject.backend.generate(Dispatch(query_id="q", call=call)))

        assert b"echo: hi" in outcome.items[0]
        assert attacker.received == 0
        assert upstream.requests[-1].has_key("sk-canary-1")
        assert "x-evil" not in upstream.requests[-1].headers
        assert upstream.requests[-1].json["temperature"] == 0.5


@needs_litellm
@pytest.mark.anyio
@pytest.mark.filterwarnings("default")
async def test_closing_a_stream_reaches_the_provider() -> None:
    async with over_litellm() as (subject, upstream):
        stream = subject.open("stalled", stream=True)
        await anext(stream)

        await stream.aclose()

        await upstream.client_gone()


@needs_litellm
@pytest.mark.anyio
@pytest.mark.filterwarnings("default")
async def test_the_wait_for_a_place_is_not_the_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop's clock is put forward meanwhile."""
    async with over_litellm(concurrency=1) as (subject, upstream):
        first = subject.open("stalled", stream=True)
        await anext(first)
        limits = Timeouts(first_token_s=30, total_s=40)
        waiting = asyncio.create_task(subject.ask("answers", stream=True, timeouts=limits))
        await asyncio.sleep(0)
        with monkeypatch.context() as clock:
            loop = asyncio.get_running_loop()
            clock.setattr(loop, "time", lambda: time.monotonic() + 60)
            assert upstream.received == 1
            await first.aclose()
            outcome = await waiting

        assert outcome.error is None
        assert outcome.has_content


@needs_litellm
@pytest.mark.anyio
@pytest.mark.filterwarnings("default")
async def test_embeddings_pass_through_litellm() -> None:
    async with over_litellm() as (subject, _):
        call = Call(
            expert="e",
            backend="any",
            model="openai/ok",
            body={"input": ["a", "b"]},
            endpoint="embeddings",
        )

        outcome = await drain(subject.backend.generate(Dispatch(query_id="q", call=call)))

        answer = orjson.loads(outcome.items[0])
        assert answer["model"] == "e"
        assert len(answer["data"]) == 2


@needs_litellm
@pytest.mark.anyio
@pytest.mark.filterwarnings("default")
async def test_litellm_fetches_no_prices_and_sends_no_telemetry() -> None:
    async with over_litellm():
        import litellm as library

        assert os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] == "True"
        assert library.telemetry is False


@pytest.mark.skipif(installed, reason="litellm is installed")
def test_a_missing_extra_names_the_command_that_installs_it() -> None:
    with pytest.raises(PluginError, match=r"pip install 'coe-gateway\[litellm\]'"):
        litellm.build(BackendSpec(name="any", type="litellm"))


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown key `parametres`"):
        litellm.build(BackendSpec(name="any", type="litellm", options={"parametres": {}}))


def test_parameters_are_a_mapping() -> None:
    with pytest.raises(ConfigError, match="expected a mapping"):
        litellm.build(BackendSpec(name="any", type="litellm", options={"parameters": 3}))
