"""/v1/keys: keys are made, listed, renewed and ended while the gateway serves.

A key's text is in the answer that makes or renews it and nowhere else: not in a list, not in a log.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from coe.access import wish as wishes
from coe.access.key import LONGEST_GRACE_S, PREFIX, Key
from coe.access.ring import Keyring
from coe.api.access import identity_of, only_admins
from coe.api.body import Scope, read_json
from coe.errors import NotFound
from coe.identity import SCOPES
from coe.limits import rules
from coe.live import Live
from coe.settings import Settings

Grace = Annotated[float, Query(ge=0, le=LONGEST_GRACE_S, allow_inf_nan=False)]


def endpoints(ring: Keyring, live: Live, settings: Settings) -> APIRouter:
    """Return the endpoints over the keys of a gateway."""
    table = APIRouter(
        prefix="/v1/keys",
        tags=["keys"],
        dependencies=[Depends(partial(only_admins, settings.admin))],
    )

    @table.post("", status_code=201, openapi_extra=_BODY)
    async def add(request: Request) -> dict[str, Any]:
        """Make a key. `key` is its text, which is shown this once.

        It works at once here, and within a second on every gateway that shares the store.
        """
        wish = wishes.read(await read_json(request, settings), at=time.time())
        wishes.refuse_unknown(
            wish, {name: one.tags for name, one in live.composition.experts.items()}
        )
        key, text = await ring.add(wish, by=_who(request.scope))
        return {**card(key), "key": text}

    @table.get("")
    async def list_keys() -> dict[str, Any]:
        """All keys, the oldest first; those that ended, too."""
        return {"object": "list", "data": [card(key) for key in ring.keys.values()]}

    @table.get("/{key_id}")
    async def get_key(key_id: str) -> dict[str, Any]:
        """One key."""
        key = ring.keys.get(key_id)
        if key is None:
            raise NotFound(f"no key `{key_id:.40}`", param="id")
        return card(key)

    @table.delete("/{key_id}")
    async def revoke(key_id: str, request: Request) -> dict[str, Any]:
        """End a key for good, within a second everywhere. What it asked before is answered."""
        return card(await ring.revoke(key_id, by=_who(request.scope)))

    @table.post("/{key_id}/rotate")
    async def rotate(key_id: str, request: Request, grace_s: Grace = 0.0) -> dict[str, Any]:
        """Give a key another secret: `key` is the new text.

        The old one ends at once, or after `grace_s` seconds, so that whoever holds it has time to
        change over. Who the key belongs to, what it may do and what it owns stay.
        """
        key, text = await ring.rotate(key_id, by=_who(request.scope), grace_s=grace_s)
        return {**card(key), "key": text}

    return table


def card(key: Key) -> dict[str, Any]:
    """Return what may be shown of a key: of its secret the last characters, and no digest."""
    return {
        "object": "coe.key",
        "id": key.id,
        "name": key.name,
        "shown_as": f"{PREFIX}-{key.id}-...{key.ending}",
        "team": key.team or None,
        "scopes": list(key.scopes),
        "experts": None if key.experts is None else list(key.experts),
        "not_experts": list(key.not_experts),
        "limits": list(key.limits),
        "keeps_text": key.keeps_text,
        "created": int(key.created),
        "expires": None if key.expires is None else int(key.expires),
        "revoked": None if key.revoked is None else int(key.revoked),
    }


def _who(scope: Scope) -> str:
    """Say who changes a key, for the log."""
    identity = identity_of(scope)
    return f"key {identity.key} ({identity.name})" if identity.key else "somebody on this machine"


_NAMES = {"type": "array", "items": {"type": "string"}}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {
                        "name": {"type": "string", "maxLength": 100},
                        "team": {"type": "string", "maxLength": 100},
                        "scopes": {
                            "type": "array",
                            "minItems": 1,
                            "items": {"enum": list(SCOPES)},
                            "default": ["data"],
                        },
                        "experts": {**_NAMES, "description": "names, or `tag:NAME`; default: all"},
                        "not_experts": {**_NAMES, "description": "though `experts` has them"},
                        "limits": {**_NAMES, "description": f"such as {rules.EXAMPLES}"},
                        "keeps_text": {"type": "boolean", "default": True},
                        "expires": {"type": "number", "description": "seconds since 1970"},
                    },
                    "additionalProperties": False,
                }
            }
        },
    }
}
