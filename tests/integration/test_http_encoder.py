"""The HTTP encoder against a real server that runs in another thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from coe.backends import encoder
from coe.backends.encoder import HttpEncoder
from coe.errors import ConfigError, RouterUnavailable
from coe.protocols import EncoderSpec
from coe.testing import wire
from coe.testing.routers import check_encoder
from coe.testing.upstream import FakeUpstream


@contextmanager
def serving() -> Iterator[FakeUpstream]:
    """Serve from a thread: encoders are synchronous and would block the server's loop."""
    upstream = FakeUpstream(dim=8)
    ready, loop = threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with upstream:
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(5)
    try:
        yield upstream
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    with serving() as running:
        yield running


def encoder_at(url: str, **options: Any) -> HttpEncoder:
    given = {"url": url, "model": "ok", "dim": 8, **options}
    return encoder.build(EncoderSpec(name="remote", type="http", options=given))


def test_keeps_the_encoders_contract(upstream: FakeUpstream) -> None:
    check_encoder(lambda: encoder_at(upstream.url))


def test_vectors_are_the_servers_of_unit_length(upstream: FakeUpstream) -> None:
    vectors = encoder_at(upstream.url).encode(["one", "two"])

    expected = np.array([wire.vector("one", 8), wire.vector("two", 8)], dtype=np.float32)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors, expected, rtol=1e-5)


def test_many_texts_are_sent_in_batches(upstream: FakeUpstream) -> None:
    before = upstream.received

    vectors = encoder_at(upstream.url, batch=4).encode([f"text {n}" for n in range(10)])

    assert vectors.shape == (10, 8)
    assert upstream.received - before == 3
    assert [len(request.json["input"]) for request in list(upstream.requests)[-3:]] == [4, 4, 2]


def test_the_key_and_the_headers_are_sent(upstream: FakeUpstream) -> None:
    encoder_at(upstream.url, api_key="sk-1234567", headers={"x-team": "blue"}).encode(["a"])

    assert upstream.requests[-1].has_key("sk-1234567")
    assert upstream.requests[-1].headers["x-team"] == "blue"
    assert upstream.requests[-1].json["encoding_format"] == "float"


def test_a_connection_is_reused_and_replaced_when_it_was_closed(upstream: FakeUpstream) -> None:
    remote = encoder_at(upstream.url)
    accepted = upstream.accepted

    for _ in range(3):
        remote.encode(["a"])
    assert upstream.accepted - accepted == 1
    upstream.plan(["close"])
    vectors = remote.encode(["a"])

    assert vectors.shape == (1, 8)
    assert upstream.accepted - accepted == 2


def test_threads_get_their_own_vectors(upstream: FakeUpstream) -> None:
    remote = encoder_at(upstream.url)
    texts = [f"text {n}" for n in range(40)]

    with ThreadPoolExecutor(8) as pool:
        vectors = list(pool.map(lambda text: remote.encode([text])[0], texts))

    np.testing.assert_allclose(np.array(vectors), remote.encode(texts), rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": "error-500"}, "encoder `remote` answered 500"),
        ({"model": "error-401-secret"}, r"Incorrect API key provided: \[key\]"),
        ({"model": "html"}, "without embeddings"),
        ({"model": "json"}, "without embeddings"),
        ({"model": "garbage"}, "ended before an answer"),
        ({"model": "reset"}, "ended before an answer"),
        ({"model": "cut-after-2"}, "ended before an answer"),
        ({"model": "hang", "timeout_s": 0.1}, "no answer in time"),
        ({"dim": 16}, "1 vectors of 8 numbers, not 1 of 16; check `dim`"),
    ],
)
def test_what_goes_wrong_makes_the_router_unavailable(
    upstream: FakeUpstream, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(RouterUnavailable, match=said):
        encoder_at(upstream.url, **options).encode(["a"])


def test_a_server_that_is_not_there_makes_the_router_unavailable() -> None:
    with serving() as stopped:
        url = stopped.url

    with pytest.raises(RouterUnavailable, match="connection refused"):
        encoder_at(url).encode(["a"])


def test_no_texts_need_no_server() -> None:
    assert encoder_at("http://127.0.0.1:1/v1").encode([]).shape == (0, 8)


def test_another_model_has_another_fingerprint() -> None:
    one = encoder_at("http://127.0.0.1:1/v1")
    same = encoder_at("http://127.0.0.1:1/v1", api_key="k", batch=3)
    other = encoder_at("http://127.0.0.1:1/v1", model="other")

    assert one.fingerprint == same.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"url": None}, "encoders.remote.url: missing"),
        ({"model": ""}, "encoders.remote.model: missing"),
        ({"dim": "8"}, "encoders.remote.dim: expected a whole number above 0, not '8'"),
        ({"dim": 0}, "above 0"),
        ({"batch": 0}, "encoders.remote.batch"),
        ({"timeout_s": -1}, "encoders.remote.timeout_s: expected seconds above 0"),
        ({"timeout_s": True}, "encoders.remote.timeout_s"),
        ({"modell": "x"}, "unknown key `modell`"),
        ({"url": "nonsense"}, "encoders.remote.url: expected http"),
    ],
)
def test_what_cannot_be_used_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        encoder_at(**{"url": "http://127.0.0.1:1/v1", **options})
