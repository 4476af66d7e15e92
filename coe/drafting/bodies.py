"""What a panel sends: to members, to a judge, and to whoever writes the answer. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from coe import planner
from coe.composition import Composition, Cost, Expert
from coe.drafting.budget import LEAST_TOKENS, Grant, Offer
from coe.drafts import Member, Question, Write
from coe.types import Call, PanelPlan, Query

SAMPLE_TEMPERATURE = 0.7
"""Of a member that is asked again where nobody says: else it would say the same again."""

PER_MESSAGE = 16
"""Tokens that a chat template puts around a message, at most."""

_WHOLE = ("stream", "stream_options", "n")  # drafts are read as a whole, and are one answer each
_PER_PICTURE = 4096  # tokens of a picture that is not in the body itself


def members_of(plan: PanelPlan) -> tuple[Member, ...]:
    """Return the members of a panel, as an aggregator sees them."""
    seen: dict[str, int] = {}
    members = []
    for call, weight in zip(plan.calls, plan.weights, strict=True):
        sample = seen.get(call.expert, 0)
        seen[call.expert] = sample + 1
        members.append(Member(expert=call.expert, sample=sample, weight=weight))
    return tuple(members)


def draft_call(call: Call, member: Member, grant: Grant, *, logprobs: bool = False) -> Call:
    """Return the call that asks a member for its draft, as a whole.

    Args:
        call: as it would be if this member answered alone.
        member: whose.
        grant: its limit on new tokens, where the money sets one.
        logprobs: whether the log-probabilities of the tokens are wanted.
    """
    body = {key: value for key, value in call.body.items() if key not in _WHOLE}
    if member.sample:
        if body.get("temperature") is None:
            body["temperature"] = SAMPLE_TEMPERATURE
        if isinstance(seed := body.get("seed"), int):
            body["seed"] = seed + member.sample
    if logprobs:
        body["logprobs"] = True
    return replace(call, body=limited(body, grant), stream=False, is_part=True)


def question_call(composition: Composition, query: Query, question: Question, grant: Grant) -> Call:
    """Return the call that asks a question about drafts; nothing of the client's request is in it.

    Its answer is short and the same each time, as far as the expert's own settings let it be.
    """
    body = {
        "model": query.model,
        "messages": list(question.messages),
        "max_tokens": question.max_tokens,
        "temperature": 0.0,
    }
    asked = replace(query, body=body, stream=False)
    expert = composition.experts[question.expert]
    call = planner.call_of(composition, question.expert, expert, asked)
    return replace(call, body=limited(call.body, grant), is_part=True)


def answer_call(composition: Composition, query: Query, step: Write, grant: Grant) -> Call:
    """Return the call that writes the answer: the client's request, but for its messages."""
    body = {**query.body, "messages": list(step.messages)}
    body.pop("n", None)
    expert = composition.experts[step.expert]
    call = planner.call_of(composition, step.expert, expert, replace(query, body=body))
    return streamed(call, grant)


def streamed(call: Call, grant: Grant) -> Call:
    """Return a call whose answer is the panel's; a stream is to tell its usage, for the sum."""
    body = limited(call.body, grant)
    if call.stream:
        options = body.get("stream_options") or {}
        body = {**body, "stream_options": {**options, "include_usage": True}}
    return replace(call, body=body, is_part=True)


def limited(body: Mapping[str, Any], grant: Grant) -> dict[str, Any]:
    """Return a body whose answer costs no more than what was set aside for it."""
    if grant.limit is None or limit_of(body) is not None:
        return dict(body)
    return {**body, "max_tokens": grant.limit}


def offer_of(call: Call, expert: Expert) -> Offer:
    """Return what a call may cost at most.

    What a prompt program adds to each of its calls counts too.
    """
    cost = expert.cost or Cost()
    sent = longest_prompt(call.body) + expert.added
    prompt, token = cost.of(sent, 0), cost.of(0, 1)
    if prompt is None or token is None:
        return Offer(prompt=float("inf"))
    most = [expert.max_output] if expert.max_output is not None else []
    most += [expert.context - sent] if expert.context is not None else []
    return Offer(
        prompt=prompt * expert.calls,
        token=token * expert.calls,
        limit=limit_of(call.body),
        ceiling=max(min(most), LEAST_TOKENS) if most else None,
    )


def longest_prompt(body: Mapping[str, Any]) -> int:
    """Return the most tokens that a body's prompt can have.

    No token stands for less than a byte of the body, which holds all that the model is shown.
    """
    messages: Sequence[Any] = body.get("messages") or ()
    written = orjson.dumps(body)
    most = len(written) + PER_MESSAGE * len(messages)
    return most + _PER_PICTURE * _pictures(messages) if b'"image_url"' in written else most


def limit_of(body: Mapping[str, Any]) -> int | None:
    """Return the most new tokens of one answer that a body asks for; None where it does not say.

    Of two limits it is the larger one: some servers keep to the one, and some to the other.
    """
    most: int | None = None
    for key in planner.LIMITS:
        value = body.get(key)
        if isinstance(value, int) and (most is None or value > most):
            most = value
    return most


def _pictures(messages: Sequence[Any]) -> int:
    contents = (one.get("content") for one in messages if isinstance(one, Mapping))
    return sum(
        isinstance(part, Mapping) and part.get("type") == "image_url"
        for content in contents
        if isinstance(content, list)
        for part in content
    )
