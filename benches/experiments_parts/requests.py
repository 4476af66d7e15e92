"""What assigning arms and writing decisions down costs a request, in CPU time of all threads.

A request's own values are made once and not timed. Timed are: dealing it an arm of a running split
by its conversation, noting it, turning the note into a row in the writing thread, and SQLite.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import AsyncGenerator
from pathlib import Path

from rich.table import Table

from benches.experiments_parts import Options
from benches.report import Metric
from coe import planner
from coe.api import wire
from coe.composition import Composition, load
from coe.decisions.event import Event
from coe.decisions.log import DecisionLog
from coe.identity import Identity, tenant_of
from coe.settings import Settings
from coe.trials import Trials, trials_of
from coe.types import Answer, Decision, Query, RankedCategory

REQUESTS = 4000  # as many as wait for the disk at most, so that none is dropped
ROUNDS = 5
FILE = """
version: 1
backends: {up: "http://127.0.0.1:9"}
experts: {good: {backend: up, model: a, cost: {input: 1 USD/M, output: 2 USD/M}}, other: up/b}
categories:
  code: {utterances: [a, b, c, d, e], experts: [good, other]}
default: good
experiments:
  swap:
    status: running
    arms: {control: 90%, swapped: {share: 10%, set: {routing.routes.code: [other, good]}}}
"""
FIRST = b'{"id":"chatcmpl-1","object":"chat.completion","choices":[{"index":0,"message":{"role":'
LAST = b'"assistant","content":"%s"}}],"usage":{"prompt_tokens":200,"completion_tokens":100}}'


def measure(options: Options) -> list[Metric]:
    """Return the metrics of this part."""
    rounds = [_round() for _ in range(ROUNDS)]
    table = Table(title="CPU time of a request, microseconds", title_justify="left")
    for column in ("part", "median", "range"):
        table.add_column(column)
    for place, part in enumerate(("dealing", "noting", "writing")):
        times = [row[place] * 1e6 for row in rounds]
        table.add_row(
            part, f"{statistics.median(times):.1f}", f"{min(times):.1f} to {max(times):.1f}"
        )
    options.console.print(table)
    sums = tuple(1000 * sum(row) for row in rounds)
    return [
        Metric(
            metric="request_cpu_ms",
            value=statistics.median(sums),
            unit="ms",
            better="lower",
            goal=0.1,
            rounds=sums,
        )
    ]


def _round() -> tuple[float, float, float]:
    """Return seconds of CPU a request: to deal, to note, to write."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "experts.yaml"
        file.write_text(FILE)
        composition = load(file)
        trials = trials_of(composition, lambda variant: variant)
        assert trials is not None
        queries = [_query(number) for number in range(REQUESTS)]
        dealing = _timed(lambda: [trials.served_by(trials.dealt(q), composition) for q in queries])
        answers = [_answer(composition, trials, query) for query in queries]
        log = DecisionLog(Path(folder))
        noting = _timed(lambda: [log.add(_event(composition, answer)) for answer in answers])
        writing = _timed(log.flush)
        log.close()
    return dealing, noting, writing


def _timed(work: object) -> float:
    began = time.process_time()
    work()  # type: ignore[operator]
    return (time.process_time() - began) / REQUESTS


def _query(number: int) -> Query:
    text = f"why does function {number} crash when the list is empty? " * 10
    body = {"model": "coe/auto", "messages": [{"role": "user", "content": text}]}
    headers = ((b"authorization", b"Bearer 1234567890abcdef"), (b"host", b"127.0.0.1"))
    return wire.parse_chat(
        body, wire.new_id(), Settings(), wire.Sender(headers, Identity(tenant=tenant_of(headers)))
    )


async def _nothing() -> AsyncGenerator[bytes, None]:
    return
    yield b""


def _answer(composition: Composition, trials: Trials[Composition], query: Query) -> Answer:
    decision = Decision(
        ranked=(RankedCategory("code", 0.93),), category="code", reason="matched", router="default"
    )
    plan = planner.plan(composition, query, decision)
    return Answer(
        query=query,
        decision=decision,
        plan=plan,
        call=plan.calls[0],
        first=FIRST + LAST % (b"x" * 400),
        frames=_nothing(),
        arms=trials.dealt(query),
    )


def _event(composition: Composition, answer: Answer) -> Event:
    return Event(
        at=time.time(),
        query=answer.query,
        composition=composition,
        tenant="0123456789abcdef",
        status=200,
        took_s=0.1,
        answer=answer,
        first_s=0.05,
    )
