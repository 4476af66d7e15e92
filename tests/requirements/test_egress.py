"""Where requests go, with whose key, and what is fetched: SEC-11, 12 and 13."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import openai
import pytest

from coe.backends import encoder
from coe.errors import CoEError
from coe.protocols import EncoderSpec
from coe.testing.upstream import FakeUpstream
from tests.integration.conftest import Running, Serve

pytestmark = pytest.mark.anyio

OUR_KEY, THEIR_KEY = "sk-of-the-operator-1", "sk-of-a-client-1"

COMPOSITION = """
version: 1
backends: {{up: {{url: "{url}", api_key: "${{env:UP_KEY}}"}}}}
experts: {{good: {{backend: up, model: ok, capabilities: [tools, vision, json]}}}}
default: good
timeouts: {{connect: 2s, first_token: 5s, idle: 5s, total: 20s}}
"""


class Trap:
    """A server that nobody has a reason to call.

    Attributes:
        calls: connections that were made to it.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def called(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.calls += 1
        writer.close()


@pytest.fixture
async def trap() -> AsyncIterator[Trap]:
    trap = Trap()
    async with await asyncio.start_server(trap.called, "127.0.0.1", 0) as server:
        trap.port = server.sockets[0].getsockname()[1]
        yield trap


@pytest.fixture
async def gateway(
    serve: Serve, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Running]:
    monkeypatch.setenv("UP_KEY", OUR_KEY)
    async with serve(COMPOSITION.format(url=upstream.url)) as running:
        yield running


# SEC-11: the destination and the key are the composition's

MESSAGES = [{"role": "user", "content": "hello"}]
ROUTES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "good", "messages": MESSAGES},
    "/v1/embeddings": {"model": "good", "input": "hello"},
    "/v1/completions": {"model": "good", "prompt": "hello"},
    "/v1/responses": {"model": "good", "input": "hello"},
    "/v1/messages": {"model": "good", "messages": MESSAGES, "max_tokens": 9},
    "/v1/messages/count_tokens": {"model": "good", "messages": MESSAGES},
    "/v1/route": {"model": "coe/auto", "messages": MESSAGES},
}
ASKS_NOBODY = {"/v1/messages/count_tokens", "/v1/route"}

# What a client may try in a body; TRAP stands for the trap's address.
REFUSED: list[dict[str, Any]] = [
    {"api_base": "TRAP"},
    {"API_BASE": "TRAP"},
    {"Api-Base": "TRAP"},
    {"apiBase": "TRAP"},
    {"\uff41\uff50\uff49_\uff42\uff41\uff53\uff45": "TRAP"},  # fullwidth letters
    {"api\u200b_base": "TRAP"},  # with a space of no width
    {"base_url": "TRAP"},
    {"baseURL": "TRAP"},
    {"openai_api_base": "TRAP"},
    {"api_key": THEIR_KEY},
    {"apiKey": THEIR_KEY},
    {"aws_secret_access_key": THEIR_KEY},
    {"aws_bedrock_runtime_endpoint": "TRAP"},
    {"azure_endpoint": "TRAP"},
    {"vertex_credentials": "TRAP"},
    {"api_version": "../../steal"},
    {"custom_llm_provider": "openai"},
    {"headers": {"host": "TRAP"}},
    {"extra_headers": {"authorization": f"Bearer {THEIR_KEY}", "host": "TRAP"}},
    {"default_headers": {"x-portkey-custom-host": "TRAP"}},
    {"x-portkey-custom-host": "TRAP"},
    {"Host": "TRAP"},
    {"proxy": "TRAP"},
    {"extra_body": {"api_base": "TRAP"}},
    {"litellm_params": {"model": "openai/x", "api_base": "TRAP", "api_key": THEIR_KEY}},
    {"fallbacks": [{"model": "openai/x", "api_base": "TRAP"}]},
    {"model_list": [{"litellm_params": {"api_base": "TRAP"}}]},
    {"success_callback": ["langfuse"]},
    {"langfuse_host": "TRAP"},
    {"endpoint_url": "TRAP"},
]
# What is the client's own business, and goes to the configured backend as it is, or nowhere.
PASSED: list[dict[str, Any]] = [
    {"metadata": {"api_base": "TRAP", "api_key": THEIR_KEY}},
    {"chat_template_kwargs": {"base_url": "TRAP"}},
    {"\u0430pi_base": "TRAP"},  # its first letter is Cyrillic: nobody's parameter
    {"user": "TRAP"},
    {"model_config_note": {"extra_headers": {"host": "TRAP"}}},
]
HEADERS: list[dict[str, str]] = [
    {"host": "TRAPHOST"},
    {"x-forwarded-host": "TRAPHOST"},
    {"forwarded": "host=TRAPHOST;proto=https"},
    {"x-original-url": "TRAP/v1"},
    {"x-portkey-custom-host": "TRAP"},
    {"X-CoE-Custom-Host": "TRAP"},
    {"x-api-base": "TRAP"},
    {"openai-api-base": "TRAP"},
    {"x-openai-base-url": "TRAP"},
    {"x-litellm-api-base": "TRAP"},
    {"helicone-target-url": "TRAP"},
    {"x-coe-backend": "TRAP"},
    {"authorization": f"Bearer {THEIR_KEY}"},
    {"x-api-key": THEIR_KEY},
    {"api-key": THEIR_KEY},
    {"openai-organization": "org-of-a-client"},
    {"proxy-authorization": f"Basic {THEIR_KEY}"},
    {"cookie": f"key={THEIR_KEY}"},
]


