"""What each stack is asked, under which load."""

from __future__ import annotations

import json

from benches.answers import check
from benches.goals import C1, C64, EXPLICIT, ROUTED, SEEN, STREAMS, UNSEEN
from benches.load import FRESH
from benches.rounds import Cell, Lane
from benches.stacks import OURS, Running

PROMPT = (
    "where does the old river run under the town and how many people find their way home "
    "after a long day of work near the cold lake"
)
SYSTEM = "You are a careful assistant. Answer in one short paragraph, in plain words. " * 4


def chat_body(model: str, text: str, *, system: str = SYSTEM, stream: bool = False) -> bytes:
    """Return a chat request; about 600 bytes with the system message."""
    messages = [{"role": "user", "content": text}]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    streamed = {"stream": True} if stream else {}
    return json.dumps(
        {"model": model, "messages": messages, "temperature": 0.2, "max_tokens": 256, **streamed}
    ).encode()


def lanes_of(one: Running) -> list[Lane]:
    """Check a stack's answers, streamed and not, and return its lines of measurement.

    Raises:
        WrongAnswer: it does not answer as the upstream does.
    """
    model = one.stack.model
    whole, whole_stream = (
        check(one.target(chat_body(model, PROMPT, stream=stream)), streamed=stream)
        for stream in (False, True)
    )

    def lane(cell: Cell, name: str, body: bytes, whole_bytes: int) -> Lane:
        target = one.target(body)
        return Lane(
            cell=cell, name=name, target=target, whole_bytes=whole_bytes, process=one.process
        )

    lanes = [
        lane(C64, one.stack.name, chat_body(model, PROMPT), whole),
        lane(C1, one.stack.name, chat_body(model, PROMPT), whole),
        lane(STREAMS, one.stack.name, chat_body(model, PROMPT, stream=True), whole_stream),
    ]
    if one.stack.name == OURS:
        for name, asked, text in (
            (EXPLICIT, model, PROMPT),
            (SEEN, "coe/auto", PROMPT),
            (UNSEEN, "coe/auto", FRESH),
        ):
            body = chat_body(asked, text, system="")
            check(one.target(body), streamed=False)
            lanes.append(lane(ROUTED, name, body, whole))
    return lanes
