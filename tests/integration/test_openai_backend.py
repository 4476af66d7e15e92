"""The OpenAI backend over real sockets, with each HTTP client."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from coe import sse
from coe.backends import aiohttp_client, exchange, lean, openai
from coe.backends.openai import OpenAIBackend
from coe.errors import (
    BackendError,
    BackendProtocolError,
    BackendRejected,
    BackendTimeout,
    BackendUnreachable,
    ConfigError,
    InvalidRequest,
)
from coe.fold import fold
from coe.protocols import BackendSpec
from coe.testing.subject import Outcome, drain
from coe.testing.upstream import FakeUpstream
from coe.types import Call, Dispatch, Endpoint, Timeouts

pytestmark = pytest.mark.anyio

KEY = "sk-canary-0123456789"
PROMPT = "tell me a story"


@pytest.fixture(params=["lean", "aiohttp"])
def http_client(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def backend_at(url: str, http_client: str, **spec: Any) -> OpenAIBackend:
    options = {"http_client": http_client, **spec.pop("options", {})}
    return openai.build(
        BackendSpec(name="b", type="openai", url=url, api_key=KEY, options=options, **spec)
    )


@asynccontextmanager
async def pair(
    http_client: str, **spec: Any
) -> AsyncGenerator[tuple[OpenAIBackend, FakeUpstream], None]:
    async with FakeUpstream() as upstream:
        backend = backend_at(upstream.url, http_client, **spec)
        try:
            yield backend, upstream
        finally:
            await backend.aclose()
            async with asyncio.timeout(2):
                await upstream.disconnected()


def dispatch(
    model: str = "ok",
    *,
    stream: bool = False,
    body: Mapping[str, Any] | None = None,
    endpoint: Endpoint = "chat/completions",
    **limits: float,
) -> Dispatch:
    content = {"messages": [{"role": "user", "content": PROMPT}], **(body or {})}
    call = Call(
        expert="exp",
        backend="b",
        model=model,
        body=content,
        stream=stream,
        endpoint=endpoint,
        timeouts=Timeouts(**limits),
    )
    return Dispatch(query_id="q", call=call)


async def ask(backend: OpenAIBackend, model: str = "ok", **asked: Any) -> Outcome:
    return await drain(backend.generate(dispatch(model, **asked)))


def text_of(outcome: Outcome) -> str:
    return "".join(
        choice["delta"].get("content") or ""
        for chunk in outcome.chunks
        for choice in chunk["choices"]
    )


# What is sent


async def test_the_body_is_passed_on_with_the_models_name(http_client: str) -> None:
    async with pair(http_client) as (backend, upstream):
        body = {"model": "theirs", "temperature": 0.1, "unknown": {"a": [1]}, "stream_options": {}}
        await ask(backend, "ok", stream=True, body=body)

        sent = upstream.requests[-1]

        expected = {**dispatch().call.body, **body, "model": "ok", "stream": True}
        assert sent.json == expected
        assert (sent.method, sent.path) == ("POST", "/v1/chat/completions")
        assert sent.headers["content-type"] == "application/json"
        assert sent.has_key(KEY)


async def test_what_belongs_to_streams_is_not_sent_without_one(http_client: str) -> None:
    async with pair(http_client) as (backend, upstream):
        body = {"stream": True, "stream_options": {"include_usage": True}}
        await ask(backend, "ok", stream=False, body=body)

        assert upstream.requests[-1].json.keys() == {"messages", "model"}


async def test_headers_of_the_composition_are_sent(http_client: str) -> None:
    async with pair(http_client, headers={"X-Team": "blue"}) as (backend, upstream):
        await ask(backend)

        assert upstream.requests[-1].headers["x-team"] == "blue"
        assert upstream.requests[-1].headers["user-agent"].startswith("coe/")
        assert upstream.requests[-1].headers["host"] == upstream.url[7:-3]


async def test_a_large_body_arrives_whole(http_client: str) -> None:
    async with pair(http_client) as (backend, upstream):
        text = "ä" * 5_000_000
        outcome = await ask(backend, "error-413", body={"pad": text})

        assert isinstance(outcome.error, BackendRejected)
        assert outcome.error.status == 413
        assert upstream.requests[-1].json["pad"] == text


async def test_a_body_that_is_not_json_is_the_clients_mistake(http_client: str) -> None:
    async with pair(http_client) as (backend, upstream):
        outcome = await ask(backend, body={"odd": object()})

        assert isinstance(outcome.error, InvalidRequest)
        assert upstream.received == 0


async def test_the_key_follows_no_redirect(http_client: str) -> None:
    async with pair(http_client) as (backend, upstream), FakeUpstream() as other:
        port = other.url.split(":")[2].removesuffix("/v1")
        outcome = await ask(backend, f"redirect-{port}")

        assert isinstance(outcome.error, BackendRejected)
        assert outcome.error.status == 502
        assert (upstream.received, other.received) == (1, 0)


# What comes back


@pytest.mark.parametrize(
    "model",
    ["ok", "comments", "crlf", "one-packet", "split-bytes", "spaced", "renamed", "continue-100",
     "close-after", "until-close", "no-done-but-finish", "no-last-newline", "logprobs",
     "slow-first-20ms", "slow-token-5ms"],
)  # fmt: skip
async def test_every_way_to_write_a_stream_is_understood(http_client: str, model: str) -> None:
    async with pair(http_client) as (backend, _):
        outcome = await ask(backend, model, stream=True)

        assert outcome.error is None
        assert text_of(outcome) == f"echo: {PROMPT}"
        assert {chunk["model"] for chunk in outcome.chunks} == {"exp"}
        assert all(item.endswith((b"\n\n", b"\n\r\n")) for item in outcome.items)
        assert not any(b"[DONE]" in item for item in outcome.items)


@pytest.mark.parametrize("model", ["ok", "continue-100", "until-close", "renamed", "logprobs"])
async def test_every_way_to_write_an_answer_is_understood(http_client: str, model: str) -> None:
    async with pair(http_client) as (backend, _):
        outcome = await ask(backend, model)

        answer = orjson.loads(outcome.items[0])
        assert len(outcome.items) == 1
        assert answer["choices"][0]["message"]["content"] == f"echo: {PROMPT}"
        assert answer["model"] == "exp"


@pytest.mark.parametrize("model", ["tools", "reasoning", "refusal", "ok"])
async def test_a_stream_folds_to_the_answer_that_is_not_streamed(
    http_client: str, model: str
) -> None:
    async with pair(http_client) as (backend, _):
        streamed = fold((await ask(backend, model, stream=True)).chunks)
        whole = orjson.loads((await ask(backend, model)).items[0])

        del whole["usage"]
        assert streamed == whole


async def test_several_choices_pass_through(http_client: str) -> None:
    async with pair(http_client) as (backend, _):
        outcome = await ask(backend, "n-3", stream=True, body={"n": 3})

        assert outcome.error is None
        assert len(fold(outcome.chunks)["choices"]) == 3


async def test_usage_passes_through(http_client: str) -> None:
    async with pair(http_client) as (backend, _):
        body = {"stream_options": {"include_usage": True}}
        outcome = await ask(backend, stream=True, body=body)

        assert outcome.chunks[-1]["choices"] == []
        assert outcome.chunks[-1]["usage"]["prompt_tokens"] == 4


async def test_the_name_is_added_only_where_there_is_no_stream(http_client: str) -> None:
    async with pair(http_client) as (backend, _):
        streamed = await ask(backend, "no-model", stream=True)
        whole = await ask(backend, "no-model")

        assert not any("model" in chunk for chunk in streamed.chunks)
        assert orjson.loads(whole.items[0])["model"] == "exp"


async def test_a_huge_frame_passes_through(http_client: str) -> None:
    async with pair(http_client) as (backend, _):
        outcome = await ask(backend, "huge", stream=True)

        assert len(text_of(outcome)) == (1 << 20) - 1


async def test_a_long_stream_arrives_in_few_pieces(http_client: str) -> None:
    async with pair(http_client) as (backend, _):
        outcome = await ask(backend, "chunks-200", stream=True)

        assert len(outcome.chunks) == 202
        assert len(outcome.items) < 20


async def test_embeddings_pass_through(http_client: str) -> None:
    async with pair(http_client) as (backend, upstream):
        outcome = await ask(backend, body={"input": ["a", "b"]}, endpoint="embeddings")

        answer = orjson.loads(outcome.items[0])
        assert answer["model"] == "exp"
        assert len(answer["data"]) == 2
        assert upstream.requests[-1].path == "/v1/embeddings"


async def test_models_are_listed(http_client: str) -> None:
    async with FakeUpstream(models=["a", "b"]) as upstream:
        backend = backend_at(upstream.url, http_client)

        assert await backend.models() == ("a", "b")

        await backend.aclose()


@pytest.mark.parametrize("behaviour", ["error-401", "json", "html", "garbage"])
async def test_a_list_of_models_that_is_none_is_an_error(http_client: str, behaviour: str) -> None:
    async with pair(http_client) as (backend, upstream):
        upstream.plan([behaviour])

        with pytest.raises(BackendError):
            await backend.models()


# What goes wrong


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("error-404", BackendRejected),
        ("error-ollama", BackendRejected),
        ("error-html", BackendRejected),
        ("error-no-body", BackendRejected),
        ("error-in-200", BackendRejected),
        ("garbage", BackendProtocolError),
        ("html", BackendProtocolError),
        ("json", BackendProtocolError),
        ("empty", BackendProtocolError),
        ("endless-headers", BackendProtocolError),
        ("reset", BackendUnreachable),
        ("close", BackendUnreachable),
    ],
)
async def test_an_error_before_the_first_byte_delivers_nothing(
    http_client: str, model: str, kind: type[BackendError], *, stream: bool
) -> None:
    async with pair(http_client) as (backend, _):
        outcome = await ask(backend, model, stream=stream)

        outcome.failed_with(kind)
        assert not outcome.items


@pytest.mark.parametrize("model", ["garbage-frame-first", "role-only-then-drop"])
async def test_a_stream_that_fails_before_content_delivers_nothing(
    http_client: str, model: str
) -> None:
    async with pair(http_client) as (backend, _):
        outcome = await ask(backend, model, stream=True)

        outcome.failed_with(BackendProtocolError)
        assert not outcome.items


@pytest.mark.parametrize(
    "model", ["drop-after-2", "cut-after-2", "truncate-after-2", "until-close-truncated"]
)
async def test_truncation_is_never_a_good_end(http_client: str, model: str) -> None:
    async with pair(http_client) as (backend, _):
        streamed = await ask(backend, model, stream=True)
        whole = await ask(backend, model)

        streamed.failed_with(BackendProtocolError)
        whole.failed_with(BackendProtocolError)
        assert len(streamed.chunks) == 3
        assert not whole.items


async def test_an_end_mark_is_believed(http_client: str) -> None:
    async with pair(http_client) as (backend, _):
        outcome = await ask(backend, "done-after-2", stream=True)

        assert outcome.error is None
        assert text_of(outcome) == "one two"


async def test_no_secret_of_the_backend_is_shown(http_client: str) -> None:
    async with pair(http_client) as (backend, _):
        outcome = await ask(backend, "error-401-secret")

        said = str(outcome.error)
        assert "[key]" in said
        assert not any(word in said for word in ("canary", "10.0.0.7", "Traceback", "app.py"))


@pytest.mark.parametrize(
    ("model", "stream", "limits", "said"),
    [
        ("hang", True, {"first_token_s": 0.05}, "no first token"),
        ("role-only-then-stall", True, {"first_token_s": 0.05}, "no first token"),
        ("hang", False, {"total_s": 0.05}, "total"),
        ("stall-after-2", True, {"idle_s": 0.05}, "idle"),
        ("slow-token-20ms", True, {"total_s": 0.07}, "total"),
    ],
)
async def test_each_limit_is_named_when_it_passes(
    http_client: str,
    model: str,
    limits: dict[str, float],
    said: str,
    *,
    stream: bool,
) -> None:
    async with pair(http_client) as (backend, upstream):
        outcome = await ask(backend, model, stream=stream, **limits)

        assert said in str(outcome.failed_with(BackendTimeout))
        async with asyncio.timeout(1):
            await upstream.client_gone()


async def test_slow_tokens_are_no_silence(http_client: str) -> None:
    async with pair(http_client) as (backend, _):
        outcome = await ask(backend, "slow-token-60ms", stream=True, first_token_s=0.3, idle_s=0.3)

        assert outcome.error is None


async def test_a_slow_reader_is_not_the_backends_silence(http_client: str) -> None:
    async with pair(http_client) as (backend, _):
        stream = backend.generate(dispatch("slow-token-5ms", stream=True, idle_s=0.1))
        async with contextlib.aclosing(stream):
            await anext(stream)
            await asyncio.sleep(0.25)  # the reader's slowness is what is tested

            rest = [item async for item in stream]

        assert b'"finish_reason":"stop"' in b"".join(rest)


async def test_a_refused_connection_says_so(http_client: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        backend = backend_at(f"http://127.0.0.1:{unused.getsockname()[1]}/v1", http_client)

        outcome = await ask(backend)

    error = outcome.failed_with(BackendUnreachable)
    assert str(error) == (
        "backend `b` is unreachable: connection refused"
        " (is it running, and is `backends.b.url` its address?)"
    )
    await backend.aclose()


async def test_a_name_that_does_not_resolve_says_so(http_client: str) -> None:
    backend = backend_at("http://no-such-host.invalid/v1", http_client)

    outcome = await ask(backend, connect_s=20)

    assert "does not resolve" in str(outcome.failed_with(BackendUnreachable))
    await backend.aclose()


async def test_a_connection_that_is_not_accepted_is_given_up(http_client: str) -> None:
    """A listener whose queue is full answers no SYN."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)  # noqa: FBT003 - socket's own signature
            filler.connect_ex(listener.getsockname())
        backend = backend_at(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", http_client)

        outcome = await ask(backend, connect_s=0.1)

        assert "did not accept" in str(outcome.failed_with(BackendTimeout))
        await backend.aclose()


# Cancelling


async def test_closing_a_stream_cuts_the_connection_at_once(http_client: str) -> None:
    async with pair(http_client) as (backend, upstream):
        stream = backend.generate(dispatch("slow-token-10ms", stream=True))
        await anext(stream)

        await stream.aclose()

        async with asyncio.timeout(1):
            await upstream.client_gone()


@pytest.mark.parametrize("stream", [True, False])
async def test_cancelling_a_call_cuts_the_connection_at_once(
    http_client: str, *, stream: bool
) -> None:
    async with pair(http_client) as (backend, upstream):
        task = asyncio.ensure_future(ask(backend, "hang", stream=stream))
        await upstream.arrived()

        task.cancel()

        async with asyncio.timeout(1):
            await upstream.client_gone()
        assert await asyncio.wait({task})
        assert task.cancelled()


async def test_a_full_backend_lets_calls_wait_their_turn(http_client: str) -> None:
    async with pair(http_client, concurrency=1) as (backend, upstream):
        first = backend.generate(dispatch("stall-after-2", stream=True))
        await anext(first)
        second = asyncio.ensure_future(ask(backend))
        third = await ask(backend, total_s=0.05)
        assert "no slot free" in str(third.failed_with(BackendTimeout))
        assert upstream.received == 1

        await first.aclose()

        assert (await second).error is None


# Connections


async def test_a_connection_is_reused(http_client: str) -> None:
    async with pair(http_client) as (backend, upstream):
        for model in ("ok", "error-500", "ok"):
            await ask(backend, model)

        assert (upstream.received, upstream.accepted) == (3, 1)


async def test_a_connection_is_reused_after_a_stream() -> None:
    """Also where the end of the body comes after the end mark (aiohttp does not wait for it)."""
    async with pair("lean") as (backend, upstream):
        client = backend._client
        assert isinstance(client, lean.LeanClient)
        for model in ("ok", "slow-token-5ms", "chunks-200", "n-3"):
            await ask(backend, model, stream=True)
            async with asyncio.timeout(1):
                while not client._idle:
                    await asyncio.sleep(0)

        assert (upstream.received, upstream.accepted) == (4, 1)


async def test_a_kept_connection_that_was_closed_is_replaced_in_silence(http_client: str) -> None:
    async with pair(http_client) as (backend, upstream):
        await ask(backend)
        upstream.plan(["close", "ok"])

        outcome = await ask(backend)

        assert outcome.error is None
        assert (upstream.received, upstream.accepted) == (3, 2)


async def test_a_restart_of_the_server_is_not_noticed(http_client: str) -> None:
    async with pair(http_client) as (backend, upstream):
        await asyncio.gather(*(ask(backend, "slow-first-20ms") for _ in range(4)))
        upstream.cut_connections()

        outcomes = await asyncio.gather(*(ask(backend) for _ in range(4)))

        assert [outcome.error for outcome in outcomes] == [None] * 4


async def test_a_new_connection_that_is_closed_is_not_tried_again(http_client: str) -> None:
    async with pair(http_client) as (backend, upstream):
        upstream.plan(["close", "ok"])

        outcome = await ask(backend)

        outcome.failed_with(BackendUnreachable)
        assert upstream.received == 1


async def test_an_answer_that_ends_with_its_connection_is_whole(http_client: str) -> None:
    async with pair(http_client) as (backend, upstream):
        assert (await ask(backend, "until-close")).error is None
        assert (await ask(backend, "close-after")).error is None
        assert (await ask(backend)).error is None

        assert upstream.received == 3


async def test_stray_bytes_spoil_no_other_answer(http_client: str) -> None:
    if http_client == "aiohttp":
        pytest.skip("aiohttp refuses an answer that has stray bytes behind it")
    async with pair(http_client) as (backend, upstream):
        assert (await ask(backend, "stray")).error is None
        assert (await ask(backend)).error is None

        assert upstream.accepted == 2


async def test_a_server_that_floods_is_slowed_down(http_client: str) -> None:
    """What is not read is not buffered without end: TCP stops the server."""
    sent = 0
    frame = sse.frame(orjson.dumps({"choices": [{"delta": {"content": "x" * 50_000}}]}))

    class Flood(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport
            self.stopped = False

        def data_received(self, _: bytes) -> None:
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
            self.resume_writing()

        def pause_writing(self) -> None:
            self.stopped = True

        def resume_writing(self) -> None:
            nonlocal sent
            self.stopped = False
            while not (self.stopped or self.transport.is_closing()):
                self.transport.write(frame)
                sent += len(frame)

    server = await asyncio.get_running_loop().create_server(Flood, "127.0.0.1", 0)
    backend = backend_at(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", http_client)
    stream = backend.generate(dispatch(stream=True))
    async with asyncio.timeout(20):
        await anext(stream)
        for _ in range(3000):  # turns of the loop, in which an endless buffer would grow
            await asyncio.sleep(0)
        unread = sent
        while sent < unread + 10_000_000:
            await anext(stream)

    assert unread < 30_000_000
    await stream.aclose()
    await backend.aclose()
    server.close()


async def test_a_kept_connection_is_not_trusted_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lean, "KEPT_S", 0.0)
    async with pair("lean") as (backend, upstream):
        await ask(backend)
        await ask(backend)

        assert upstream.accepted == 2


async def test_an_answer_without_end_is_given_up(
    http_client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (exchange, aiohttp_client):
        monkeypatch.setattr(module, "MAX_BODY_BYTES", 1000)
    async with pair(http_client) as (backend, _):
        outcome = await ask(backend, "huge")

        assert "sent more than" in str(outcome.failed_with(BackendProtocolError))


async def test_an_answer_with_too_many_headers_is_given_up() -> None:
    async with pair("lean") as (backend, _):
        outcome = await ask(backend, "many-headers")

        assert "headers without end" in str(outcome.failed_with(BackendProtocolError))


async def test_tls_is_verified_against_the_given_authority(http_client: str, root: Path) -> None:
    tls = root / "tests" / "data" / "tls"
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tls / "cert.pem", tls / "key.pem")
    async with FakeUpstream(tls=server) as upstream:
        trusting = backend_at(
            upstream.url, http_client, options={"ca_file": "cert.pem"}, folder=str(tls)
        )
        doubting = backend_at(upstream.url, http_client)

        accepted = await ask(trusting, stream=True)
        refused = await ask(doubting)

        assert accepted.error is None
        assert "TLS: self-signed certificate" in str(refused.failed_with(BackendUnreachable))
        await trusting.aclose()
        await doubting.aclose()


# Building


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"url": None}, r"backends.b.url: type `openai` needs an address"),
        ({"url": "127.0.0.1:8000"}, "expected http://HOST"),
        ({"url": "ftp://x/v1"}, "expected http://HOST"),
        ({"url": "http://"}, "expected http://HOST"),
        ({"url": "http://x:99999/v1"}, "Port out of range"),
        ({"url": "http://u:secret@x/v1"}, "a key belongs in `api_key`"),
        ({"url": "http://x/v1?key=secret"}, "a key belongs in `api_key`"),
        ({"api_key": "secret\n"}, "the value of header `authorization` holds a line break"),
        ({"headers": {"x-a": "1\r\nx-b: 2"}}, "the value of header `x-a` holds a line break"),
        ({"headers": {"x a": "1"}}, "'x a' is not a header name"),
        ({"headers": {"Host": "evil"}}, "`host` is set by the gateway"),
        ({"options": {"http_clint": "lean"}}, "unknown key `http_clint`"),
        ({"options": {"http_client": "curl"}}, "`lean` or `aiohttp`, not 'curl'"),
        ({"url": "https://x", "options": {"ca_file": "missing.pem"}}, "missing.pem"),
    ],
)
async def test_what_cannot_be_used_is_refused_before_serving(
    spec: dict[str, Any], said: str
) -> None:
    given = {"url": "http://127.0.0.1:1/v1", **spec}

    with pytest.raises(ConfigError, match=said) as raised:
        openai.build(BackendSpec(name="b", type="openai", **given))

    assert "secret" not in str(raised.value)


async def test_addresses_of_every_form_are_reached(http_client: str) -> None:
    async with FakeUpstream(host="::1") as upstream:
        port = upstream.url.rsplit(":", 1)[1]
        backend = backend_at(f"http://[::1]:{port}/", http_client)

        outcome = await ask(backend)

        assert outcome.error is None
        assert upstream.requests[-1].headers["host"] == f"[::1]:{port.removesuffix('/v1')}"
        await backend.aclose()