def aimed(value: Any, trap: Trap) -> Any:
    """Return a value with the trap's address in its place."""
    host = trap.url.removeprefix("http://")
    text = json.dumps(value).replace("TRAPHOST", host).replace("TRAP", f"{trap.url}/v1")
    return json.loads(text)


def went_only_where_it_should(upstream: FakeUpstream) -> bool:
    """Whether every request that left had the operator's key and address, and no more of theirs."""
    authority = upstream.url.removeprefix("http://").removesuffix("/v1")
    for request in upstream.requests:
        headers = request.headers
        assert request.has_key(OUR_KEY)
        assert headers["host"] == authority
        assert headers.keys() <= {
            *("host", "accept-encoding", "user-agent", "authorization", "content-type"),
            *("content-length", "traceparent"),
        }
        assert THEIR_KEY not in str(request.raw_headers)
    return True


async def test_sec_11_every_endpoint_that_takes_a_model_is_tried(gateway: Running) -> None:
    url = gateway.url.removesuffix("/v1")
    document = await (await gateway.request("GET", f"{url}/openapi.json")).json()
    takes_a_model = {
        path
        for path, methods in document["paths"].items()
        if "post" in methods and '"model"' in json.dumps(methods["post"].get("requestBody", {}))
    }

    assert "/v1/chat/completions" in takes_a_model
    assert takes_a_model - {"/v1/experts"} <= ROUTES.keys()  # that one registers an expert


@pytest.mark.parametrize("route", ROUTES)
async def test_sec_11_no_body_changes_where_it_goes(
    gateway: Running, upstream: FakeUpstream, trap: Trap, route: str
) -> None:
    url = gateway.url.removesuffix("/v1") + route
    for variant in REFUSED:
        body = {**ROUTES[route], **aimed(variant, trap)}
        response = await gateway.request("POST", url, json=body)
        if route == "/v1/messages/count_tokens":  # it counts, and asks nobody
            continue
        said = await response.text()
        assert response.status == 400, (variant, said)
        assert "is not taken from clients" in said

    assert (trap.calls, upstream.received) == (0, 0)
    for variant in PASSED:
        body = {**ROUTES[route], **aimed(variant, trap)}
        response = await gateway.request("POST", url, json=body)
        assert response.status in {200, 400}, (variant, await response.text())

    assert trap.calls == 0
    assert (upstream.received == 0) == (route in ASKS_NOBODY)
    assert went_only_where_it_should(upstream)


@pytest.mark.parametrize("route", ROUTES)
async def test_sec_11_no_header_changes_where_it_goes(
    gateway: Running, upstream: FakeUpstream, trap: Trap, route: str
) -> None:
    url = gateway.url.removesuffix("/v1") + route
    for headers in HEADERS:
        await gateway.request("POST", url, json=ROUTES[route], headers=aimed(headers, trap))

    assert trap.calls == 0
    assert (upstream.received == 0) == (route in ASKS_NOBODY)
    assert went_only_where_it_should(upstream)


