"""A request that has ended -> the record of its decision. Pure, and run off the event loop."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

import orjson

from coe.composition import Composition
from coe.decisions.keeping import kept
from coe.errors import CoEError
from coe.identity import FREE, Permit
from coe.stores.decisions import Record
from coe.trials import arms_of, unit_of
from coe.types import Answer, Attempt, Decision, Plan, Query, RankedCategory
from coe.usage import in_usual_form, tokens

_MOST_RANKED = 8
_MOST_TOKENS = 2**53
_ID = re.compile(rb'"id"\s*:\s*"([^"\\]{1,200})"')
_DATA = b"data:"
_USAGE, _PROVENANCE = b'"usage"', b'"provenance"'


class Event(NamedTuple):
    """What the event loop notes of a request that has ended: references, nothing computed.

    Attributes:
        at: when it came, in seconds since the epoch.
        tenant: digest of the client's key; empty where it has none.
        answer: None where nobody answered.
        last: the last piece of the answer that was sent; it holds the usage of a stream.
        took_s: the whole request, in seconds.
        first_s: until the first content; None where there was none.
        endpoint: where it is not the query's: `shadow`.
        arms: where they are not the answer's.
        size: of the request's body, in bytes.
    """

    at: float
    query: Query
    composition: Composition
    tenant: str
    status: int
    took_s: float
    answer: Answer | None = None
    error: CoEError | None = None
    last: bytes = b""
    first_s: float | None = None
    endpoint: str = ""
    arms: Mapping[str, str] | None = None
    size: int = 0


def record_of(event: Event, digest: Callable[[object], str]) -> Record:
    """Return the record of a request.

    Args:
        event: what was noted of it.
        digest: of the messages.
    """
    query, answer = event.query, event.answer
    observe = event.composition.observe
    decision, plan = _decided(event)
    messages = query.body.get("messages", query.body.get("input"))
    keeps = observe.keep_prompts == "text" and query.identity.keeps_text
    said = _said(answer.first, event.last) if answer is not None else _SILENT
    arms = _arms(event)
    return Record(
        id=query.id,
        response_id=said.id,
        at=event.at,
        tenant=event.tenant,
        endpoint=event.endpoint or query.endpoint,
        model=query.model,
        status=event.status,
        error=type(event.error).__name__ if event.error is not None else "",
        prompt="" if observe.keep_prompts == "none" else digest(messages),
        text=kept(messages, observe.prompts_size) if keeps else None,
        text_until=event.at + observe.prompts_for_s if keeps else None,
        category=decision.category,
        probability=decision.probability,
        reason=answer.reason if answer is not None else plan.reason(decision),
        router=decision.router,
        expert=answer.call.expert if answer is not None else None,
        unit=decision.session.owner.hex() if decision.session is not None else "",
        arms=arms,
        latency_s=event.took_s,
        first_s=event.first_s,
        prompt_tokens=said.prompt_tokens,
        answer_tokens=said.answer_tokens,
        cost=_cost(event.composition, answer, said),
        composition=(answer.composition if answer is not None else "")
        or event.composition.fingerprint,
        detail=_detail(event, decision, plan, said) | _dealt(event, arms, digest),
    )


def _arms(event: Event) -> Mapping[str, str]:
    if event.arms is not None:
        return event.arms
    if event.answer is not None:
        return event.answer.arms
    if event.error is not None and type(event.error) is not CoEError:
        return event.error.arms
    # The client left before the first word, or something broke that nobody thought of. It was dealt
    # an arm all the same: were it missing, an arm would look the better the more of its users it
    # drives away, or the more of its requests break.
    return arms_of(event.composition, event.query)


def _dealt(
    event: Event, arms: Mapping[str, str], digest: Callable[[object], str]
) -> dict[str, Any]:
    """Return digests of what the arms were dealt to: two requests of one unit have the same."""
    composition = event.composition
    units = {
        name: digest([name, unit_of(composition, event.query, composition.experiments[name].unit)])
        for name in arms
        if name in composition.experiments
    }
    return {"units": units} if units else {}


class _Said(NamedTuple):
    """What the body of an answer says of itself."""

    id: str | None = None
    prompt_tokens: int | None = None
    answer_tokens: int | None = None
    provenance: Mapping[str, Any] | None = None


_SILENT = _Said()


def _decided(event: Event) -> tuple[Decision, Plan]:
    if event.answer is not None:
        return event.answer.decision, event.answer.plan
    made = event.error.made if event.error is not None else None
    return made if made is not None else (Decision(), Plan(calls=()))


def _said(first: bytes, last: bytes) -> _Said:
    """Read the id from the first piece of an answer, and what it took from the last one."""
    found = _ID.search(first)
    name = found[1].decode("utf-8", "replace") if found else None
    for piece in (last, first):
        if _PROVENANCE not in piece:
            if (used := in_usual_form(piece)) is not None:
                return _Said(name, *used)
            if _USAGE not in piece:
                continue  # most pieces of most streams
        for line in reversed(piece.splitlines()):
            raw = line.removeprefix(_DATA).strip()
            if _USAGE not in raw and _PROVENANCE not in raw:
                continue
            try:
                body = orjson.loads(raw)
            except orjson.JSONDecodeError:
                continue
            if isinstance(body, dict) and (isinstance(body.get("usage"), dict) or "coe" in body):
                usage, coe = body.get("usage") or {}, body.get("coe") or {}
                return _Said(
                    id=name,
                    prompt_tokens=_counted(usage.get("prompt_tokens")),
                    answer_tokens=_counted(usage.get("completion_tokens")),
                    provenance=coe.get("provenance") if isinstance(coe, dict) else None,
                )
    return _Said(id=name)


def _counted(value: object) -> int | None:
    """Return a number of tokens; None where it is none, such as the -1 of an unsigned integer."""
    found = tokens(value)
    return found if found is not None and found < _MOST_TOKENS else None


def _cost(composition: Composition, answer: Answer | None, said: _Said) -> float | None:
    """Return what the answer cost; None where its tokens or its prices are not known."""
    if answer is None:
        return None
    if answer.recalled is not None:
        return 0.0
    if said.provenance is not None:
        cost = said.provenance.get("cost")
        return float(cost) if isinstance(cost, int | float) else None
    prices = composition.experts[answer.call.expert].cost
    return prices.of(said.prompt_tokens, said.answer_tokens) if prices is not None else None


def _detail(event: Event, decision: Decision, plan: Plan, said: _Said) -> dict[str, Any]:
    """Return what is known beside, less what is empty."""
    answer, session, choice = event.answer, decision.session, plan.choice
    attempts = event.error.attempts if event.error is not None else ()
    facts: dict[str, Any] = {
        "candidates": _candidates(plan),
        "calibrated": decision.calibrated,
        "stream": event.query.stream,
        "tokens": event.query.tokens,
    }
    if answer is not None:
        attempts = attempts or answer.attempts
        facts["routed_s"] = round(answer.routed_s, 6)
        facts["queued_s"] = round(answer.queued_s, 6)
    if session is not None:
        kept = {"source": session.source, "previous": session.previous, "kept": session.kept}
        facts["session"] = kept
    # Most of these are empty, and each costs the thread that writes them.
    rare = (
        ("excluded", plan.excluded and [row._asdict() for row in plan.excluded]),
        ("ranked", decision.ranked and [_ranked(row) for row in decision.ranked[:_MOST_RANKED]]),
        ("choose", choice and choice.choose),
        ("x", choice and choice.features),
        ("note", decision.detail),
        ("pinned", decision.pinned_expert),
        ("attempts", attempts and [_attempt(row) for row in attempts]),
        ("policy", plan.permit is not FREE and _policy(plan.permit)),
        ("panel", plan.panel and plan.panel.panel),
        ("alone", plan.alone),
        ("provenance", said.provenance and _without_words(said.provenance)),
        ("cache", answer and answer.recalled and asdict(answer.recalled)),
    )
    facts.update((name, fact) for name, fact in rare if fact)
    if answer is not None and answer.swap_s is not None:
        facts["swap_s"] = answer.swap_s
    return facts


def _attempt(row: Attempt) -> dict[str, str]:
    rules = {key: value for key, value in (("kind", row.kind), ("then", row.then)) if value}
    return {"expert": row.expert, "error": row.error, **rules}


def _without_words(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return a panel's provenance without what drafts say: who contradicts whom is enough."""
    conflicts = provenance.get("conflicts") or ()
    return {
        **provenance,
        "conflicts": [{"experts": row.get("experts")} for row in conflicts],
    }


def _policy(permit: Permit) -> dict[str, Any]:
    """Return how sensitive a request was, and which detectors found something: never what."""
    return {"data": permit.data, "found": list(permit.found)}


def _ranked(row: RankedCategory) -> dict[str, Any]:
    return {"name": row.name, "probability": row.probability}


def _candidates(plan: Plan) -> list[dict[str, Any]]:
    """Return who could have answered, in order: how likely each was to be asked first.

    Behind those who would have been asked come the others who might have been drawn.
    """
    if plan.choice is None and not plan.chances:
        return [
            {"expert": call.expert, "propensity": float(place == 0)}
            for place, call in enumerate(plan.calls)
        ]
    expected = {row.expert: row for row in plan.choice.prospects} if plan.choice else {}
    rows = []
    for place, name in enumerate(dict.fromkeys([*(c.expert for c in plan.calls), *plan.chances])):
        prospect = expected.get(name)
        chance = plan.chances.get(name, 0.0) if plan.chances else float(place == 0)
        row: dict[str, Any] = {"expert": name, "propensity": chance}
        if prospect is not None:
            row["quality"], row["cost"] = prospect.quality, prospect.cost
        rows.append(row)
    return rows
