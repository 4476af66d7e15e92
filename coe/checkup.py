"""Is an expert what the composition says? It is tried, with a few tiny calls."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import orjson

from coe import planner
from coe.asking import Site, ask
from coe.backends.told import Told, is_listed, told
from coe.composition import Composition, Expert
from coe.composition.check_backends import WITHOUT_SERVER
from coe.composition.units import format_size
from coe.errors import BackendRejected, CoEError, ContextTooLong
from coe.pipeline import Gateway
from coe.premises import Premises
from coe.scheduler.loop import Slot
from coe.settings import Settings
from coe.telemetry import Telemetry
from coe.types import Decision, Dispatch, Query
from coe.wiring import backend_spec, wire

State = Literal["ok", "failed", "no", "not told"]

HELLO = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}
TOOL = {
    "messages": [{"role": "user", "content": "What is the weather in Bern? Call the tool."}],
    "max_tokens": 64,
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "description": "The weather in a town.",
                "parameters": {
                    "type": "object",
                    "properties": {"town": {"type": "string"}},
                    "required": ["town"],
                },
            },
        }
    ],
}
_LISTS_EXPERTS = WITHOUT_SERVER  # its models are the experts themselves
_LISTS_NOBODY = "litellm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was tried.

    Attributes:
        what: `reachable`, `listed`, `answers`, `streams`, `tools`, `context`, `load`, `memory`.
        state: `no` is neither good nor bad; `not told` where nobody says.
        fix: what to do where it failed.
    """

    what: str
    state: State
    detail: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkup:
    """What was found of one expert."""

    expert: str
    backend: str
    model: str
    findings: tuple[Finding, ...]

    @property
    def is_well(self) -> bool:
        """Whether nothing failed."""
        return all(finding.state != "failed" for finding in self.findings)


async def check(
    composition: Composition, settings: Settings, names: Sequence[str]
) -> list[Checkup]:
    """Try experts one after the other, whatever their status.

    Raises:
        ConfigError: the composition cannot be built.
    """
    live = {name: replace(e, status="live") for name, e in composition.experts.items()}
    everyone = replace(composition, experts=live)
    gateway = wire(everyone, settings, Telemetry(log_requests=False), premises=Premises())
    try:
        return [await _check(gateway, settings, name) for name in names]
    finally:
        await gateway.aclose()


async def _check(gateway: Gateway, settings: Settings, name: str) -> Checkup:
    composition = gateway.composition
    expert = composition.experts[name]
    findings: list[Finding] = []
    try:
        names = await gateway.backends[expert.backend].models()
    except CoEError as error:
        findings.append(_unreachable(error, expert, composition))
    else:
        findings.append(Finding(what="reachable", state="ok", detail=f"`{expert.backend}`"))
        findings.append(_listed(expert, composition, names))
        findings += await _tried(gateway, expert)
        spec = backend_spec(composition, expert.backend, http_client=settings.http_client)
        findings += _sizes(expert, await told(spec, expert.model), findings)
    return Checkup(
        expert=name, backend=expert.backend, model=_model(expert), findings=tuple(findings)
    )


async def _tried(gateway: Gateway, expert: Expert) -> list[Finding]:
    """Ask it, holding its place in memory: whatever else is there, no more than fits."""
    before = _resident()
    try:
        async with _placed(gateway, gateway.composition.root(expert.name)) as slot:
            findings = await _answers(gateway, expert.name, slot, before)
            if findings[-1].state == "ok":
                findings.append(await _streams(gateway, expert.name))
                findings.append(await _tools(gateway, expert.name))
            return findings
    except CoEError as error:
        fix = f"see the server's log; what it may take is `backends.{expert.backend}.memory`"
        return [Finding(what="load", state="failed", detail=error.message, fix=fix)]


@asynccontextmanager
async def _placed(gateway: Gateway, expert: Expert) -> AsyncIterator[Slot | None]:
    """Have an expert in memory, as a request has it; None where nobody manages that.

    Raises:
        CapacityError: it cannot be brought there.
    """
    slots = gateway.slots.get(expert.backend)
    if slots is None or not slots.manages(expert.name):
        yield None
        return
    await slots.open()
    slot = await slots.take(expert.name)
    try:
        yield slot
    finally:
        slot.release()


def _model(expert: Expert) -> str:
    return expert.adapter_source or expert.model


def _unreachable(error: CoEError, expert: Expert, composition: Composition) -> Finding:
    backend = composition.backends[expert.backend]
    if isinstance(error, BackendRejected) and error.backend_status in {401, 403}:
        fix = f"check `backends.{expert.backend}.api_key`"
    elif backend.url is None:
        fix = "run `coe check`"
    else:
        fix = f"start the server, or correct `backends.{expert.backend}.url` ({backend.url})"
    return Finding(what="reachable", state="failed", detail=error.message, fix=fix)


def _listed(expert: Expert, composition: Composition, names: tuple[str, ...]) -> Finding:
    kind = composition.backends[expert.backend].type
    if kind == _LISTS_NOBODY or not names:
        return Finding(what="listed", state="not told")
    wanted = expert.name if kind == _LISTS_EXPERTS else _model(expert)
    if is_listed(wanted, names):
        return Finding(what="listed", state="ok", detail=f"`{wanted}`, one of {len(names)}")
    near = get_close_matches(wanted, names, n=1)
    some = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")  # noqa: PLR2004
    known = f"did you mean `{near[0]}`?" if near else f"it lists {some}"
    pull = f"`ollama pull {wanted}`, or " if kind == "ollama" else ""
    return Finding(
        what="listed",
        state="failed",
        detail=f"the server does not list `{wanted}`",
        fix=f"{pull}correct `experts.{expert.name}.model`: {known}",
    )


