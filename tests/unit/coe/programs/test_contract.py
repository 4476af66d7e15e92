from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coe.composition import load
from coe.errors import BackendRejected, ConfigError
from coe.programs.backend import build
from coe.programs.others import Others
from coe.protocols import BackendSpec, ExpertSite
from coe.registry import Registry
from coe.telemetry import Telemetry
from coe.testing.backends import CHECKS, Check
from coe.testing.subject import Behaviour, Subject, Unchecked, drain
from coe.testing.upstream import FakeUpstream
from coe.types import Call, Dispatch
from coe.wiring import build_backend

pytestmark = pytest.mark.anyio

MODELS: dict[Behaviour, str] = {
    "answers": "ok",
    "unauthorized": "error-401",
    "rate-limited": "error-429-retry-after-ms-50",
    "server-error": "error-500",
    "too-long": "error-400-context",
    "garbage": "garbage",
    "error-frame-first": "error-frame-first",
    "error-frame": "error-frame-after-2",
    "truncated": "truncate-after-2",
    "silent": "hang",
    "stalled": "stall-after-2",
}
VOTED = (
    "answers",
    "unauthorized",
    "rate-limited",
    "server-error",
    "too-long",
    "silent",
    "garbage",
)
KINDS: Mapping[str, tuple[str, Mapping[Behaviour, str]]] = {
    "recipe": ("{{recipe: {{over: {over}, system: Think.}}}}", MODELS),
    "cached": ("{{cached: {over}}}", MODELS),
    "vote": (
        "{{recipe: {{over: {over}, samples: 3, vote: text}}}}",
        {name: MODELS[name] for name in VOTED},  # type: ignore[index]
    ),
    "deep": ("{{cached: under-{over}}}", MODELS),
    "constant": ("{{constant: Hello.}}", {"answers": "ok"}),
    "refuse": ("{{refuse: I may not.}}", {"answers": "ok"}),
}


@asynccontextmanager
async def programs(kind: str, folder: Path) -> AsyncGenerator[Subject, None]:
    """A program of that kind over each model of a real server, by the model's name."""
    written, models = KINDS[kind]
    lines = ["version: 1", "experts:"]
    for model in MODELS.values():
        lines.append(f"  over-{model}: {{backend: up, model: {model}}}")
        lines.append(f"  under-over-{model}: {{recipe: {{over: over-{model}, system: Think.}}}}")
        lines.append(f"  {model}: {written.format(over=f'over-{model}')}")
    async with FakeUpstream() as upstream:
        text = "\n".join([*lines, f"backends: {{up: '{upstream.url}'}}", "default: ok\n"])
        (folder / "experts.yaml").write_text(text)
        composition = load(folder / "experts.yaml", {})
        registry = Registry()
        backends: dict[str, Any] = {
            name: build_backend(composition, registry, name) for name in composition.backends
        }
        others = Others(
            composition=composition,
            backends=backends,
            slots={},
            telemetry=Telemetry(log_requests=False),
            encoders={},
        )
        backends["program"].bind(others)
        try:
            yield Subject(
                backend=backends["program"],
                models=models,
                echoes=kind not in {"constant", "refuse"},
            )
        finally:
            for backend in backends.values():
                await backend.aclose()
            await upstream.disconnected()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
async def test_a_program_keeps_the_contract_of_backends(
    kind: str, check: Check, tmp_path: Path
) -> None:
    async with programs(kind, tmp_path) as subject:
        try:
            await check(subject)
        except Unchecked:
            assert len(subject.models) < len(MODELS)


async def test_what_no_program_can_do_is_refused(tmp_path: Path) -> None:
    async with programs("constant", tmp_path) as subject:
        call = Call(expert="x", backend="program", model="ok", body={}, endpoint="embeddings")
        vectors = await drain(subject.backend.generate(Dispatch(query_id="1", call=call)))
        nobody = replace(call, model="nobody", endpoint="chat/completions")
        absent = await drain(subject.backend.generate(Dispatch(query_id="1", call=nobody)))

    assert vectors.failed_with(BackendRejected).backend_status == 400
    assert absent.failed_with(BackendRejected).backend_status == 404


@pytest.mark.parametrize(
    "spec",
    [
        BackendSpec(name="program", type="program", options={"a": 1}),
        BackendSpec(name="program", type="program", experts=(ExpertSite(expert="e", model="m"),)),
    ],
)
def test_the_backend_of_programs_takes_nothing_else(spec: BackendSpec) -> None:
    with pytest.raises(ConfigError):
        build(spec)
