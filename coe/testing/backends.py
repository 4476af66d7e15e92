"""The contract of `coe.protocols.Backend`, one check per sentence, for any backend.

A test runs each check on a fresh backend:

    @asynccontextmanager
    async def make_subject():
        yield Subject(backend=MyBackend(...), models={"answers": "my-model"})

    @pytest.mark.parametrize("check", CHECKS)
    async def test_keeps_the_contract(check):
        async with make_subject() as subject:
            await check(subject)

or all of them at once, with `await check_backend(make_subject)`. A check raises AssertionError with
the sentence that does not hold, and Unchecked where the subject has no model that misbehaves as
the check needs it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import orjson

from coe.errors import (
    BackendError,
    BackendProtocolError,
    BackendRejected,
    BackendTimeout,
    ContextTooLong,
)
from coe.testing.expectation import expect
from coe.testing.subject import EXPERT, Behaviour, Outcome, Subject, drain, run_checks
from coe.types import Timeouts

Check = Callable[[Subject], Awaitable[None]]


async def check_backend(
    make_subject: Callable[[], AbstractAsyncContextManager[Subject]],
) -> tuple[str, ...]:
    """Run every check, each on a fresh subject; return the names of those that could not run.

    Raises:
        AssertionError: a sentence of the contract does not hold.
    """
    return await run_checks(CHECKS, make_subject)


async def check_first_item_reaches_content(subject: Subject) -> None:
    """Whoever holds the first item of a stream knows that the call works."""
    stream = subject.open("answers", stream=True)
    first = await anext(stream)
    await stream.aclose()
    holds = Outcome(items=(first,), error=None).has_content
    expect(holds, f"the first item reaches content, and is not {first[:200]!r}")


async def check_items_are_whole_frames(subject: Subject) -> None:
    """Each item is whole SSE frames of JSON objects, the last has a finish reason; no end mark."""
    outcome = await subject.ask("answers", stream=True)
    whole = all(item.endswith((b"\n\n", b"\n\r\n")) for item in outcome.items)
    expect(whole, "each item ends where a frame ends")
    expect(not any(b"data: [DONE]" in item for item in outcome.items), "no item has an end mark")
    expect(outcome.error is None, f"an answer ends without an error, and not with {outcome.error}")
    choices = [choice for chunk in outcome.chunks for choice in chunk["choices"]]
    expect(any(c.get("finish_reason") for c in choices), "an answer has a finish reason")


async def check_stream_names_the_expert(subject: Subject) -> None:
    """Every chunk's `model` is the expert's name."""
    outcome = await subject.ask("answers", stream=True)
    models = {chunk.get("model") for chunk in outcome.chunks}
    expect(models == {EXPERT}, f"every chunk's model is {EXPERT!r}, and not {models}")


async def check_whole_answer_is_one_object(subject: Subject) -> None:
    """A call that is not streamed gives one item: a completion that names the expert."""
    outcome = await subject.ask("answers", stream=False)
    expect(len(outcome.items) == 1, f"there is one item, and not {len(outcome.items)}")
    answer = orjson.loads(outcome.items[0])
    expect(answer["model"] == EXPERT, f"its model is {EXPERT!r}, and not {answer['model']!r}")
    role = answer["choices"][0]["message"]["role"]
    expect(role == "assistant", f"its role is assistant, and not {role!r}")


async def check_models_are_listed(subject: Subject) -> None:
    """`models` returns names."""
    models = await subject.backend.models()
    named = isinstance(models, tuple) and all(isinstance(n, str) and n for n in models)
    expect(named, f"models() returns names, and not {models!r}")


async def check_unauthorized_is_the_operators_mistake(subject: Subject) -> None:
    """401 becomes 502: the client's own key is fine. Another expert may be tried."""
    error = await _rejection(subject, "unauthorized")
    seen = (error.backend_status, error.status, error.retryable)
    expect(seen == (401, 502, True), f"401 becomes a 502 that may be tried elsewhere, not {seen}")


async def check_rate_limit_is_passed_on(subject: Subject) -> None:
    """429 stays 429, with the time to wait."""
    error = await _rejection(subject, "rate-limited")
    seen = (error.status, error.type, error.retryable)
    expect(seen == (429, "rate_limit_error", True), f"429 stays 429, and does not become {seen}")
    expect((error.retry_after_s or 0) > 0, "the time to wait is kept")


async def check_server_error_is_retryable(subject: Subject) -> None:
    """500 becomes 502, which may be tried elsewhere."""
    error = await _rejection(subject, "server-error")
    seen = (error.status, error.retryable)
    expect(seen == (502, True), f"500 becomes a 502 that may be tried elsewhere, not {seen}")


async def check_too_long_is_told_apart(subject: Subject) -> None:
    """A prompt over the context is ContextTooLong: an expert with a longer one may be tried."""
    for stream in (True, False):
        (await subject.ask("too-long", stream=stream)).failed_with(ContextTooLong)


async def check_garbage_is_a_protocol_error(subject: Subject) -> None:
    """What is no answer is not passed on as one."""
    for stream in (True, False):
        outcome = await subject.ask("garbage", stream=stream)
        outcome.failed_with(BackendProtocolError)
        expect(not outcome.items, "nothing of it is delivered")


