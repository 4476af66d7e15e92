"""/v1/limits: how much is used of whoever asks, and for admins of everybody that is known here."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from coe.api.access import identity_of, only_admins
from coe.live import Live
from coe.settings import Settings


def endpoints(live: Live, settings: Settings) -> APIRouter:
    """Return the endpoints over the gateway that serves now."""
    table = APIRouter(prefix="/v1/limits", tags=["limits"])

    @table.get("")
    async def own(request: Request) -> dict[str, Any]:
        """What the limits and budgets of whoever asks are, and what is used of them.

        Money is in its own units; what is set aside for calls under way counts as used. With
        several replicas it is what this one knows: as of the last request that it served.
        """
        meter = live.current.gateway.meter
        rows = [] if meter is None else list(meter.quota(identity_of(request.scope)).rows())
        return {"object": "list", "data": rows}

    @table.get("/all")
    async def everybody(request: Request) -> dict[str, Any]:
        """The same of every key that works, of every team, and of all together."""
        only_admins(settings.admin, request)
        gateway = live.current.gateway
        if gateway.meter is None:
            return {"object": "list", "data": []}
        ring = gateway.premises.keys if gateway.premises is not None else None
        holders = [ring.holder(name) for name in ring.keys] if ring is not None else []
        known = [one for one in holders if one is not None]
        return {"object": "list", "data": list(gateway.meter.rows(known))}

    return table
