"""The endpoints beside the hot path: models, route, health, metrics. FastAPI documents them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from coe import pipeline, planner
from coe.api import explain, wire
from coe.api.access import Guard, identity_of
from coe.api.body import read_json
from coe.api.counted import Counted
from coe.composition import Composition, Expert, VirtualModel
from coe.composition.barring import encoder_key
from coe.composition.values import NO_PANEL
from coe.errors import UnknownModel
from coe.following import Following
from coe.identity import FREE, Permit
from coe.live import Live
from coe.pipeline import Gateway
from coe.policies.permits import allowed
from coe.settings import Settings
from coe.types import Query


def endpoints(
    live: Live, settings: Settings, following: Following, guard: Guard, counted: Counted
) -> APIRouter:
    """Return the endpoints over the gateway that serves now."""
    table = APIRouter()

    @table.get("/v1/models", tags=["models"])
    async def list_models(request: Request) -> dict[str, Any]:
        """Everything that a request's `model` may name: coe/auto, experts, categories.

        Without the experts that the client's key, or its `x-coe-exclude`, may not reach.
        """
        return {"object": "list", "data": _cards(live.current.gateway, _permit(live, request))}

    @table.get("/v1/models/{model:path}", tags=["models"])
    async def get_model(model: str, request: Request) -> dict[str, Any]:
        """One card."""
        for card in _cards(live.current.gateway, _permit(live, request)):
            if card["id"] == model:
                return card
        raise UnknownModel(f"no model `{model}`; GET /v1/models lists them", param="model")

    @table.post("/v1/route", tags=["routing"], dependencies=[Depends(counted)])
    async def route(request: Request) -> dict[str, Any]:
        """Decide only: category, expert, evidence and exclusions; no model is called.

        The body is that of /v1/chat/completions; `{"input": "text"}` is enough. Sessions are read
        and not changed. It counts as a request: a router may ask an expert.
        """
        query_id = wire.new_id()
        body = await read_json(request, settings)
        if isinstance(text := body.pop("input", None), str):
            body.setdefault("messages", [{"role": "user", "content": text}])
        body.setdefault("model", planner.AUTO)
        sender = wire.Sender(request.headers.raw, identity_of(request.scope))
        query = wire.parse_chat(body, query_id, settings, sender)
        with live.current as gateway:
            return await _decided(gateway, query)

    @table.get("/health/live", tags=["health"])
    async def is_live() -> PlainTextResponse:
        """200 as long as the process serves requests."""
        return PlainTextResponse("ok")

    @table.get("/health/ready", tags=["health"])
    async def is_ready(*, strict: bool = False) -> JSONResponse:
        """200 once the router, the embedded engine and the keys are loaded; 503 before.

        Requests are answered all the same: without a router by the default expert. With `strict`,
        it is 503 also while the composition file cannot be served as it is now, and what was
        served before still is: for a pipeline that waits for its edit.
        """
        parts = _parts(live, guard)
        ready = all(state == "ready" for state in parts.values())
        ready = ready and not (strict and following.is_stale)
        state = {
            "ready": ready,
            "parts": parts,
            "composition": live.composition.fingerprint,
            "stale": following.is_stale,
        }
        return JSONResponse(state, status_code=200 if ready else 503)

    @table.get("/metrics", tags=["health"])
    async def metrics() -> Response:
        """Metrics in Prometheus' text format."""
        telemetry = live.telemetry
        return Response(telemetry.exposition(), media_type=telemetry.content_type)

    return table


async def _decided(gateway: Gateway, query: Query) -> dict[str, Any]:
    """Return what is decided about a query, and why."""
    query = await pipeline.admitted(gateway, query)
    query, decision, plan = await pipeline.planned(gateway, query, explain=True)
    return explain.document(gateway, query, decision, plan)


def _permit(live: Live, request: Request) -> Permit:
    """Return whom a client may reach with a request that says nothing yet."""
    guard = live.current.gateway.guard
    if guard is None:
        return FREE
    return guard.permit(identity_of(request.scope), request.headers.raw)


def _parts(live: Live, guard: Guard) -> dict[str, str]:
    """Return what is to be loaded before people are served well, and how far each is."""
    blind = {"keys": "they cannot be read yet: nobody is let in"} if guard.is_blind else {}
    return {**live.readiness, **blind}


def _cards(gateway: Gateway, permit: Permit) -> list[dict[str, Any]]:
    composition = gateway.composition
    cards = [
        _card(name, "router", description=_meaning(model))
        for name, model in composition.models.items()
    ]
    for name, expert in composition.experts.items():
        if not expert.is_eligible or name in permit.barred:
            continue
        cards.append(
            _card(
                name,
                expert.kind,
                description=expert.description,
                context=expert.context,
                capabilities=sorted(expert.capabilities or ()),
                skills=dict(expert.skills),
                tags=list(expert.tags),
                status=expert.status,
                share=expert.share if expert.status == "canary" else None,
                cost=_cost(expert),
                backend=expert.backend,
            )
        )
    for name, category in composition.categories.items():
        cards.append(
            _card(
                planner.PREFIX + name,
                "category",
                description=category.description,
                experts=allowed(permit, _experts_of(composition, name)),
            )
        )
    cards.extend(
        _card(name, "encoder")
        for name in gateway.encoders
        if encoder_key(name) not in permit.barred
    )
    return cards


def _cost(expert: Expert) -> dict[str, Any]:
    """Return the prices of a million tokens, where the file says any."""
    cost = expert.cost
    if cost is None:
        return {}
    prices = {"input": cost.input, "output": cost.output}
    return {**{key: price for key, price in prices.items() if price}, "currency": cost.currency}


def _meaning(model: VirtualModel) -> str:
    """Say in a line how a virtual model chooses."""
    dial = model.dial
    if model.panel not in {None, NO_PANEL}:
        return f"the panel `{model.panel}` answers: several experts, one answer"
    if dial.choose == "cheapest_good":
        floor = "" if dial.quality_floor is None else f" (at least {dial.quality_floor:g})"
        return f"the cheapest expert that is good enough{floor}, by the fitted map"
    if dial.choose == "fitted":
        if dial.price_weight == 0:
            return "the best expert, whatever it costs, by the fitted map"
        return "the expert with the most quality for the money, by the fitted map"
    return "the router chooses the expert"


def _experts_of(composition: Composition, category: str) -> list[str]:
    """Return the ranked experts of a category that may be asked."""
    ranked = composition.routing.routes.get(category, ())
    return [name for name in ranked if composition.experts[name].is_eligible]


def _card(name: str, kind: str, **facts: object) -> dict[str, Any]:
    known = {key: value for key, value in facts.items() if value not in (None, "", [], (), {})}
    return {"id": name, "object": "model", "created": 0, "owned_by": "coe", "kind": kind, **known}