async def check_error_before_content_raises_first(subject: Subject) -> None:
    """An error frame in the place of the first content is raised before any item."""
    outcome = await subject.ask("error-frame-first", stream=True)
    outcome.failed_with(BackendError)
    expect(not outcome.items, "nothing is delivered before it")


async def check_error_in_mid_stream_raises(subject: Subject) -> None:
    """What came before an error frame is delivered, then the error is raised."""
    outcome = await subject.ask("error-frame", stream=True)
    outcome.failed_with(BackendError)
    expect(outcome.has_content, "what came before it is delivered")
    expect(not any(c.get("error") for c in outcome.chunks), "the error's own frame is not")


async def check_truncation_raises(subject: Subject) -> None:
    """An answer that ends too soon is delivered as far as it goes, and never ends well."""
    outcome = await subject.ask("truncated", stream=True)
    outcome.failed_with(BackendProtocolError)
    expect(outcome.has_content, "what had arrived is delivered")


async def check_silence_is_a_timeout(subject: Subject) -> None:
    """A backend that sends nothing is given up after `first_token_s`, or `total_s`."""
    limits = Timeouts(first_token_s=0.1, total_s=5.0)
    (await subject.ask("silent", stream=True, timeouts=limits)).failed_with(BackendTimeout)
    limits = Timeouts(total_s=0.1)
    (await subject.ask("silent", stream=False, timeouts=limits)).failed_with(BackendTimeout)


async def check_stall_is_a_timeout(subject: Subject) -> None:
    """A backend that falls silent in mid-answer is given up after `idle_s`."""
    outcome = await subject.ask("stalled", stream=True, timeouts=Timeouts(idle_s=0.1))
    outcome.failed_with(BackendTimeout)
    expect(outcome.has_content, "what had arrived is delivered")


async def check_closing_cancels_within_a_second(subject: Subject) -> None:
    """Closing the iterator after its first item ends the call."""
    stream = subject.open("stalled", stream=True)
    await anext(stream)
    async with asyncio.timeout(1):
        await stream.aclose()


async def check_cancelling_the_reader_ends_the_call(subject: Subject) -> None:
    """A task that is cancelled while it waits for an answer ends within a second."""
    task = asyncio.ensure_future(drain(subject.open("silent", stream=False)))
    await asyncio.sleep(0)  # let it start
    task.cancel()
    await asyncio.wait({task}, timeout=1)
    expect(task.cancelled(), "a cancelled call ends within a second, and as cancelled")


async def check_concurrent_calls_do_not_mix(subject: Subject) -> None:
    """Calls at the same time, streamed and not, each get their own answer."""
    prompts = [f"number-{place}-only" for place in range(20)]
    outcomes = await asyncio.gather(
        *(
            subject.ask("answers", stream=place % 2 == 0, prompt=prompt)
            for place, prompt in enumerate(prompts)
        )
    )
    for prompt, outcome in zip(prompts, outcomes, strict=True):
        expect(outcome.error is None, f"every call is answered, and not with {outcome.error!r}")
        if subject.echoes:
            text = b"".join(outcome.items).decode()
            found = [other for other in prompts if other in text]
            expect(found == [prompt], f"{prompt} is answered with itself, and not with {found}")


async def check_aclose_fails_calls_in_flight(subject: Subject) -> None:
    """A call that is waiting when the backend is closed fails, and so does one that comes after."""
    stream = subject.open("stalled", stream=True)
    await anext(stream)
    waiting = asyncio.ensure_future(drain(stream))
    await asyncio.sleep(0)  # let it wait
    await subject.backend.aclose()
    async with asyncio.timeout(1):
        (await waiting).failed_with(BackendError)
    (await subject.ask("answers", stream=False)).failed_with(BackendError)


CHECKS: tuple[Check, ...] = (
    check_first_item_reaches_content,
    check_items_are_whole_frames,
    check_stream_names_the_expert,
    check_whole_answer_is_one_object,
    check_models_are_listed,
    check_unauthorized_is_the_operators_mistake,
    check_rate_limit_is_passed_on,
    check_server_error_is_retryable,
    check_too_long_is_told_apart,
    check_garbage_is_a_protocol_error,
    check_error_before_content_raises_first,
    check_error_in_mid_stream_raises,
    check_truncation_raises,
    check_silence_is_a_timeout,
    check_stall_is_a_timeout,
    check_closing_cancels_within_a_second,
    check_cancelling_the_reader_ends_the_call,
    check_concurrent_calls_do_not_mix,
    check_aclose_fails_calls_in_flight,
)


async def _rejection(subject: Subject, behaviour: Behaviour) -> BackendRejected:
    """Return the error for a behaviour, which is the same whether streamed or not."""
    streamed = await subject.ask(behaviour, stream=True)
    whole = await subject.ask(behaviour, stream=False)
    expect(not streamed.items, "nothing is delivered before the error")
    error, again = streamed.failed_with(BackendRejected), whole.failed_with(BackendRejected)
    same = (error.status, error.code, error.type) == (again.status, again.code, again.type)
    expect(same, f"it fails the same way streamed and not: {error!r}, {again!r}")
    return error
