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


def slowly(size: int, boundary: bytes = b"b") -> tuple[bytes, bytes]:
    """Return an upload of so many bytes in two pieces, of which the second one only ends it."""
    form = b'--%b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n' % boundary
    form += b'--%b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n' % boundary
    form, end = form + b"x" * size, b"\r\n--%b--\r\n" % boundary
    head = b"POST /v1/files HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
    head += b"content-length: %d\r\n" % len(form + end)
    head += b"content-type: multipart/form-data; boundary=%b\r\n\r\n" % boundary
    return head + form, end


async def test_what_is_being_uploaded_takes_room_until_its_client_gives_up(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path
) -> None:
    folder, size = tmp_path / ".coe" / "files", 1 << 20
    async with serve(OPEN.format(url=upstream.url), max_files_bytes=2 * size) as running:
        port = int(running.url.split(":")[2].split("/")[0])
        most, end = slowly(size)
        lines = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        for count, (_, writer) in enumerate(lines, 1):
            writer.write(most)
            async with asyncio.timeout(10):
                while not folder.exists() or len(list(folder.iterdir())) < count:
                    await asyncio.sleep(0.01)
        while_both_come = await upload(running, size // 2)
        error = (await while_both_come.json())["error"]

        (reader, writer), (_, given_up) = lines
        given_up.close()
        async with asyncio.timeout(10):
            while len(list(folder.iterdir())) > 1:
                await asyncio.sleep(0.01)
        while_one_comes = await upload(running, size // 2)
        too_many = await upload(running, size)
        writer.write(end)
        whole = await reader.readline()
        writer.close()
        rest = await upload(running, size // 4)

    assert b"200" in whole
    answers = (while_both_come, while_one_comes, too_many, rest)
    assert [one.status for one in answers] == [413, 200, 413, 200]
    assert "COE_MAX_FILES_BYTES" in error["message"]


async def test_no_batch_begins_where_there_is_no_room_for_what_it_writes(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with serve(CLOSED.format(url=upstream.url), max_files_bytes=5000) as running:
        key = await new_key(running)
        headers = {"authorization": f"Bearer {key}"}
        names = [(await (await upload(running, size, key)).json())["id"] for size in (3000, 2000)]
        body = {"input_file_id": names[0], "endpoint": "/v1/chat/completions"}
        url = f"{running.url}/batches"
        full = await running.request("POST", url, json=body, headers=headers)
        error = (await full.json())["error"]
        await running.request("DELETE", f"{running.url}/files/{names[1]}", headers=headers)
        again = await running.request("POST", url, json=body, headers=headers)

    assert (full.status, again.status) == (413, 200)
    assert "the files of a key may have together 0 are left" in error["message"]
    assert "COE_MAX_FILES_BYTES" in error["message"]
    assert "delete files" in error["message"]


async def test_without_keys_another_token_makes_no_more_room(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with serve(OPEN.format(url=upstream.url), max_files_bytes=5000) as running:
        first = await upload(running, 3000, "one")
        second = await upload(running, 3000, "another")
        error = (await second.json())["error"]

    assert [first.status, second.status] == [200, 413]
    assert "that all files may have together" in error["message"]
