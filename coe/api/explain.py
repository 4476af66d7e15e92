"""Why this expert: the explain headers of every answer, and the document of /v1/route."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from coe.api.errors import tried
from coe.composition import Composition
from coe.identity import FREE, Permit
from coe.pipeline import Gateway
from coe.scheduler.memory import LoadTimes
from coe.types import Answer, Choice, Decision, PanelReport, Plan, Query, SessionEffect
from coe.usage import found_in

Headers = list[tuple[bytes, bytes]]


def headers(answer: Answer, request_id: str, overhead_s: float) -> Headers:
    """Return the headers that explain an answer; cheap, and always sent."""
    decision = answer.decision
    rows = [
        (b"x-request-id", request_id.encode()),
        (b"x-coe-decision-id", answer.query.id.encode()),
        (b"x-coe-expert", answer.call.expert.encode()),
        (b"x-coe-reason", answer.reason.encode()),
        (b"x-coe-attempts", b"%d" % (len(answer.attempts) + 1)),
        (b"x-coe-overhead-ms", b"%.2f" % (overhead_s * 1000)),
        (
            b"server-timing",
            b"route;dur=%.2f, queue;dur=%.2f, upstream;dur=%.2f"
            % (answer.routed_s * 1000, answer.queued_s * 1000, answer.opened_s * 1000),
        ),
    ]
    if answer.attempts or answer.swap_s is not None:
        rows += _before(answer)
    if decision.category is not None:
        rows.append((b"x-coe-category", decision.category.encode()))
    if decision.router:
        rows.append((b"x-coe-router", decision.router.encode()))
    if decision.session is not None:
        rows += _kept(decision.session)
    if (probability := decision.probability) is not None:
        form = b"%.3f" if decision.calibrated else b"raw %.3f"
        rows.append((b"x-coe-confidence", form % probability))
    rows += _sensitive(answer.plan.permit)
    if answer.arms:
        arms = ", ".join(f"{name}:{arm}" for name, arm in answer.arms.items())
        rows.append((b"x-coe-experiment", arms.encode()))
    if (choice := answer.plan.choice) is not None:
        rows += _expected(choice, answer.call.expert)
    if answer.cache:
        rows.append((b"x-coe-cache", answer.cache.encode()))
    if (panel := answer.panel) is not None:
        rows += _panel_headers(panel)
    return rows


def _kept(session: SessionEffect) -> Headers:
    """Return where a session's key is from, and what the router would have chosen without it."""
    rows: Headers = [(b"x-coe-session", session.source.encode())]
    if session.alone is not None:
        rows.append((b"x-coe-alone", (session.alone.category or "none").encode()))
    return rows


def _sensitive(permit: Permit) -> Headers:
    """Return how sensitive a request is, and which detectors found something; never what."""
    rows: Headers = []
    if permit.data:
        rows.append((b"x-coe-data-class", permit.data.encode()))
    if permit.found:
        rows.append((b"x-coe-found", ", ".join(permit.found).encode()))
    return rows


def _before(answer: Answer) -> Headers:
    """Return what happened before it began: who failed, and how long it waited."""
    rows: Headers = []
    if answer.attempts:
        rows.append((b"x-coe-tried", tried(answer.attempts)))
    if answer.swap_s is not None:
        rows.append((b"x-coe-wait-ms", b"%.2f" % (answer.queued_s * 1000)))
        rows.append((b"x-coe-swap", b"%.2f" % (answer.swap_s * 1000) if answer.swap_s else b"none"))
    return rows


def cost(answer: Answer, composition: Composition) -> Headers:
    """Return what a whole answer of one expert cost; nothing where that is not known by now."""
    expert = composition.experts.get(answer.call.expert)
    price = expert.cost if expert is not None else None
    is_later = answer.query.stream or answer.panel is not None or answer.recalled is not None
    if price is None or is_later or price.currency != "USD":
        return []
    used = found_in(answer.first)
    paid = price.of(*used) if used is not None else None
    return [] if paid is None else [(b"x-coe-cost-usd", b"%.6g" % paid)]


def _panel_headers(panel: PanelReport) -> Headers:
    """Return which panel answers, and what its calls have come to by now."""
    rows = [(b"x-coe-panel", panel.panel.encode()), (b"x-coe-calls", b"%d" % panel.calls)]
    if panel.cost is not None and panel.currency == "USD":
        rows.append((b"x-coe-cost-usd", b"%.6g" % panel.cost))
    return rows


def _expected(choice: Choice, expert: str) -> Headers:
    """Return what ranked the experts, and what the fitted map expects of the one that answers."""
    rows = [(b"x-coe-choose", choice.choose.encode())]
    prospect = choice.of(expert)
    if prospect is not None:
        rows.append((b"x-coe-expected-quality", b"%.3f" % prospect.quality))
        if prospect.cost is not None:
            rows.append((b"x-coe-expected-cost", b"%.6g" % prospect.cost))
    return rows


