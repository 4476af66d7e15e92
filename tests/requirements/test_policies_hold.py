"""Whatever is composed and asked: who is barred is asked nothing, credited nothing, named nowhere.

Compositions, policies and requests are drawn; a server that all experts stand on writes down who is
sent what; whom a request may not reach is worked out here once more, in another way.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from coe import pipeline
from coe.api import explain, wire
from coe.composition import load
from coe.decisions.event import Event, record_of
from coe.decisions.log import DecisionLog
from coe.errors import CoEError, CompositionError, Forbidden
from coe.identity import Identity
from coe.pipeline import Gateway
from coe.settings import Settings
from coe.shadows import Job, Shadows
from coe.telemetry import Telemetry
from coe.testing.upstream import FakeUpstream
from coe.types import Answer, Query
from coe.wiring import wire as wire_gateway

MODELS = ("e0", "e1", "e2", "e3")
DERIVED = ("lora", "wise", "wiser", "kept")
EXPERTS = (*MODELS, *DERIVED)
TAGS = ("a", "b")
TEAMS = ("x", "y")
CLASSES = ("low", "middle", "high")
TRUSTS = ("local", "private", "external")
KEY = "AKIA" + "IOSFODNN7EXAMPLE"
WORDS = {"law": "clause", "code": "python"}


@dataclass(frozen=True)
class World:
    """What was drawn.

    Attributes:
        trust: of the backend of each model.
        tags: of each expert.
        under: what each derived expert stands on.
        data: class of each category.
        rules: as they are written, less their names.
        text: the file.
    """

    trust: Mapping[str, str]
    tags: Mapping[str, Sequence[str]]
    under: Mapping[str, str]
    data: Mapping[str, str]
    rules: Sequence[Mapping[str, Any]]
    text: str = field(repr=False)


@dataclass(frozen=True)
class Ask:
    """One request."""

    model: str
    category: str | None
    has_secret: bool
    team: str
    experts: tuple[str, ...] | None
    not_experts: tuple[str, ...]
    exclude: tuple[str, ...]
    data: str
    stream: bool


names = st.sampled_from(EXPERTS)
groups = st.lists(names | st.sampled_from([f"tag:{tag}" for tag in TAGS]), max_size=3, unique=True)


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    condition: dict[str, Any] = {}
    if draw(st.booleans()):
        condition["data"] = draw(st.sampled_from(CLASSES))
    if draw(st.booleans()):
        condition["team"] = draw(st.sampled_from(TEAMS))
    if draw(st.booleans()):
        condition["category"] = draw(st.sampled_from(sorted(WORDS)))
    rule: dict[str, Any] = {"if": condition, "else": "refuse"}
    kind = draw(st.sampled_from(["require", "allow", "deny"]))
    if kind == "require":
        trusts = draw(st.lists(st.sampled_from(TRUSTS), min_size=1, max_size=2, unique=True))
        return {**rule, "require": {"trust": trusts}}
    group = draw(groups.filter(bool))
    listed = {
        "experts": [name for name in group if ":" not in name],
        "tags": [name[4:] for name in group if ":" in name],
    }
    return {**rule, kind: listed}


@st.composite
def worlds(draw: st.DrawFn) -> World:
    trust = {name: draw(st.sampled_from(TRUSTS)) for name in MODELS}
    tags = {
        name: draw(st.lists(st.sampled_from(TAGS), max_size=2, unique=True)) for name in EXPERTS
    }
    tags["e0"] = list(TAGS)  # so that each tag is somebody's
    base, over = draw(st.sampled_from(MODELS)), draw(st.sampled_from(MODELS))
    under = {"lora": base, "wise": over, "wiser": "wise", "kept": draw(st.sampled_from(MODELS))}
    data = {name: draw(st.sampled_from(["", *CLASSES])) for name in sorted(WORDS)}
    drawn = draw(st.lists(rules(), max_size=3))
    ranked = st.lists(names, min_size=1, max_size=4, unique=True)
    method = draw(st.sampled_from(["vote", "best_of", "synthesize", "first_good", "concat"]))
    panel: dict[str, Any] = {"method": method, "experts": draw(ranked)}
    if method == "best_of":
        panel["judge"] = draw(names)
    if method == "synthesize":
        panel["writer"] = draw(names)
    if method == "first_good":
        panel |= {"judge": draw(names), "good_when": {"judge_over": 0.9}}
    content = {
        "version": 1,
        "backends": {f"b{n}": {"url": "URL", "trust": trust[n]} for n in MODELS},
        "experts": {
            **{n: {"backend": f"b{n}", "model": n, "tags": tags[n]} for n in MODELS},
            "lora": {"base": base, "adapter": "lora", "tags": tags["lora"]},
            "wise": {"recipe": {"over": over, "system": "Think."}, "tags": tags["wise"]},
            "wiser": {"recipe": {"over": "wise", "system": "More."}, "tags": tags["wiser"]},
            "kept": {"cached": {"over": under["kept"]}, "tags": tags["kept"]},
        },
        "categories": {
            name: {
                "keywords": [word],
                "experts": draw(ranked),
                **({"data": data[name]} if data[name] else {}),
                **({"aggregate": "some"} if draw(st.booleans()) else {}),
            }
            for name, word in sorted(WORDS.items())
        },
        "aggregation": {"some": panel},
        "models": {"coe/some": {"aggregate": "some"}},
        "routing": {"none": draw(ranked)},
        "default": draw(st.sampled_from(MODELS)),
        "policies": {
            "data_classes": list(CLASSES),
            "detect": {"secrets": draw(st.sampled_from(CLASSES))},
            "rules": [{"name": f"r{i}", **rule} for i, rule in enumerate(drawn)],
        },
        "experiments": {
            "beside": {
                "status": "running",
                "mode": "shadow",
                "sample": "100%",
                "metrics": "judge",
                "judge": {"expert": draw(names)},
                "arms": {"control": {}, "other": {"set": {"routing.none": draw(ranked)}}},
            }
        },
    }
    if draw(st.booleans()):
        content["routers"] = {
            "default": {"type": "chain", "stages": ["words", "judge"]},
            "words": "keyword",
            "judge": {"type": "llm", "expert": draw(names)},
        }
    return World(trust, tags, under, data, drawn, json.dumps(content))


asks = st.builds(
    Ask,
    model=st.sampled_from(["coe/auto", "coe/auto", "coe/some", "coe/law", *EXPERTS]),
    category=st.sampled_from([None, *sorted(WORDS)]),
    has_secret=st.booleans(),
    team=st.sampled_from(["", *TEAMS]),
    experts=st.none() | groups.map(tuple),
    not_experts=groups.map(tuple),
    exclude=groups.map(tuple),
    data=st.sampled_from(["", *CLASSES]),
    stream=st.booleans(),
)


# ---------------------------------------------------------------- who is barred, once more


def named(group: Sequence[str], world: World) -> set[str]:
    return {
        name
        for name in EXPERTS
        if name in group or any(f"tag:{tag}" in group for tag in world.tags[name])
    }


def derived(gone: set[str], world: World) -> set[str]:
    while more := {n for n in DERIVED if world.under[n] in gone} - gone:
        gone = gone | more
    return gone


def bars(
    world: World, ask: Ask, category: str | None, found_class: str
) -> tuple[set[str], set[str]]:
    """Return who is barred whatever stands on it, and who is only on no list."""
    level = max(
        CLASSES.index(name)
        for name in ("low", ask.data, found_class, world.data.get(category or "", ""))
        if name
    )
    hard = derived(named(ask.not_experts, world), world) | derived(named(ask.exclude, world), world)
    soft = set() if ask.experts is None else set(EXPERTS) - named(ask.experts, world)
    for rule in world.rules:
        condition = rule["if"]
        if "data" in condition and level < CLASSES.index(condition["data"]):
            continue
        if condition.get("team", ask.team) != ask.team:
            continue
        if "category" in condition and condition["category"] != category:
            continue
        if "require" in rule:
            far = {n for n in MODELS if world.trust[n] not in rule["require"]["trust"]}
            hard |= derived(far, world)
        else:
            key = "allow" if "allow" in rule else "deny"
            group = [*rule[key]["experts"], *(f"tag:{tag}" for tag in rule[key]["tags"])]
            if key == "allow":
                soft |= set(EXPERTS) - named(group, world)
            else:
                hard |= derived(named(group, world), world)
    return hard, soft


# ---------------------------------------------------------------- what happened


def query_of(ask: Ask, number: int) -> Query:
    words = [
        f"mark-{number}-",
        WORDS.get(ask.category or "", "hello"),
        KEY if ask.has_secret else "",
    ]
    headers = [(b"x-session-id", b"s")]
    if ask.exclude:
        headers.append((b"x-coe-exclude", ", ".join(ask.exclude).encode()))
    if ask.data:
        headers.append((b"x-coe-data-class", ask.data.encode()))
    identity = Identity(team=ask.team, experts=ask.experts, not_experts=ask.not_experts)
    body = {
        "model": ask.model,
        "messages": [{"role": "user", "content": " ".join(words)}],
        "stream": ask.stream,
    }
    return wire.parse_chat(body, f"q{number}", Settings(), wire.Sender(headers, identity))


def told(gateway: Gateway, answer: Answer, whole: bytes) -> set[str]:
    """Return every expert that an answer, its explanation or its record names, less exclusions."""
    document = explain.document(gateway, answer.query, answer.decision, answer.plan)
    event = Event(
        at=0.0,
        query=answer.query,
        composition=gateway.composition,
        tenant="",
        status=200,
        took_s=0.0,
        answer=answer,
        last=whole,
    )
    record = record_of(event, lambda _: "")
    headers = dict(explain.headers(answer, "r", 0.0))
    parts: list[Any] = [
        document["expert"],
        document["fallbacks"],
        [row["expert"] for row in (document["choice"] or {}).get("experts", ())],
        [row["expert"] for row in (document["panel"] or {}).get("members", ())],
        (document["session"] or {}).get("expert"),
        [row["expert"] for row in record.detail["candidates"]],
        [row["expert"] for row in record.detail.get("attempts", ())],
        [row["expert"] for row in (record.detail.get("provenance") or {}).get("calls", ())],
        record.expert,
        headers[b"x-coe-expert"].decode(),
        [attempt.expert for attempt in answer.attempts],
    ]
    flat = [one for part in parts for one in (part if isinstance(part, list) else [part])]
    return {name for name in flat if name}


async def check(world: World, wanted: Sequence[Ask]) -> None:
    async with FakeUpstream() as upstream:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "experts.yaml"
            file.write_text(world.text.replace("URL", upstream.url))
            try:
                composition = load(file)
            except CompositionError as error:
                # A rule that a router makes too late is refused; nothing else is wrong with these.
                assert all("too late" in one.message for one in error.problems), error  # noqa: PT017
                return
            configured = Settings(config=file, state_folder=Path(folder) / "state")
            gateway = wire_gateway(composition, configured, Telemetry(log_requests=False))
            try:
                assert gateway.classifier is not None
                await gateway.classifier.load()
                log = DecisionLog(Path(folder) / "state")
                shadows = Shadows(lambda: None, log)  # type: ignore[arg-type,return-value]
                for number, ask in enumerate(wanted):
                    await check_one(gateway, shadows, world, ask, number, upstream)
            finally:
                await gateway.aclose()


async def check_one(
    gateway: Gateway, shadows: Shadows, world: World, ask: Ask, number: int, upstream: FakeUpstream
) -> None:
    query = query_of(ask, number)
    content = json.loads(world.text)
    secret = content["policies"]["detect"]["secrets"] if ask.has_secret else ""
    # Words decide, unless a judge was drawn to; what a client names hides nothing from rules.
    is_known = ask.model in EXPERTS and "routers" not in content
    try:
        answer = await pipeline.answer(gateway, query)
    except CoEError as error:
        category = error.made[0].category if error.made is not None else None
        category = ask.category if is_known else category
        hard, soft = bars(world, ask, category, secret)
        if ask.model in hard | soft:
            assert isinstance(error, Forbidden), error  # noqa: PT017 - or there is an answer
        plan = error.made[1] if error.made is not None else None
        assert plan is None or not ({call.expert for call in plan.calls} & (hard | soft))
    else:
        category = ask.category if is_known else answer.decision.category
        hard, soft = bars(world, ask, category, secret)
        pieces = [answer.first]
        async for piece in answer.frames:
            pieces.append(piece)  # noqa: PERF401 - the stream is to be closed
        assert not told(gateway, answer, pieces[-1]) & (hard | soft)
        assert {row.expert for row in answer.plan.excluded if row.rule != "attempts"} <= hard | soft
        with suppress(CoEError):
            job = Job(experiment="beside", query=answer.query, answer=answer, link=None)
            await shadows._do(gateway, job)
    mark = f"mark-{number}-".encode()
    sent = {request.json["model"] for request in upstream.requests if mark in request.body}
    assert not sent & hard, (sent, hard)


# A world takes most of a second: to look for a smaller one that fails takes minutes.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES)
@given(world=worlds(), wanted=st.lists(asks, min_size=1, max_size=4))
def test_who_is_barred_is_asked_nothing_and_named_nowhere(world: World, wanted: list[Ask]) -> None:
    asyncio.run(check(world, wanted))
