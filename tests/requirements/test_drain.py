"""REL-06: a gateway that is told to end loses nobody, and says so to whom it must cut."""

from __future__ import annotations

import json
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.e2e.conftest import Server, Start

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
BODY = {"model": "one", "messages": [{"role": "user", "content": "hi"}]}


def chunk(text: str, finish: str | None = None) -> bytes:
    delta = {"content": text} if finish is None else {}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    value = {"object": "chat.completion.chunk", "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(value).encode() + b"\n\n"


class Backend:
    """A server of one call at a time, whose every step the test makes."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(20)
        self.port = self.listener.getsockname()[1]

    def accept(self) -> socket.socket:
        """Take a call; return its connection once its request is here."""
        connection, _ = self.listener.accept()
        connection.settimeout(20)
        connection.recv(65536)
        return connection


@pytest.fixture
def backend() -> Iterator[Backend]:
    made = Backend()
    yield made
    made.listener.close()


@pytest.fixture
def served(start: Start, backend: Backend, tmp_path: Path) -> Callable[..., Server]:
    def serving(**settings: str) -> Server:
        (tmp_path / "experts.yaml").write_text(
            f"version: 1\nbackends: {{up: 'http://127.0.0.1:{backend.port}'}}\n"
            "experts: {one: {backend: up, model: m}}\ndefault: one\n"
        )
        env = {f"COE_{name.upper()}": value for name, value in settings.items()}
        return start("--config", "experts.yaml", env=env)

    return serving


class Stream:
    """A streamed answer that is read in a thread."""

    def __init__(self, server: Server) -> None:
        self.text = ""
        self.status = 0
        self.began = threading.Event()
        self._thread = threading.Thread(target=self._read, args=(f"{server.url}/v1",))
        self._thread.start()

    def ended(self) -> str:
        """Wait for the end; return what came."""
        self._thread.join(20)
        assert not self._thread.is_alive()
        return self.text

    def _read(self, url: str) -> None:
        body = {**BODY, "stream": True}
        with (
            httpx2.Client(timeout=20, trust_env=False) as client,
            client.stream("POST", f"{url}/chat/completions", json=body) as answer,
        ):
            self.status = answer.status_code
            for piece in answer.iter_text():
                self.text += piece
                self.began.set()


@contextmanager
def streaming(server: Server, backend: Backend) -> Iterator[tuple[Stream, socket.socket]]:
    stream = Stream(server)
    connection = backend.accept()
    connection.sendall(HEAD + chunk("a"))
    assert stream.began.wait(20)
    yield stream, connection
    connection.close()


def refused(server: Server) -> bool:
    host, port = server.url.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port)), 5).close()
    except OSError:
        return True
    return False


def test_rel_06_a_stream_in_flight_ends_whole_and_the_process_with_0(
    served: Callable[..., Server], backend: Backend
) -> None:
    server = served(drain_s="15")
    with streaming(server, backend) as (stream, connection):
        server.process.send_signal(signal.SIGTERM)
        _until(lambda: refused(server))
        connection.sendall(chunk("b") + chunk("", "stop") + b"data: [DONE]\n\n")
        text = stream.ended()

    assert server.process.wait(10) == 0
    assert text.endswith("data: [DONE]\n\n")
    assert "Traceback" not in server.log


def test_rel_06_load_balancers_are_told_before_the_listener_closes(
    served: Callable[..., Server], backend: Backend, client: httpx2.Client
) -> None:
    server = served(drain_notice_s="60")
    server.wait_ready(client)
    with streaming(server, backend) as (stream, connection):
        server.process.send_signal(signal.SIGTERM)
        _until(lambda: client.get(f"{server.url}/health/ready").status_code == 503)
        told = client.get(f"{server.url}/health/ready").json()
        alive = client.get(f"{server.url}/health/live").status_code
        connection.sendall(chunk("", "stop") + b"data: [DONE]\n\n")
        text = stream.ended()
    answer: list[Any] = []
    asking = threading.Thread(
        target=lambda: answer.append(
            httpx2.post(f"{server.url}/v1/chat/completions", json=BODY, trust_env=False)
        )
    )
    asking.start()  # who comes during the notice is answered as ever
    connection = backend.accept()
    payload = b'{"object":"chat.completion","model":"m","choices":[]}'
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(payload), payload))
    asking.join(20)
    connection.close()

    assert told["parts"]["gateway"] == "it is about to end"
    assert alive == 200
    assert text.endswith("data: [DONE]\n\n")
    assert answer[0].status_code == 200
    assert server.process.poll() is None
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(10)


def test_rel_06_a_stream_that_is_cut_ends_with_an_error(
    served: Callable[..., Server], backend: Backend
) -> None:
    server = served(drain_s="0.2")
    with streaming(server, backend) as (stream, _):
        server.process.send_signal(signal.SIGTERM)
        text = stream.ended()

    last = json.loads(text.strip().splitlines()[-1].removeprefix("data: "))
    assert last["error"]["message"] == "the gateway is about to end"
    assert "[DONE]" not in text
    assert server.process.wait(10) == 0
    assert "1 requests in flight were cut" in server.log
    assert "Traceback" not in server.log


def test_rel_06_a_call_that_has_not_begun_is_cut_with_503(
    served: Callable[..., Server], backend: Backend
) -> None:
    server = served(drain_s="0.2")
    stream = Stream(server)
    connection = backend.accept()

    server.process.send_signal(signal.SIGTERM)

    assert json.loads(stream.ended())["error"]["code"] == "over_capacity"
    assert stream.status == 503
    assert connection.recv(1) == b""  # its upstream saw the end, too
    assert server.process.wait(10) == 0
    connection.close()


def test_rel_06_a_second_signal_ends_at_once(
    served: Callable[..., Server], backend: Backend
) -> None:
    server = served(drain_s="600", drain_notice_s="600")
    with streaming(server, backend) as (stream, _):
        server.process.send_signal(signal.SIGTERM)
        _until(lambda: "SIGTERM: " in server.log)
        server.process.send_signal(signal.SIGTERM)

        assert "about to end" in stream.ended()
        assert server.process.wait(10) in {0, 1}


class Counting(BaseHTTPRequestHandler):
    """Answers each call after a moment, and counts those that it could answer to the end."""

    begun = 0
    ended = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        Counting.begun += 1
        threading.Event().wait(0.1)
        message = {"role": "assistant", "content": "a"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        payload = json.dumps({"object": "chat.completion", "model": "m", "choices": [choice]})
        self.send_response(200)
        self.send_header("content-length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload.encode())
        Counting.ended += 1

    def log_message(self, *words: object) -> None:
        """Say nothing."""


def test_rel_06_batches_stop_at_the_end_of_a_line_and_go_on_afterwards(
    start: Start, client: httpx2.Client, tmp_path: Path
) -> None:
    Counting.begun = Counting.ended = 0
    upstream = ThreadingHTTPServer(("127.0.0.1", 0), Counting)
    threading.Thread(target=upstream.serve_forever).start()
    try:
        (tmp_path / "experts.yaml").write_text(
            f"version: 1\nbackends: {{up: 'http://127.0.0.1:{upstream.server_port}'}}\n"
            "experts: {one: {backend: up, model: m}}\ndefault: one\n"
        )
        lines = "".join(
            json.dumps(
                {"custom_id": f"{n}", "method": "POST", "url": "/v1/chat/completions", "body": BODY}
            )
            + "\n"
            for n in range(12)
        )
        env = {"COE_BATCH_CONCURRENCY": "1", "COE_BATCH_LEASE_S": "0.5"}
        server = start("--config", "experts.yaml", env=env)
        made = client.post(
            f"{server.url}/v1/files", files={"file": lines.encode()}, data={"purpose": "batch"}
        ).json()
        asked = {
            "input_file_id": made["id"],
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
        }
        batch = client.post(f"{server.url}/v1/batches", json=asked).json()
        _until(lambda: Counting.begun >= 3)
        server.process.send_signal(signal.SIGTERM)
        code = server.process.wait(20)
        stopped = (Counting.begun, Counting.ended)

        again = start("--config", "experts.yaml", env=env)
        _until(
            lambda: (
                client.get(f"{again.url}/v1/batches/{batch['id']}").json()["status"] == "completed"
            )
        )
        counts = client.get(f"{again.url}/v1/batches/{batch['id']}").json()["request_counts"]
    finally:
        upstream.shutdown()
        upstream.server_close()

    assert code == 0
    assert stopped[0] == stopped[1] < 12
    assert counts == {"total": 12, "completed": 12, "failed": 0}
    assert Counting.begun == 12  # no line was asked twice


def _until(holds: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(400):
        if holds():
            return
        pause.wait(0.05)
    raise AssertionError("it never was so")
