"""How many bytes of files one key may have, all together."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from coe.access.key import Wish
from coe.testing.upstream import FakeUpstream
from tests.integration.conftest import Running, Serve

pytestmark = pytest.mark.anyio

OPEN = """
version: 1
backends: {{up: "{url}"}}
experts: {{good: {{backend: up, model: ok}}}}
default: good
"""
CLOSED = "server: {{auth: keys}}" + OPEN


async def upload(running: Running, size: int, key: str = "") -> Any:
    """Upload a file; return the response."""
    form = aiohttp.FormData()
    form.add_field("purpose", "batch")
    form.add_field("file", b"x" * size, filename="in.jsonl")
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return await running.request("POST", f"{running.url}/files", data=form, headers=headers)


async def new_key(running: Running) -> str:
    premises = running.gateway.premises
    assert premises is not None
    assert premises.keys is not None
    return (await premises.keys.add(Wish(name="test"), by="the test"))[1]


async def test_a_keys_files_have_so_much_room_together_and_others_none_the_less(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path
) -> None:
    async with serve(CLOSED.format(url=upstream.url), max_files_bytes=5000) as running:
        one, other = await new_key(running), await new_key(running)
        first = await upload(running, 3000, one)
        too_many = await upload(running, 2001, one)
        error = (await too_many.json())["error"]
        anothers = await upload(running, 5000, other)
        rest = await upload(running, 2000, one)
        full = await upload(running, 1, one)
        name = (await first.json())["id"]
        headers = {"authorization": f"Bearer {one}"}
        await running.request("DELETE", f"{running.url}/files/{name}", headers=headers)
        again = await upload(running, 3000, one)

    answers = (first, too_many, anothers, rest, full, again)
    assert [one.status for one in answers] == [200, 413, 200, 200, 413, 200]
    assert "of the 5000 that the files of a key may have together 2000 are left" in error["message"]
    assert "COE_MAX_FILES_BYTES" in error["message"]
    assert "delete files" in error["message"]
    assert error["param"] == "file"
    assert sum(file.stat().st_size for file in (tmp_path / ".coe" / "files").iterdir()) == 10_000


async def test_uploads_that_come_together_take_no_more_than_there_is(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path
) -> None:
    async with serve(CLOSED.format(url=upstream.url), max_files_bytes=5000) as running:
        key = await new_key(running)
        answers = await asyncio.gather(*(upload(running, 2000, key) for _ in range(8)))

    assert sorted(one.status for one in answers) == [200] * 2 + [413] * 6
    assert len(list((tmp_path / ".coe" / "files").iterdir())) == 2


async def test_without_keys_another_token_makes_no_more_room(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with serve(OPEN.format(url=upstream.url), max_files_bytes=5000) as running:
        first = await upload(running, 3000, "one")
        second = await upload(running, 3000, "another")
        error = (await second.json())["error"]

    assert [first.status, second.status] == [200, 413]
    assert "that all files may have together" in error["message"]
