"""/v1/files: the inputs of batches, uploaded; and what batches wrote."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import FileResponse

from coe.api import wire
from coe.api.access import identity_of
from coe.api.counted import Counted
from coe.api.multipart import Form
from coe.batching.desk import Shelf
from coe.errors import InvalidRequest, NotFound
from coe.identity import Identity
from coe.settings import Settings
from coe.stores.files import FileStore, Room
from coe.stores.records import File

_TOO_LONG = "which is the limit (COE_MAX_FILE_BYTES)"
_DIGITS = 18  # of a length that anything can have

_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["purpose", "file"],
                    "properties": {"purpose": {"enum": ["batch"]}, "file": {"type": "string"}},
                }
            }
        },
    }
}


def endpoints(shelf: Shelf, settings: Settings, counted: Counted) -> APIRouter:
    """Return the endpoints of files; an upload counts as a request."""
    table = APIRouter(prefix="/v1/files", tags=["batches"])

    @table.post("", openapi_extra=_FORM, dependencies=[Depends(counted)])
    async def upload(request: Request) -> dict[str, Any]:
        """Upload the input of a batch: JSON lines, one request each."""
        files = (await asyncio.to_thread(shelf.open)).files
        file_id = f"file-{wire.new_id()}"
        identity = identity_of(request.scope)
        room, most = room_of(settings, identity), _most(settings, request)
        with files.uploading(room) as coming:
            limit = await asyncio.to_thread(files.hold, coming, most)
            with files.writing(file_id) as sink:
                form = Form(sink, limit, room.why(limit) if limit < most else _TOO_LONG)
                await form.read(request.headers.get("content-type", ""), request.stream())
                _check(form)
            file = File(
                id=file_id,
                filename=str(form.filename),
                purpose="batch",
                size=form.size,
                created_at=int(time.time()),
                tenant=identity.tenant,
            )
            return card(await asyncio.to_thread(files.add, file, coming))

    @table.get("")
    async def list_files(
        request: Request,
        purpose: str | None = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
        order: Literal["asc", "desc"] = "desc",
        after: str | None = None,
    ) -> dict[str, Any]:
        """One's own files, a page at a time: `after` is the last id of the page before."""
        state = await asyncio.to_thread(shelf.found)
        if state is None:
            return listed([], has_more=False)
        owners = identity_of(request.scope).owners
        if after is not None:
            await asyncio.to_thread(_get, state.files, after, "after", owners)
        files, has_more = await asyncio.to_thread(
            state.files.page,
            owners,
            limit=limit,
            after=after,
            purpose=purpose,
            newest_first=order == "desc",
        )
        return listed([card(file) for file in files], has_more=has_more)

    @table.get("/{file_id}")
    async def get_file(file_id: str, request: Request) -> dict[str, Any]:
        """One file's card."""
        return card(await asyncio.to_thread(_find, shelf, file_id, request))

    @table.get("/{file_id}/content", response_class=FileResponse)
    async def content(file_id: str, request: Request) -> FileResponse:
        """A file's content."""
        file = await asyncio.to_thread(_find, shelf, file_id, request)
        path = shelf.open().files.path(file_id)
        if not path.is_file():
            raise NotFound(f"the content of file `{file_id}` is gone")
        return FileResponse(path, media_type="application/jsonl", filename=file.filename)

    @table.delete("/{file_id}")
    async def delete(file_id: str, request: Request) -> dict[str, Any]:
        """Delete a file; refused while a batch reads it."""
        await asyncio.to_thread(_find, shelf, file_id, request)
        user = await asyncio.to_thread(shelf.open().files.delete, file_id)
        if user is not None:
            error = InvalidRequest(f"batch `{user}` reads the file: cancel it first, or wait")
            error.code = "file_in_use"
            raise error
        return {"id": file_id, "object": "file", "deleted": True}

    return table


def card(file: File) -> dict[str, Any]:
    """Return a file as OpenAI has it."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size,
        "created_at": file.created_at,
        "expires_at": None,
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }


def listed(rows: list[dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    """Return a page as OpenAI has it."""
    return {
        "object": "list",
        "data": rows,
        "first_id": rows[0]["id"] if rows else None,
        "last_id": rows[-1]["id"] if rows else None,
        "has_more": has_more,
    }


def room_of(settings: Settings, identity: Identity) -> Room:
    """Return the room for somebody's files; who shows another token without keys gets no other."""
    return Room(settings.max_files_bytes, identity.tenant if identity.key else None)


def _most(settings: Settings, request: Request) -> int:
    """Return the most bytes that an upload can have: no file is longer than the body it is in."""
    told = request.headers.get("content-length", "")
    is_told = told.isdecimal() and len(told) <= _DIGITS
    return min(int(told), settings.max_file_bytes) if is_told else settings.max_file_bytes


def _check(form: Form) -> None:
    purpose = form.fields.get("purpose")
    if purpose != "batch":
        given = "no `purpose`" if purpose is None else f"the purpose `{purpose[:40]}`"
        raise InvalidRequest(f"{given}; files are kept for `batch` alone", param="purpose")
    for name in form.fields:
        if name.startswith("expires_after"):
            raise InvalidRequest(
                "files do not expire here: leave `expires_after` out, and delete the file",
                param="expires_after",
            )
    if form.filename is None:
        raise InvalidRequest("no `file`", param="file")


def _find(shelf: Shelf, file_id: str, request: Request) -> File:
    """Return a file of whoever asks; another one's is not there for them. Raises NotFound."""
    state = shelf.found()
    if state is None:
        raise NotFound(f"no file `{file_id}`", param="file_id")
    return _get(state.files, file_id, "file_id", identity_of(request.scope).owners)


def _get(files: FileStore, file_id: str, param: str, owners: Collection[str]) -> File:
    file = files.get(file_id)
    if file is None or file.tenant not in owners:
        raise NotFound(f"no file `{file_id}`", param=param)
    return file
