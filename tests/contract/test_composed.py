from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from coe.composition.programs import Cached, Program, Recipe, Vote
from coe.programs.backend import build
from coe.protocols import BackendSpec, ExpertSite
from coe.testing.composed import (
    COMPOSED_CHECKS,
    ComposedSubject,
    EchoOthers,
    check_composed,
    check_others_are_asked,
)

pytestmark = pytest.mark.anyio

Check = Callable[[ComposedSubject], Awaitable[None]]
PROGRAMS: dict[str, Program] = {
    "recipe": Recipe(over="other", system="Think."),
    "vote": Recipe(over="other", samples=3, vote=Vote(answer="text")),
    "cached": Cached(over="other"),
}


@asynccontextmanager
async def programs(kind: str) -> AsyncGenerator[ComposedSubject, None]:
    site = ExpertSite(expert=kind, model=kind, program=PROGRAMS[kind])
    backend = build(BackendSpec(name="program", type="program", experts=(site,)))
    yield ComposedSubject(backend=backend, model=kind)
    await backend.aclose()


@pytest.mark.parametrize("kind", ["recipe", "vote"])
@pytest.mark.parametrize("check", COMPOSED_CHECKS, ids=lambda check: check.__name__[6:])
async def test_a_program_keeps_the_contract_of_composed_backends(kind: str, check: Check) -> None:
    async with programs(kind) as subject:
        await check(subject)


async def test_all_checks_run_at_once() -> None:
    assert await check_composed(lambda: programs("recipe")) == ()


async def test_who_keeps_answers_does_not_ask_for_every_one() -> None:
    async with programs("cached") as subject:
        with pytest.raises(AssertionError, match="others are asked"):
            await check_others_are_asked(subject)


async def test_the_double_says_who_was_asked() -> None:
    others = EchoOthers()
    async with programs("recipe") as subject:
        subject.backend.bind(others)
        await subject.ask(stream=True)

    assert others.asked == ("other",)
