"""`coe serve` as a process: start, bad starts, and the end."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path

import httpx2
import pytest

from .conftest import Start

SMALL = """
version: 1
backends: {gone: http://127.0.0.1:9}
experts: {one: gone/m}
default: one
"""
ROUTED = (
    SMALL
    + """
encoders: {small: {type: hashed}}
routers: {default: {type: embedding, encoder: small}}
categories:
  sums:
    utterances: [add two and two, what is one plus one, sum these, subtract two, times three]
    experts: [one]
"""
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "experts.yaml"
    path.write_text(SMALL)
    return path


def test_serves_the_file_in_this_folder(start: Start, client: httpx2.Client, file: Path) -> None:
    server = start()

    assert client.get(f"{server.url}/health/live").text == "ok"
    served = {card["id"] for card in client.get(f"{server.url}/v1/models").json()["data"]}
    assert "one" in served
    assert file.exists()


def test_an_unreachable_backend_is_an_error_of_its_requests_alone(
    start: Start, client: httpx2.Client, file: Path
) -> None:
    server = start("--config", str(file))
    body = {"model": "one", "messages": [{"role": "user", "content": "hi"}]}

    response = client.post(f"{server.url}/v1/chat/completions", json=body)

    assert response.status_code == 502
    assert response.json()["error"]["code"] == "backend_unreachable"
    assert client.get(f"{server.url}/health/live").status_code == 200


def test_ends_on_sigterm(start: Start, client: httpx2.Client, file: Path) -> None:
    server = start("--config", str(file))
    client.get(f"{server.url}/health/live")

    server.process.send_signal(signal.SIGTERM)

    assert server.process.wait(20) in {0, -signal.SIGTERM}
    assert "Traceback" not in server.log


def test_a_request_in_flight_is_finished_before_the_end(
    start: Start, client: httpx2.Client, tmp_path: Path
) -> None:
    upstream = socket.create_server(("127.0.0.1", 0))
    port = upstream.getsockname()[1]
    path = tmp_path / "slow.yaml"
    path.write_text(SMALL.replace(":9}", f":{port}}}"))
    server = start("--config", str(path))
    url = f"{server.url}/v1/chat/completions"
    answers: list[httpx2.Response] = []
    body = {"model": "one", "messages": [{"role": "user", "content": "hi"}]}
    asking = threading.Thread(target=lambda: answers.append(client.post(url, json=body)))
    asking.start()
    connection, _ = upstream.accept()
    connection.recv(65536)

    server.process.send_signal(signal.SIGTERM)
    payload = b'{"object":"chat.completion","model":"m","choices":[]}'
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(payload), payload))
    asking.join(20)
    connection.close()
    upstream.close()

    assert answers[0].status_code == 200
    assert answers[0].json()["model"] == "one"
    assert "Traceback" not in server.log


def test_a_port_in_use_says_so(start: Start, file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = start("--config", str(file), "--port", str(port))

        assert server.process.wait(30) == 2

    server.stop()
    assert f"127.0.0.1:{port} is in use" in server.log
    assert "--port" in server.log
    assert "Traceback" not in server.log


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version: [", "experts.yaml:1"),
        ("version: 1\nexpert: {}\n", "did you mean `experts`"),
        (SMALL.replace("gone/m", "gnoe/m"), "did you mean `gone`"),
        (SMALL.replace("http://127.0.0.1:9", "local").replace("gone/m", "gone/./no-dir"), "no-dir"),
        (ROUTED.replace("type: hashed", "type: hashd"), "did you mean `hashed`"),
        (ROUTED.replace("type: hashed", "type: hashed, dimm: 3"), "dimm"),
        (ROUTED.replace("type: hashed", "type: onnx, path: ./no-model"), "no-model"),
    ],
)
def test_a_composition_that_cannot_be_used_ends_with_2(
    start: Start, file: Path, text: str, message: str
) -> None:
    file.write_text(text)
    server = start("--config", str(file))

    assert server.process.wait(30) == 2
    server.stop()
    assert message in server.log
    assert "Traceback" not in server.log


def test_a_missing_file_says_how_to_make_one(start: Start, tmp_path: Path) -> None:
    server = start("--config", str(tmp_path / "none.yaml"))

    assert server.process.wait(30) == 2
    server.stop()
    assert "none.yaml" in server.log
    assert "coe init" in server.log


def test_a_setting_that_cannot_be_used_is_named(start: Start, file: Path) -> None:
    server = start("--config", str(file), env={"COE_LOG_LEVEL": "loud"})

    assert server.process.wait(30) == 2
    server.stop()
    assert "COE_LOG_LEVEL" in server.log


def test_no_prompt_and_no_key_is_logged(
    start: Start, client: httpx2.Client, tmp_path: Path
) -> None:
    path = tmp_path / "keyed.yaml"
    path.write_text(
        SMALL.replace(
            "http://127.0.0.1:9", '{url: "http://127.0.0.1:9", api_key: "${env:CANARY_KEY}"}'
        )
    )
    env = {"CANARY_KEY": "canary-key-1", "COE_LOG_LEVEL": "debug"}
    server = start("--config", str(path), env=env)
    headers = {"authorization": "Bearer canary-client-key"}
    for body in (
        {"model": "one", "messages": [{"role": "user", "content": "canary-prompt"}]},
        {"model": "coe/auto", "messages": [{"role": "user", "content": "canary-prompt"}]},
        {"model": "canary-prompt", "messages": "canary-prompt"},
    ):
        client.post(f"{server.url}/v1/chat/completions", json=body, headers=headers)
    metrics = client.get(f"{server.url}/metrics").text
    server.stop()

    assert "id=" in server.log
    assert "canary" not in server.log
    assert "canary" not in metrics
    assert os.environ.get("CANARY_KEY") is None