async def test_sec_11_a_target_with_a_host_of_its_own_changes_nothing(
    gateway: Running, upstream: FakeUpstream, trap: Trap
) -> None:
    body = json.dumps(ROUTES["/v1/chat/completions"]).encode()
    port = int(gateway.url.split(":")[2].removesuffix("/v1"))
    for target in (f"{trap.url}/v1/chat/completions", f"//127.0.0.1:{trap.port}/v1/embeddings"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        await reader.read()
        writer.close()

    assert trap.calls == 0
    assert went_only_where_it_should(upstream)


async def test_sec_11_a_batch_is_no_way_round(
    gateway: Running, upstream: FakeUpstream, trap: Trap
) -> None:
    lines = [
        {"custom_id": f"l{n}", "method": "POST", "url": url, "body": {**ROUTES[url], **variant}}
        for n, variant in enumerate([*aimed(REFUSED, trap), {}])
        for url in ["/v1/chat/completions"]
    ]
    async with openai.AsyncOpenAI(base_url=gateway.url, api_key="x", max_retries=0) as client:
        content = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        file = await client.files.create(file=("in.jsonl", content), purpose="batch")
        batch = await client.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        while batch.status not in {"completed", "failed"}:
            await asyncio.sleep(0.02)
            batch = await client.batches.retrieve(batch.id)

    assert trap.calls == 0
    assert upstream.received <= 1
    assert went_only_where_it_should(upstream)


# SEC-12: nothing that a client names is fetched

NAMED = [
    "TRAP/cat.png",
    "http://169.254.169.254/latest/meta-data/",
    "http://168.63.129.16/",
    "http://[::ffff:169.254.169.254]/",
    "http://localhost:1/",
    "file:///etc/passwd",
    "http://a-name-that-nobody-has.example/x.png",
]


def shown(url: str) -> dict[str, dict[str, Any]]:
    """Return a request with an image at the address, for each endpoint that takes images."""
    parts = [{"type": "text", "text": "what is it"}]
    chat = [*parts, {"type": "image_url", "image_url": {"url": url}}]
    responses = [{"type": "input_text", "text": "x"}, {"type": "input_image", "image_url": url}]
    anthropic = [*parts, {"type": "image", "source": {"type": "url", "url": url}}]
    document = {"type": "document", "source": {"type": "url", "url": url}}
    return {
        "/v1/chat/completions": {"model": "good", "messages": _by_user(chat)},
        "/v1/responses": {"model": "good", "input": _by_user(responses)},
        "/v1/messages": {"model": "good", "max_tokens": 9, "messages": _by_user(anthropic)},
        "/v1/messages ": {"model": "good", "max_tokens": 9, "messages": _by_user([document])},
        "/v1/route": {"model": "coe/auto", "messages": _by_user(chat)},
    }


def _by_user(content: object) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content}]


class Watched:
    """Connections and look-ups of names by this process, while it is on. Hooks cannot be taken out.

    Attributes:
        seen: (event, address) of each.
    """

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []
        self.is_on = False
        sys.addaudithook(self._hear)

    @contextmanager
    def on(self) -> Iterator[list[tuple[str, Any]]]:
        self.seen, self.is_on = [], True
        try:
            yield self.seen
        finally:
            self.is_on = False

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if self.is_on and event in {"socket.connect", "socket.getaddrinfo", "urllib.Request"}:
            self.seen.append((event, args[1] if event == "socket.connect" else args[0]))


@pytest.fixture(scope="module")
def watched() -> Watched:
    return Watched()


async def test_sec_12_the_gateway_fetches_no_address_of_a_client(
    gateway: Running, upstream: FakeUpstream, trap: Trap, watched: Watched
) -> None:
    ours = {int(url.split(":")[2].removesuffix("/v1")) for url in (gateway.url, upstream.url)}
    for named in NAMED:
        url = named.replace("TRAP", trap.url)
        for route, body in shown(url).items():
            with watched.on() as seen:
                path = gateway.url.removesuffix("/v1") + route.strip()
                response = await gateway.request("POST", path, json=body)
                await response.read()
            assert {at[1] for event, at in seen if event == "socket.connect"} <= ours, seen
            assert {at for event, at in seen if event != "socket.connect"} <= {"127.0.0.1"}, seen
        assert url in upstream.requests[-1].body.decode()  # it is passed on as it is

    assert trap.calls == 0


def test_sec_12_the_watch_would_see_it(watched: Watched) -> None:
    with watched.on() as seen, socket.socket() as line, socket.create_server(("127.0.0.1", 0)) as s:
        line.connect(s.getsockname())

    assert [event for event, _ in seen] == ["socket.connect"]


def test_sec_12_the_embedded_engine_refuses_images() -> None:
    from coe.backends.local.prompt import plain_messages

    content = shown("http://127.0.0.1:1/cat.png")["/v1/chat/completions"]["messages"]
    with pytest.raises(CoEError, match="text"):
        plain_messages(content)


# SEC-13: a key goes to the configured origin, and follows no redirect


