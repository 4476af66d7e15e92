"""/v1/experts: experts are registered and removed while the gateway serves.

The composition file is edited and the gateway follows it, so that a restart changes nothing. It
is for keys with the scope `admin`; where no keys are asked for, see `coe.api.access.only_admins`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from coe.api.access import only_admins
from coe.api.body import read_json
from coe.composition import Composition
from coe.composition.edit import Change, add_expert, remove_expert, set_expert
from coe.composition.expert_keys import ExpertKeys
from coe.errors import ConfigError, InvalidRequest, UnknownModel
from coe.live import Live
from coe.settings import Settings

STATUS = "canary"  # of an expert that is registered without one
_PLACES = ("first", "last")


def endpoints(live: Live, settings: Settings) -> APIRouter:
    """Return the endpoints over the gateway that serves now."""
    table = APIRouter(
        prefix="/v1/experts",
        tags=["experts"],
        dependencies=[Depends(partial(only_admins, settings.admin))],
    )

    async def follow(change: Change) -> Composition:
        try:
            return await live.edit(change)
        except ConfigError as error:
            raise InvalidRequest(error.message) from error

    @table.get("")
    async def list_experts() -> dict[str, Any]:
        """All experts of the composition, whatever their status."""
        composition = live.composition
        return {
            "object": "list",
            "data": [
                _card(composition, name) | _health(live, name) for name in composition.experts
            ],
        }

    @table.get("/{name:path}")
    async def get_expert(name: str) -> dict[str, Any]:
        """One expert."""
        return _card(live.composition, _known(live.composition, name)) | _health(live, name)

    @table.post("", status_code=201, openapi_extra=_body(_NEW, ["name"]))
    async def add(request: Request) -> dict[str, Any]:
        """Add an expert to the composition file and serve it at once.

        The body holds its `name`, its keys as in the file, the `categories` that rank it and
        whether that is `first` (the default) or `last`. Without a `status` it is a canary: it
        answers its share of the conversations of those categories, and who names it. 409 where
        the name is taken.
        """
        body = await read_json(request, settings)
        return _card(await follow(_addition(body)), body["name"])

    @table.patch("/{name:path}", openapi_extra=_body({}, []))
    async def change_expert(name: str, request: Request) -> dict[str, Any]:
        """Set keys of an expert, such as its `status`; null removes a key."""
        keys = await read_json(request, settings)
        if not keys:
            raise InvalidRequest('the body names no key; such as {"status": "live"}')
        return _card(await follow(partial(set_expert, name=name, keys=keys)), name)

    @table.delete("/{name:path}", status_code=204)
    async def remove(name: str) -> Response:
        """Remove an expert from the composition file and from every ranking in it.

        409 where others stand on it: it is the default, the base of another, the only expert of a
        category, or asked by a router. Requests that it answers now are answered to their end.
        """
        await follow(partial(remove_expert, name=name))
        return Response(status_code=204)

    return table


_NEW = {
    "name": {"type": "string"},
    "categories": {"type": "array", "items": {"type": "string"}},
    "rank": {"enum": list(_PLACES), "default": _PLACES[0]},
}


def _body(extra: Mapping[str, Any], required: list[str]) -> dict[str, Any]:
    """Describe a body that holds an expert's keys."""
    keys = {
        name: {"description": field.description} for name, field in ExpertKeys.model_fields.items()
    }
    schema = {"type": "object", "properties": {**extra, **keys}, "required": required}
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {
            "4XX": {"description": "OpenAI's error object; file and gateway are as they were"}
        },
    }


def _addition(body: Mapping[str, Any]) -> Change:
    """Return the edit that a body asks for. Raises InvalidRequest."""
    name, categories = body.get("name"), body.get("categories", [])
    place = body.get("rank", _PLACES[0])
    if not isinstance(name, str) or not name:
        raise InvalidRequest("`name` is missing, or no text", param="name")
    if not isinstance(categories, list) or not all(isinstance(c, str) for c in categories):
        raise InvalidRequest("`categories` must be a list of names", param="categories")
    if place not in _PLACES:
        raise InvalidRequest("`rank` is `first` or `last`", param="rank")
    keys = {key: value for key, value in body.items() if key not in _NEW}
    return partial(
        add_expert,
        name=name,
        keys={**keys, "status": keys.get("status", STATUS)},
        categories=categories,
        first=place == _PLACES[0],
    )


def _known(composition: Composition, name: str) -> str:
    if name not in composition.experts:
        known = ", ".join(composition.experts)
        raise UnknownModel(f"no expert `{name}`; there are: {known}", param="name")
    return name


def _health(live: Live, name: str) -> dict[str, str]:
    """Return how an expert's breaker stands; nothing where there are none."""
    if live.composition.fallbacks.breaker is None:
        return {}
    breakers = live.current.gateway.standing.breakers
    return {"breaker": breakers.state(live.composition.experts[name].backend, name)}


def _card(composition: Composition, name: str) -> dict[str, Any]:
    """Return what the composition says of an expert."""
    expert = composition.experts[name]
    routes = composition.routing.routes
    return {
        "object": "coe.expert",
        "name": name,
        "kind": expert.kind,
        "backend": expert.backend,
        "model": expert.model,
        "base": expert.base,
        "adapter": expert.adapter_source,
        "status": expert.status,
        "share": expert.share if expert.status == STATUS else None,
        "context": expert.context,
        "skills": dict(expert.skills),
        "description": expert.description,
        "categories": [category for category, ranked in routes.items() if name in ranked],
        "composition": composition.fingerprint,
    }
