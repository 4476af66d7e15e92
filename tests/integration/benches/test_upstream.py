"""The zero-latency upstream, compiled and asked over a real socket."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from benches.answers import check
from benches.load import Target
from benches.processes import Process, free_port

COMPILER = shutil.which("cc")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="needs a C compiler")


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("upstream")
    program, source = folder / "upstream", root / "benches" / "upstream.c"
    warnings = ("-Wall", "-Wextra", "-Werror")
    subprocess.run([COMPILER or "cc", *warnings, "-o", str(program), str(source)], check=True)
    number = free_port()
    with Process([str(program), str(number)], core=None, log=folder / "log"):
        while not listens(number):
            os.sched_yield()
        yield number


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def chat(port: int, body: bytes) -> Target:
    return Target(url=f"http://127.0.0.1:{port}/v1/chat/completions", body=body)


def test_a_completion_has_about_700_bytes(port: int) -> None:
    size = check(chat(port, b'{"model": "any", "messages": []}'), streamed=False)

    assert 600 < size < 800


@pytest.mark.parametrize("spelling", [b'{"stream":true}', b'{"a": 1, "stream" : true, "b": 2}'])
def test_a_stream_has_200_events_of_about_200_bytes(port: int, spelling: bytes) -> None:
    size = check(chat(port, spelling), streamed=True)

    assert 200 * 180 < size < 200 * 230


def test_stream_options_or_a_false_stream_are_not_a_stream(port: int) -> None:
    check(chat(port, b'{"stream_options": {"include_usage": true}}'), streamed=False)
    check(chat(port, b'{"stream": false}'), streamed=False)


def test_a_connection_serves_many_requests_chunked_ones_too(port: int) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    sizes = []
    for chunked in (False, True, False):
        body = iter([b'{"model":', b'"x"}']) if chunked else b'{"model":"x"}'
        connection.request("POST", "/v1/chat/completions", body, encode_chunked=chunked)
        sizes.append(len(connection.getresponse().read()))
    connection.close()

    assert len(set(sizes)) == 1


def test_a_request_in_two_pieces_is_answered_once_whole(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n{")
        client.sendall(b"}GET /v1/models HTTP/1.1\r\n\r\n")
        received = b""
        while received.count(b"HTTP/1.1 200 OK") < 2 or not received.endswith(b"]}"):
            received += client.recv(65536)

    assert b'"object":"list"' in received
