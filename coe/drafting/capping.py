"""What a policy lets one request cost: nobody is asked whose answer could cost more. Pure.

A panel's calls are paid for one by one, see `coe.drafting.budget`; where one expert answers, its
answer is no longer than the money pays for. An expert that fails before its first byte is taken to
have cost nothing.
"""

from __future__ import annotations

from dataclasses import replace

from coe.composition import Composition
from coe.drafting.bodies import limited, offer_of
from coe.drafting.budget import Budget
from coe.identity import Permit
from coe.policies.permits import POLICY
from coe.types import Call, Exclusion, Plan, Query


def capped(composition: Composition, query: Query, plan: Plan) -> Plan:
    """Return a plan whose single calls cost no more than the query's permit says, each.

    Who is too dear, or has no price, is left out.
    """
    calls: list[Call] = []
    excluded = list(plan.excluded)
    for call in plan.calls:
        paid = _paid(composition, call, query.permit)
        if paid is None:
            words = _words(composition, call, query.permit)
            excluded.append(Exclusion(call.expert, POLICY, words))
        else:
            calls.append(paid)
    return replace(plan, calls=tuple(calls), excluded=tuple(excluded))


def _paid(composition: Composition, call: Call, permit: Permit) -> Call | None:
    """Return a call that is paid for, perhaps for a shorter answer; None where it cannot be."""
    offer = offer_of(call, composition.experts[call.expert])
    answers = call.body.get("n")
    if isinstance(answers, int) and answers > 1:
        offer = offer._replace(token=offer.token * answers)
    if call.endpoint != "chat/completions":
        offer = offer._replace(token=0.0)
    grant = Budget(permit.max_cost).reserve(call.expert, offer)
    return None if grant is None else replace(call, body=limited(call.body, grant))


def _words(composition: Composition, call: Call, permit: Permit) -> str:
    expert = composition.experts[call.expert]
    why = "may cost more than" if expert.is_priced else "has no price, and one answer may cost"
    return f"rule `{permit.cost_rule}`: it {why} {permit.max_cost:g}"
