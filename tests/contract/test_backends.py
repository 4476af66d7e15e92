from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from coe.backends import openai
from coe.errors import BackendProtocolError, BackendRejected, BackendUnreachable, ContextTooLong
from coe.protocols import BackendSpec
from coe.testing.backends import CHECKS, Check, check_backend
from coe.testing.echo import EchoBackend
from coe.testing.subject import Behaviour, Subject, Unchecked
from coe.testing.upstream import FakeUpstream

pytestmark = pytest.mark.anyio

MODELS: dict[Behaviour, str] = {
    "answers": "ok",
    "unauthorized": "error-401",
    "rate-limited": "error-429-retry-after-ms-50",
    "server-error": "error-500",
    "too-long": "error-400-context",
    "garbage": "garbage",
    "error-frame-first": "error-frame-first",
    "error-frame": "error-frame-after-2",
    "truncated": "truncate-after-2",
    "silent": "hang",
    "stalled": "stall-after-2",
}
MakeSubject = Callable[[], AbstractAsyncContextManager[Subject]]


def over_http(http_client: str) -> MakeSubject:
    @asynccontextmanager
    async def make() -> AsyncGenerator[Subject, None]:
        async with FakeUpstream() as upstream:
            backend = openai.build(
                BackendSpec(
                    name="fake",
                    type="openai",
                    url=upstream.url,
                    options={"http_client": http_client},
                )
            )
            try:
                yield Subject(backend=backend, models=MODELS, echoes=True)
            finally:
                await backend.aclose()
                await upstream.disconnected()

    return make


@asynccontextmanager
async def echo() -> AsyncGenerator[Subject, None]:
    rejected = {
        "error-401": BackendRejected("no", backend_status=401),
        "error-429-retry-after-ms-50": BackendRejected(
            "slow", backend_status=429, retry_after_s=0.05
        ),
        "error-500": BackendRejected("no", backend_status=500),
        "error-400-context": ContextTooLong("too long"),
        "garbage": BackendProtocolError("no answer"),
        "error-frame-first": BackendUnreachable("no"),
    }
    backend = EchoBackend(
        failures=rejected,
        late_failures={
            "error-frame-after-2": BackendRejected("no", backend_status=500),
            "truncate-after-2": BackendProtocolError("ended"),
        },
        silent=["hang"],
        stalled=["stall-after-2"],
    )
    yield Subject(backend=backend, models=MODELS, echoes=True)
    await backend.aclose()
    assert backend.open == 0


SUBJECTS: dict[str, MakeSubject] = {
    "openai-lean": over_http("lean"),
    "openai-aiohttp": over_http("aiohttp"),
    "echo": echo,
}


@pytest.mark.parametrize("make", SUBJECTS.values(), ids=SUBJECTS)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
async def test_backend_keeps_the_contract(make: MakeSubject, check: Check) -> None:
    async with make() as subject:
        await check(subject)


async def test_check_backend_names_the_checks_that_could_not_run() -> None:
    @asynccontextmanager
    async def make() -> AsyncGenerator[Subject, None]:
        yield Subject(backend=EchoBackend(stalled=["s"]), models={"answers": "ok", "stalled": "s"})

    skipped = await check_backend(make)

    assert "check_garbage_is_a_protocol_error" in skipped
    assert "check_first_item_reaches_content" not in skipped


async def test_a_missing_behaviour_is_told() -> None:
    subject = Subject(backend=EchoBackend(), models={})

    with pytest.raises(Unchecked, match="no model is garbage"):
        subject.open("garbage", stream=True)
