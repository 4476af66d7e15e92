"""The installed command beyond loopback: nobody is let in before there is a key."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

from .conftest import Start

FILE = """
version: 1
backends: {gone: http://127.0.0.1:9}
experts: {one: gone/m}
default: one
"""
Coe = Callable[..., Any]


def until(client: httpx2.Client, url: str, key: str, status: int, seconds: float) -> None:
    """Return once a key is answered with a status."""
    ends = time.monotonic() + seconds
    while True:
        answer = client.get(f"{url}/v1/models", headers={"authorization": f"Bearer {key}"})
        if answer.status_code == status:
            return
        assert time.monotonic() < ends, answer.text
        time.sleep(0.02)


def test_sec_04_beyond_loopback_nobody_is_let_in_before_there_is_a_key(
    start: Start, client: httpx2.Client, coe: Coe, tmp_path: Path
) -> None:
    (tmp_path / "experts.yaml").write_text(FILE)
    server = start("--host", "0.0.0.0", env={"COE_METRICS_LISTEN": "0"})
    url = server.url.replace("0.0.0.0", "127.0.0.1")

    assert client.get(f"{url}/health/live").status_code == 200
    for path in ("/v1/models", "/metrics", "/v1/keys", "/docs", "/openapi.json"):
        assert client.get(f"{url}{path}").status_code == 401
    assert "NOBODY IS LET IN" in server.log
    metrics = re.search(r"metrics and health, without keys: (\S+)", server.log)
    assert metrics is not None
    assert metrics[1].startswith("http://127.0.0.1:")
    assert "coe_access_refused_total" in client.get(metrics[1]).text

    made = coe("keys", "add", "me", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    key = made.stdout.strip()
    until(client, url, key, 200, 5)
    asked = coe("ask", "hello", "--url", url, cwd=tmp_path)
    assert "no key" in asked.stderr
    asked = coe("ask", "hello", "--url", url, cwd=tmp_path, COE_KEY=key)
    assert "backend" in asked.stderr, "it was let in"
    seen = coe("scheduling", url, cwd=tmp_path, COE_KEY=key)
    assert "COE_KEY must hold a key with the scope admin or metrics" in seen.stderr

    ended = coe("keys", "revoke", key.split("-")[1], cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    until(client, url, key, 401, 5)
    assert server.stop() == 0
    assert key.rsplit("-", 1)[1] not in server.log
    assert f"key {key.split('-')[1]} (me) revoked by" in server.log


def test_sec_04_the_override_is_loud(start: Start, client: httpx2.Client, tmp_path: Path) -> None:
    (tmp_path / "experts.yaml").write_text(FILE)
    words = "anyone-who-reaches-this-address-may-use-it"
    server = start("--host", "0.0.0.0", env={"COE_UNSAFE_OPEN": words})

    url = server.url.replace("0.0.0.0", "127.0.0.1")

    assert client.get(f"{url}/v1/models").status_code == 200
    assert "WARNING: COE_UNSAFE_OPEN" in server.log
