"""Panels over real sockets, as the openai SDK sees them.

The method is a plugin that is found as a third party's is: a script of steps.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import openai
import pytest

from coe.drafts import Ask, Conflict, Consult, Merge, Pick, Question, Relay, Step, Table, Wait, Write
from coe.protocols import AggregatorSpec
from coe.testing.upstream import FakeUpstream

from .conftest import Running, Serve

pytestmark = pytest.mark.anyio

HELLO = [{"role": "user", "content": "what is six times seven"}]


class Scripted:
    """An aggregator: asks everybody, waits for the quorum, and ends as its option says."""

    def __init__(self, spec: AggregatorSpec) -> None:
        self.name = spec.name
        self._judge = spec.judge
        self._writer = spec.writer
        self._how = spec.options.get("how", "pick")

    def next(self, table: Table) -> Step:
        if self._how == "raises":
            raise RuntimeError("a mistake")
        if self._how == "cascade":
            return self._cascade(table)
        if not table.asked:
            return Ask(tuple(range(len(table.members))))
        if self._how == "twice" and not table.is_closing:
            return Ask((0,))
        if table.pending and len(table.good) < table.quorum and not table.is_closing:
            return Wait()
        return self._last(table)

    def _cascade(self, table: Table) -> Step:
        if not table.asked:
            return Ask((0,))
        if table.pending:
            return Wait()
        if table.unasked:
            return Relay(member=table.unasked[0], why="the first was not sure")
        return Pick(member=table.good[0].member, why="nobody else is left")

    def _last(self, table: Table) -> Step:
        places = tuple(draft.member for draft in table.good)
        if self._how == "failed":
            return Pick(member=next(d.member for d in table.drafts if d.has_failed))
        if self._how == "judge":
            if not table.consulted and not table.is_closing:
                messages = ({"role": "user", "content": "which is best"},)
                return Consult((Question(key="best", expert=self._judge or "", messages=messages),))
            if table.open_questions:
                return Wait()
            remark = table.remarks["best"]
            return Pick(member=places[-1], why=remark.text or remark.error)
        if self._how == "write":
            texts = "\n".join(draft.text for draft in table.good)
            message = {"role": "user", "content": f"merge: {texts}"}
            writer = self._writer or table.members[0].expert
            return Write(expert=writer, messages=(message,), used=places, why="merged")
        if self._how in {"join", "choices"}:
            return Merge(members=places, as_choices=self._how == "choices")
        texts_of = {draft.text: [] for draft in table.good}  # type: dict[str, list[int]]
        for draft in table.good:
            texts_of[draft.text].append(draft.member)
        conflicts = tuple(Conflict(answer=t, members=tuple(m)) for t, m in texts_of.items())
        return Pick(
            member=places[0], why="the first", conflicts=conflicts if len(conflicts) > 1 else ()
        )


@pytest.fixture(autouse=True)
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install `Scripted` as the method `scripted`."""
    site = tmp_path / "site"
    (site / "scripted-1.dist-info").mkdir(parents=True)
    (site / "scripted-1.dist-info" / "METADATA").write_text("Name: scripted\nVersion: 1\n")
    (site / "scripted-1.dist-info" / "entry_points.txt").write_text(
        "[coe.aggregators]\nscripted = scripted_plugin:Scripted\n"
    )
    module = ModuleType("scripted_plugin")
    module.Scripted = Scripted  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "scripted_plugin", module)
    monkeypatch.syspath_prepend(str(site))


def composition(upstream: FakeUpstream, models: dict[str, str], panel: str = "", more: str = "") -> str:
    experts = "".join(
        f'  {name}: {{backend: up, model: "{model}", cost: {{input: 1 USD/M, output: 2 USD/M}}}}\n'
        for name, model in models.items()
    )
    named = ", ".join(name for name in models if len(name) == 1)
    return (
        f'version: 1\nbackends: {{up: "{upstream.url}"}}\nexperts:\n{experts}'
        f"aggregation:\n  trio: {{method: scripted, experts: [{named}]{panel}}}\n"
        "models: {coe/trio: {aggregate: trio}}\ndefault: a\n"
        f"timeouts: {{connect: 2s, first_token: 5s, idle: 5s, total: 20s}}\n{more}"
    )


@asynccontextmanager
async def served(
    serve: Serve,
    upstream: FakeUpstream,
    models: dict[str, str],
    panel: str = "",
    more: str = "",
) -> AsyncIterator[tuple[Running, openai.AsyncOpenAI]]:
    async with (
        serve(composition(upstream, models, panel, more)) as running,
        openai.AsyncOpenAI(
            base_url=running.url, api_key="none", max_retries=0, timeout=30
        ) as sdk,
    ):
        yield running, sdk


def provenance(thing: Any) -> dict[str, Any]:
    """Return the provenance of a completion, or of a chunk."""
    return thing.model_extra["coe"]["provenance"]


def statuses(thing: Any) -> list[tuple[str, str, str]]:
    return [(c["expert"], c["role"], c["status"]) for c in provenance(thing)["calls"]]


async def ask(sdk: openai.AsyncOpenAI, **more: Any) -> Any:
    return await sdk.chat.completions.create(model="coe/trio", messages=HELLO, **more)


async def test_the_answer_is_one_of_the_drafts(serve: Serve, upstream: FakeUpstream) -> None:
    async with served(serve, upstream, {"a": "x", "b": "y", "c": "z"}) as (running, sdk):
        raw = await sdk.chat.completions.with_raw_response.create(
            model="coe/trio", messages=HELLO
        )
        answer = raw.parse()

        assert answer.choices[0].message.content == "echo: what is six times seven"
        assert answer.model == "a"
        assert answer.usage.total_tokens == 3 * 11
        assert statuses(answer) == [
            ("a", "draft", "answer"),
            ("b", "draft", "unused"),
            ("c", "draft", "unused"),
        ]
        assert raw.headers["x-coe-panel"] == "trio"
        assert raw.headers["x-coe-calls"] == "3"
        assert float(raw.headers["x-coe-cost-usd"]) == pytest.approx(3 * (5 + 2 * 6) / 1e6)
        assert running.metric('coe_panels_total{panel="trio",result="answered"}') == 1
        assert running.metric('coe_panel_calls_total{panel="trio",use="unnecessary"}') == 2