def _choice(choice: Choice | None) -> dict[str, Any] | None:
    """Return how the experts were ranked, and what the fitted map expects of each."""
    if choice is None:
        return None
    return {
        "choose": choice.choose,
        "detail": choice.detail or None,
        "price_weight": choice.price_weight,
        "quality_floor": choice.quality_floor,
        "corrected_by_neighbours": choice.is_corrected,
        "experts": [row._asdict() for row in choice.prospects],
    }


def _panel(plan: Plan) -> dict[str, Any] | None:
    """Return who would be asked together, and why so many, or why one expert would be."""
    panel = plan.panel
    if panel is None:
        return {"alone": plan.alone} if plan.alone else None
    return {
        "panel": panel.panel,
        "members": [
            {"expert": call.expert, "backend": call.backend, "weight": weight}
            for call, weight in zip(panel.calls, panel.weights, strict=True)
        ],
        "detail": panel.detail or None,
        "excluded": [row._asdict() for row in panel.excluded],
    }


def _policy(permit: Permit) -> dict[str, Any] | None:
    """Return how sensitive a request is, by which detectors, and what it may cost."""
    if permit is FREE:
        return None
    return {
        "data": permit.data or None,
        "found": list(permit.found),
        "max_cost": permit.max_cost,
        "cost_rule": permit.cost_rule or None,
    }


def _session(effect: SessionEffect | None, permit: Permit) -> dict[str, Any] | None:
    """Return what the session meant for a decision, and what the router alone would choose."""
    if effect is None:
        return None
    alone = effect.alone
    expert = "" if effect.expert in permit.barred else effect.expert
    return {
        "key": effect.source,
        "previous": effect.previous,
        "expert": expert or None,
        "kept": effect.kept,
        "alone": alone
        and {
            "category": alone.category,
            "probability": alone.probability,
            "reason": alone.reason,
        },
    }


def comment(rows: Headers) -> bytes:
    """Return headers that come too late to be sent as such, as a comment of the stream."""
    return b"".join(b": %s: %s\n" % row for row in rows) + b"\n"


def _scheduling(gateway: Gateway, plan: Plan) -> dict[str, Any] | None:
    """Return who is in memory where the first call goes, and who waits; None where all are."""
    first = plan.calls[0] if plan.calls else None
    slots = gateway.slots.get(first.backend) if first else None
    if first is None or slots is None:
        return None
    views = slots.views()
    return {
        "backend": first.backend,
        "strategy": gateway.composition.batching.strategy,
        "state": next((view.state for view in views if view.expert == first.expert), None),
        "resident": [view.expert for view in views if view.state == "ready"],
        "parked": [view.expert for view in views if view.state == "parked"],
        "experts": [
            {
                "expert": v.expert,
                "state": v.state,
                "running": v.running,
                "waiting": {"interactive": v.interactive, "bulk": v.bulk},
                "loads": _loads(v.times, parks=slots.parks),
            }
            for v in views
        ],
    }


def _loads(times: LoadTimes, *, parks: bool) -> dict[str, Any]:
    """Return what loads are expected to take, by tier, and how many of them were measured."""
    disk = {"expected_s": round(times.disk_s, 6), "measured": times.from_disk}
    host = {"expected_s": round(times.host_s, 6), "measured": times.from_host}
    return {"disk": disk, "host": host} if parks else {"disk": disk}


def document(gateway: Gateway, query: Query, decision: Decision, plan: Plan) -> dict[str, Any]:
    """Return everything that is known about a decision, as JSON."""
    first = plan.calls[0] if plan.calls else None
    return {
        "object": "coe.decision",
        "id": query.id,
        "model": query.model,
        "category": decision.category,
        "probability": decision.probability,
        "calibrated": decision.calibrated,
        "abstained": decision.abstained,
        "reason": plan.reason(decision),
        "detail": decision.detail or None,
        "router": decision.router or None,
        "categories": [row._asdict() for row in decision.ranked],
        "evidence": [asdict(row) for row in decision.evidence],
        "session": _session(decision.session, plan.permit),
        "policy": _policy(plan.permit),
        "choice": _choice(plan.choice),
        "expert": first.expert if first else None,
        "backend": first.backend if first else None,
        "fallbacks": [call.expert for call in plan.calls[1:]],
        "excluded": [row._asdict() for row in plan.excluded],
        "set_back": [row._asdict() for row in plan.set_back],
        "instead_of": plan.instead_of or None,
        "panel": _panel(plan),
        "scheduling": _scheduling(gateway, plan),
        "prompt_tokens_estimate": query.tokens,
        "composition": gateway.composition.fingerprint,
    }
