"""How long it takes until the gateway listens, and until the encoder has encoded."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

from benches.processes import Process, environment
from benches.stacks import Stack, StackFailed

DEADLINE_S = 30.0
ENCODER = """
import time
started = time.perf_counter()
from routers.encoders.minilm import build
from coe.protocols import EncoderSpec
build(EncoderSpec(name="minilm", type="minilm")).encode(["how many feet are twelve metres"])
print(time.perf_counter() - started)
"""


def listen_s(stack: Stack, log: Path) -> float:
    """Return the seconds from exec to the first 200 of the stack's `ready` path.

    Raises:
        StackFailed: it did not listen.
    """
    request = f"GET {stack.ready} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode()
    with Process(stack.command, core=None, log=log, extra=stack.environ) as process:
        started = time.perf_counter()
        while time.perf_counter() - started < DEADLINE_S and process.is_alive:
            if _says_ok(stack.port or 0, request):
                return time.perf_counter() - started
            time.sleep(0.005)
        raise StackFailed(f"{stack.label} does not listen: {process.output()[-600:]}")


def _says_ok(port: int, request: bytes) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(request)
            return client.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def encoder_cold_start_s() -> float:
    """Return the seconds that a fresh process needs to import, load and encode one text.

    Raises:
        StackFailed: it ended with an error.
    """
    ran = subprocess.run(
        [sys.executable, "-c", ENCODER],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        env=environment(),
    )
    if ran.returncode:
        raise StackFailed(f"the encoder does not start: {ran.stderr[-600:]}")
    return float(ran.stdout)
