"""/v1/composition: what is served, since when, what changed; what was before, and the way back."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import Any

from fastapi import APIRouter, Depends, Request

from coe.api.access import only_admins
from coe.api.body import read_json
from coe.composition.changes import differences
from coe.composition.draft import Draft
from coe.composition.loading import meaning
from coe.errors import ConfigError, InvalidRequest
from coe.following import Failure, Following
from coe.live import Live
from coe.settings import Settings
from coe.versions import Version


def endpoints(live: Live, following: Following, settings: Settings) -> APIRouter:
    """Return the endpoints over what is served now."""
    table = APIRouter(
        prefix="/v1/composition",
        tags=["composition"],
        dependencies=[Depends(partial(only_admins, settings.admin))],
    )
    versions = following.versions

    @table.get("")
    async def show() -> dict[str, Any]:
        """What is served: its fingerprint, since when, why, and what changed by it.

        `stale` is true while the file is not what is served, because it cannot be: `error` then
        says why, and each problem's place.
        """
        return {
            "object": "coe.composition",
            **_card(following.version),
            "source": str(live.composition.source),
            "files": [str(path) for path in following.files],
            "follows": following.follows,
            "stale": following.is_stale,
            "error": _failure(following.failure),
        }

    @table.get("/versions")
    async def list_versions() -> dict[str, Any]:
        """What was served before, the newest first."""
        found = await asyncio.to_thread(versions.all)
        return {"object": "list", "data": [_card(version) for version in found]}

    @table.get("/versions/{number}")
    async def get_version(number: int) -> dict[str, Any]:
        """One of them, with the text of its file, and what is other in it than in what is served.

        `other_files` are those that it names and that are not as they were then.
        """
        version = await asyncio.to_thread(versions.get, number)
        composition = live.composition
        then = await asyncio.to_thread(meaning, composition.source, version.text)
        return {
            **_card(version),
            "text": version.text,
            "other_files": await asyncio.to_thread(version.other_files),
            "against_served": list(differences(composition.canonical, then)),
        }

    @table.post("/rollback", openapi_extra=_BODY)
    async def roll_back(request: Request) -> dict[str, Any]:
        """Write the file as it was in a version, and serve it: both happen, or neither.

        The body's `version` is its number; without one, it is the last one whose text was another.
        What was served until then stays a version, and what is served then is a new one. Files that
        it names stay as they are: `other_files` are those that are not as they were. 409 where the
        file cannot be written.
        """
        number = (await read_json(request, settings)).get("version")
        if number is not None and (not isinstance(number, int) or isinstance(number, bool)):
            raise InvalidRequest("`version` is a number, of GET /v1/composition/versions")
        if number is None:
            version = await asyncio.to_thread(versions.before, live.composition.text)
        else:
            version = await asyncio.to_thread(versions.get, number)

        def put(draft: Draft) -> Draft:
            return Draft(version.text, draft.file)

        try:
            await live.edit(put, f"rollback to {version.number}")
        except ConfigError as error:
            raise InvalidRequest(
                f"version {version.number} cannot be served any more: {error.message}"
            ) from error
        others = await asyncio.to_thread(version.other_files)
        return {**_card(following.version), "other_files": others}

    return table


_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": "object", "properties": {"version": {"type": "integer"}}}
            }
        },
    }
}


def _card(version: Version) -> dict[str, Any]:
    return {
        "version": version.number or None,
        "fingerprint": version.fingerprint,
        "since": datetime.fromtimestamp(version.at, UTC).isoformat(timespec="milliseconds"),
        "why": version.why,
        "changes": list(version.changes),
    }


def _failure(failure: Failure | None) -> dict[str, Any] | None:
    if failure is None:
        return None
    return {
        "since": datetime.fromtimestamp(failure.at, UTC).isoformat(timespec="milliseconds"),
        "message": failure.message,
        "problems": [asdict(problem) for problem in failure.problems],
    }
