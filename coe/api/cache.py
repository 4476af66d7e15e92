"""/v1/cache: how much is kept of one's own answers; one of them is forgotten, or all are."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from coe.api.access import identity_of, only_admins
from coe.api.counted import Counted
from coe.cache import Shelf
from coe.cache.key import partition_of
from coe.errors import Forbidden, NotFound
from coe.live import Live
from coe.settings import Settings


def endpoints(live: Live, settings: Settings, counted: Counted) -> APIRouter:
    """Return the endpoints over what is kept; to forget all of it counts as a request."""
    table = APIRouter(prefix="/v1/cache", tags=["cache"])

    def shelf() -> Shelf:
        premises = live.current.gateway.premises
        if premises is None:
            raise NotFound("nothing is kept here")
        return premises.shelf

    def partition(request: Request) -> str:
        rules = live.composition.cache
        return partition_of(identity_of(request.scope), rules.partition if rules else "key")

    @table.get("")
    async def show(request: Request, *, everyone: bool = False) -> dict[str, Any]:
        """How many answers are kept of whoever asks, or of everyone, for who may know that.

        `bytes` is null where the store does not tell.
        """
        if everyone:
            _only_admins(settings, request)
        stock = await shelf().stock(None if everyone else partition(request))
        rules = live.composition.cache
        mode = "exact_then_semantic" if rules and rules.is_semantic else "exact"
        return {"object": "coe.cache", "mode": mode if rules else "none", **stock._asdict()}

    @table.delete("/{name}", status_code=204)
    async def forget(name: str, request: Request) -> Response:
        """Forget one answer, by the id that `x-coe-cache` told. 404 where it is not one's own."""
        if not await shelf().remove(partition(request), name):
            raise NotFound(f"no answer `{name[:64]}` is kept of yours")
        return Response(status_code=204)

    @table.delete("", dependencies=[Depends(counted)])
    async def clear(request: Request, *, everyone: bool = False) -> dict[str, Any]:
        """Forget all answers of whoever asks, or of everyone, for who may.

        It counts as a request.
        """
        if everyone:
            _only_admins(settings, request)
        count = await shelf().clear(None if everyone else partition(request))
        return {"object": "coe.cache", "forgotten": count}

    return table


def _only_admins(settings: Settings, request: Request) -> None:
    """Let in who may see and forget what is everyone's. Raises Forbidden."""
    identity = identity_of(request.scope)
    if identity.key and "admin" not in identity.scopes:
        raise Forbidden("`everyone` needs a key with the scope admin")
    only_admins(settings.admin, request)