async def _answers(
    gateway: Gateway, name: str, slot: Slot | None, before: int | None
) -> list[Finding]:
    """Ask twice: what the first answer took longer, loading took, unless a slot knows better.

    Args:
        gateway: that it is of.
        name: of the expert.
        slot: its place in memory, where that is managed.
        before: bytes of this process before it was loaded; None where the system does not say.
    """
    site = Site(backends=gateway.backends, telemetry=gateway.telemetry)
    started = perf_counter()
    try:
        first = await ask(gateway.composition, site, name, HELLO)
        first_s, after = perf_counter() - started, _resident()
        again = await ask(gateway.composition, site, name, HELLO)
    except CoEError as error:
        fix = "see the server's log"
        if isinstance(error, ContextTooLong):
            fix = f"correct `experts.{name}.context`"
        return [Finding(what="answers", state="failed", detail=error.message, fix=fix)]
    load_s = first_s - again.latency_s if slot is None else slot.swap_s
    found = []
    backend = gateway.composition.backends[gateway.composition.experts[name].backend]
    if backend.type == WITHOUT_SERVER:
        found.append(Finding(what="load", state="ok", detail=f"{max(load_s, 0):.2f} s"))
        if before is not None and after is not None:
            grown = format_size(max(after - before, 0) // 2**20 * 2**20)
            detail = f"{grown} more, with what was not loaded before it (libraries, base)"
            found.append(Finding(what="memory", state="ok", detail=detail))
    elif slot is not None and load_s:
        found.append(Finding(what="load", state="ok", detail=f"{load_s:.1f} s"))
    elif load_s > 2 * again.latency_s + 0.5:
        detail = f"about {load_s:.1f} s: the first answer took so much longer than the second"
        found.append(Finding(what="load", state="ok", detail=detail))
    else:
        found.append(Finding(what="load", state="not told", detail="it was loaded already"))
    said = (again.text or "")[:40].replace("\n", " ")
    detail = f"{again.latency_s:.2f} s: {said!r}" if first.text is not None else "without text"
    return [*found, Finding(what="answers", state="ok", detail=detail)]


async def _streams(gateway: Gateway, name: str) -> Finding:
    query = Query(id="check", model=name, body={**HELLO, "stream": True}, stream=True)
    decision = Decision(reason="pinned", pinned_expert=name)
    (call,) = planner.plan(gateway.composition, query, decision).calls
    started, pieces, first_s = perf_counter(), 0, 0.0
    frames = gateway.backends[call.backend].generate(Dispatch(query_id=query.id, call=call))
    try:
        async with aclosing(frames):
            async for piece in frames:
                first_s = first_s or perf_counter() - started
                pieces += piece.count(b"data: ")
    except CoEError as error:
        fix = "the server does not stream: put another one before it"
        return Finding(what="streams", state="failed", detail=error.message, fix=fix)
    return Finding(
        what="streams", state="ok", detail=f"first after {first_s:.2f} s, {pieces} chunks"
    )


async def _tools(gateway: Gateway, name: str) -> Finding:
    expert = gateway.composition.experts[name]
    declared = expert.capabilities is not None and "tools" in expert.capabilities
    try:
        called = await _calls_tool(gateway, name)
        detail = "it calls one when asked to" if called else "it answered without calling one"
    except CoEError as error:
        called, detail = False, error.message
    if called:
        return Finding(what="tools", state="ok", detail=detail)
    if declared:
        fix = f"take `tools` from `experts.{name}.capabilities`, or have the server support them"
        return Finding(what="tools", state="failed", detail=detail, fix=fix)
    return Finding(what="tools", state="no", detail=detail)


async def _calls_tool(gateway: Gateway, name: str) -> bool:
    query = Query(id="check", model=name, body=TOOL)
    (call,) = planner.plan(
        gateway.composition, query, Decision(reason="pinned", pinned_expert=name)
    ).calls
    frames = gateway.backends[call.backend].generate(Dispatch(query_id=query.id, call=call))
    async with aclosing(frames):
        raw = await anext(frames, b"{}")
    try:
        answer: Any = orjson.loads(raw)
        return bool(answer["choices"][0]["message"].get("tool_calls"))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return False


def _sizes(expert: Expert, said: Told, before: Sequence[Finding]) -> list[Finding]:
    """Compare the declared context with the server's, and say what memory the model takes."""
    found = []
    by = f" ({said.by})" if said.by else ""
    if said.context is None:
        detail = f"the file says {expert.context}" if expert.context else "the file says nothing"
        found.append(Finding(what="context", state="not told", detail=detail))
    elif expert.context is not None and expert.context > said.context:
        found.append(
            Finding(
                what="context",
                state="failed",
                detail=f"the file says {expert.context}, the server {said.context}{by}",
                fix=f"write `context: {said.context}`, or start the server with more",
            )
        )
    else:
        hint = "" if expert.context else f"; write `context: {said.context}` to have it respected"
        found.append(Finding(what="context", state="ok", detail=f"{said.context}{by}{hint}"))
    if said.memory is not None:
        detail = f"{format_size(said.memory // 2**20 * 2**20)}{by}"
        found.append(Finding(what="memory", state="ok", detail=detail))
    elif not any(finding.what == "memory" for finding in before):
        found.append(Finding(what="memory", state="not told"))
    return found


def _resident() -> int | None:
    """Return the bytes of this process that are in memory; None where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
