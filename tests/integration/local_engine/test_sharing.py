"""Calls that share the engine: batches, fairness, cancelling, closing."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing
from pathlib import Path
from random import Random
from typing import Any

import pytest

from coe.backends.local import build
from coe.errors import BackendError, BackendTimeout
from coe.protocols import ExpertSite
from coe.types import Timeouts

pytestmark = pytest.mark.anyio


async def test_a_row_does_not_depend_on_what_shares_its_batch(lab: Any) -> None:
    calls = [
        ("plain", "the cat", 40),
        ("red", "", 7),
        ("green", "the hat sat on the mat and then the cat sat on the hat " * 3, 30),
        ("blue", "a", 40),
        ("red", "then the mat", 21),
        ("else", "the hat", 17),
        ("green", "on", 33),
        ("plain", "sat on the mat", 12),
        ("blue", "cat and hat", 26),
        ("red", "mat", 19),
    ]

    async with lab.running(max_batch=4) as backend:
        asked = [(expert, prompt, {"max_tokens": n}) for expert, prompt, n in calls]
        alone = [await lab.tell(backend, name, prompt, **body) for name, prompt, body in asked]
        together = await asyncio.gather(
            *(lab.tell(backend, name, prompt, **body) for name, prompt, body in asked)
        )

    assert list(together) == alone
    assert len(set(alone)) == len(alone)


async def test_the_same_seed_gives_the_same_text_whoever_shares_the_batch(lab: Any) -> None:
    async with lab.running() as backend:
        alone = await lab.tell(backend, "red", seed=7, temperature=1.0)
        other = await lab.tell(backend, "red", seed=8, temperature=1.0)
        crowd = [lab.tell(backend, "blue", seed=seed, temperature=1.0) for seed in range(5)]
        shared, *_ = await asyncio.gather(lab.tell(backend, "red", seed=7, temperature=1.0), *crowd)

    assert shared == alone
    assert other != alone


async def test_more_choices_than_the_batch_holds_are_all_answered(lab: Any) -> None:
    async with lab.running(max_batch=2) as backend:
        answer = await lab.ask(backend, "red", n=5, max_tokens=4)

    assert len(answer["choices"]) == 5
    assert len({lab.text(answer, index) for index in range(5)}) == 1
    assert answer["usage"]["completion_tokens"] == 20


async def test_a_long_answer_does_not_block_a_short_one(lab: Any) -> None:
    async with lab.running() as backend:
        long = backend.generate(lab.dispatch("plain", stream=True, max_tokens=900))
        async with aclosing(long):
            await anext(long)
            short = await lab.tell(backend, "plain", "on", max_tokens=2)
            # What was generated meanwhile comes as one item; more than that was still to come.
            rest = [item async for item in long]

    assert short
    assert len(rest) > 1


async def test_closing_the_generator_frees_its_row(lab: Any) -> None:
    async with lab.running(max_batch=1) as backend:
        long = backend.generate(lab.dispatch("plain", stream=True, max_tokens=900))
        await anext(long)
        await long.aclose()

        # With room for one row only, this answer needs the row that was freed.
        assert await lab.tell(backend, "plain", max_tokens=2)


async def test_a_call_that_is_cancelled_while_it_waits_takes_no_row(lab: Any) -> None:
    async with lab.running(max_batch=1) as backend:
        long = backend.generate(lab.dispatch("plain", stream=True, max_tokens=900))
        async with aclosing(long):
            await anext(long)
            waiting = asyncio.ensure_future(lab.tell(backend, "red"))
            await asyncio.sleep(0)  # let it queue
            waiting.cancel()
            await asyncio.wait({waiting})

        assert waiting.cancelled()
        assert await lab.tell(backend, "plain", max_tokens=2)


async def test_a_crowd_in_which_many_leave_early_does_not_disturb_those_who_stay(lab: Any) -> None:
    dice = Random(5)  # noqa: S311 - no crypto
    experts = ("plain", *lab.skills, "else")
    lengths = {(dice.choice(experts), dice.randrange(2, 60)) for _ in range(30)}

    async with lab.running(max_batch=5) as backend:

        async def leave_early(expert: str, items: int) -> None:
            stream = backend.generate(lab.dispatch(expert, stream=True, max_tokens=900))
            async with aclosing(stream):
                for _ in range(items):
                    await anext(stream)

        async def stay(expert: str, length: int) -> tuple[str, str]:
            return expert, await lab.tell(backend, expert, max_tokens=length)

        leaving = [leave_early(dice.choice(experts), dice.randrange(1, 4)) for _ in range(10)]
        staying = [stay(expert, length) for expert, length in sorted(lengths)]
        said = await asyncio.gather(*staying, *leaving)
        whole = {expert: await lab.tell(backend, expert, max_tokens=60) for expert in experts}

    for expert, text in said[: len(staying)]:
        assert whole[expert].startswith(text.rstrip("\ufffd"))


async def test_closing_the_backend_fails_the_calls_in_flight_and_ends_the_thread(lab: Any) -> None:
    backend = build(lab.spec())
    stream = backend.generate(lab.dispatch("plain", stream=True, max_tokens=900))
    await anext(stream)

    await backend.aclose()

    with pytest.raises(BackendError, match="was closed"):
        async for _ in stream:
            pass
    assert not any(thread.name == "coe-local" for thread in threading.enumerate())
    with pytest.raises(BackendError, match="is closed"):
        await lab.ask(backend, "plain")
    with pytest.raises(BackendError, match="is closed"):
        await backend.models()


async def test_closing_what_was_never_used_is_quiet(lab: Any) -> None:
    backend = build(lab.spec())

    await backend.aclose()
    await backend.aclose()


async def test_a_late_first_token_is_a_timeout_that_names_the_limit(lab: Any) -> None:
    async with lab.running() as backend:
        with pytest.raises(BackendTimeout, match="first_token limit of 0 s"):
            await lab.ask(backend, "plain", timeouts=Timeouts(first_token_s=0))
        with pytest.raises(BackendTimeout, match="total limit of 0 s"):
            await lab.ask(backend, "plain", timeouts=Timeouts(total_s=0))

        assert await lab.tell(backend, "plain")


async def test_a_model_that_breaks_fails_its_own_calls_only(lab: Any, tmp_path: Path) -> None:
    """Its vocabulary lacks most of the tokens that its tokenizer knows."""
    lab.save_model(lab.config("gpt2", vocab_size=8), tmp_path / "small", seed=4)
    sites = (
        ExpertSite(expert="small", model=str(tmp_path / "small")),
        ExpertSite(expert="plain", model="base"),
    )

    async with lab.running(*sites) as backend:
        alone = await lab.tell(backend, "plain")
        broken, fine = await asyncio.gather(
            lab.tell(backend, "small"), lab.tell(backend, "plain"), return_exceptions=True
        )

        assert isinstance(broken, BackendError)
        assert "the embedded engine failed: IndexError" in broken.message
        assert fine == alone
        assert await lab.tell(backend, "plain") == alone