@asynccontextmanager
async def redirecting(status: int, location: str) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Serve redirects; yield the base address and what was received."""
    received: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(
            f"HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n"
            "connection: close\r\n\r\n".encode()
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", received
    finally:
        server.close()


@pytest.mark.parametrize("client", ["lean", "aiohttp"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("stream", [False, True])
async def test_sec_13_a_key_follows_no_redirect(
    serve: Serve,
    trap: Trap,
    monkeypatch: pytest.MonkeyPatch,
    client: str,
    status: int,
    stream: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    monkeypatch.setenv("UP_KEY", OUR_KEY)
    async with redirecting(status, f"{trap.url}/v1/chat/completions") as (url, received):
        settings = {"http_client": client}
        async with serve(COMPOSITION.format(url=url), **settings) as running:
            response = await running.chat("good", stream=stream)
            said = await response.text()

    assert response.status == 502
    assert len(received) >= 1
    assert all(OUR_KEY.encode() in head for head in received)
    assert trap.calls == 0
    assert OUR_KEY not in said
    assert trap.url not in said


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_sec_13_an_encoders_key_follows_no_redirect(trap: Trap, status: int) -> None:
    async with redirecting(status, f"{trap.url}/v1/embeddings") as (url, received):
        options = {"url": url, "model": "m", "dim": 4, "api_key": OUR_KEY}
        remote = encoder.build(EncoderSpec(name="far", type="http", options=options))
        with pytest.raises(CoEError):
            await asyncio.to_thread(remote.encode, ["hello"])

    assert received
    assert trap.calls == 0


# SEC-03: no web page uses a gateway that is open to its own machine, under whatever name

PAGES = [
    "http://evil.example",
    "https://127.0.0.1.evil.example",
    "null",
    "http://[",
    "http://10.0.0.1",
]
HERE = ["http://localhost:3000", "http://127.0.0.1:8088", "http://[::1]:8088"]


@pytest.mark.parametrize("route", ROUTES)
async def test_sec_03_a_web_page_of_somebody_elses_does_not_use_an_open_gateway(
    gateway: Running, upstream: FakeUpstream, route: str
) -> None:
    url = gateway.url.removesuffix("/v1") + route
    simple = {"content-type": "text/plain"}  # what a browser sends without asking first
    body = json.dumps(ROUTES[route])
    for origin in PAGES:
        headers = {"origin": origin, **simple}
        response = await gateway.request("POST", url, data=body, headers=headers)
        assert response.status == 403, origin

    assert upstream.received == 0
    for origin in HERE:
        headers = {"origin": origin, **simple}
        response = await gateway.request("POST", url, data=body, headers=headers)
        assert response.status == 200, origin


async def test_sec_03_who_has_a_key_may_be_a_web_page(
    serve: Serve, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UP_KEY", OUR_KEY)
    text = COMPOSITION.format(url=upstream.url) + "server: {auth: keys}\n"
    async with serve(text) as running:
        headers = {"origin": PAGES[0]}
        response = await running.request("GET", f"{running.url}/models", headers=headers)

    assert response.status == 401  # its key is what counts, not where it comes from


# SEC-25: what was checked is what is sent on, and nothing can be read two ways

TWICE = [
    b'{"model": "good", "model": "other", %b}',
    b'{"model": "good", "\\u006dodel": "other", %b}',
    b'{"model" : "good", %b, "x": {"a": [{"b": 1, "b": 2}]}}',
    b'{"model": "good", %b, "metadata": {"k": "v", "\\u006B": "w", "k": "x"}}',
]


@pytest.mark.parametrize("route", ROUTES)
async def test_sec_25_a_key_that_stands_twice_is_refused_everywhere(
    gateway: Running, upstream: FakeUpstream, route: str
) -> None:
    url = gateway.url.removesuffix("/v1") + route
    fields = {name: value for name, value in ROUTES[route].items() if name != "model"}
    rest = json.dumps(fields).encode()[1:-1]
    for text in TWICE:
        response = await gateway.request("POST", url, data=text % rest)
        said = await response.text()
        assert response.status == 400, said
        assert "stands twice" in said

    assert upstream.received == 0


async def test_sec_25_what_was_checked_is_what_is_sent_and_case_is_not_folded(
    gateway: Running, upstream: FakeUpstream
) -> None:
    odd: dict[str, Any] = {
        "Model": "another",
        "MESSAGES": [],
        "max_tokens": 7,
        "Max_Tokens": 10**6,
        "x": {"Ä": "\u00e9", "A\u0308": "e\u0301", "n": 2**53 - 1, "f": 0.1},
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"A": 1, "a": 2}}}],
    }
    response = await gateway.chat("good", **odd)

    assert response.status == 200
    assert upstream.requests[-1].json == {
        **odd,
        "model": "ok",
        "messages": [{"role": "user", "content": "hello"}],
    }
