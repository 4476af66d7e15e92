"""The contract of `coe.protocols.Backend`, one check per sentence, for any backend.

A test runs each check on a fresh backend:

    @asynccontextmanager
    async def subject():
        yield Subject(backend=MyBackend(...), models={"answers": "my-model"})

    @pytest.mark.parametrize("check", CHECKS)
    async def test_keeps_the_contract(check):
        async with subject() as it:
            await check(it)

or all of them at once, with `await check_backend(subject)`, which returns the names of the checks
that could not run because the subject has no model that misbehaves in that way.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from coe import sse
from coe.errors import BackendError, BackendProtocolError, BackendRejected, BackendTimeout
from coe.protocols import Backend
from coe.types import Call, Dispatch, Timeouts

Behaviour = Literal[
    "answers",  # a chat answer
    "embeds",  # an embedding
    "unauthorized",  # 401
    "rate-limited",  # 429 with a time to wait
    "server-error",  # 500
    "too-long",  # the prompt is longer than the context
    "garbage",  # something that is no answer
    "error-frame-first",  # an error in the place of a stream's first frame
    "error-frame",  # content, and then an error frame
    "truncated",  # content, and then the end, or the connection's end
    "silent",  # nothing at all, for long
    "stalled",  # content, and then nothing, for long
]


class Unchecked(Exception):
    """The subject has no model that does what a check needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A backend under test.

    Attributes:
        models: for each behaviour that can be provoked, the name of a model that has it.
        body: a request's body, without its messages; e.g. a limit on tokens.
        echoes: whether the answer repeats the prompt, so that mixed-up answers show.
    """

    backend: Backend
    models: Mapping[Behaviour, str]
    body: Mapping[str, Any] = field(default_factory=dict)
    echoes: bool = False

    def ask(
        self,
        behaviour: Behaviour,
        *,
        stream: bool,
        prompt: str = "say something short",
        timeouts: Timeouts | None = None,
    ) -> Dispatch:
        """Return a call of the model that behaves so. Raises Unchecked where there is none."""
        if behaviour not in self.models:
            raise Unchecked(f"no model is {behaviour}")
        call = Call(
            expert="the-expert",
            backend=self.backend.name,
            model=self.models[behaviour],
            body={**self.body, "messages": [{"role": "user", "content": prompt}]},
            stream=stream,
            timeouts=timeouts or Timeouts(),
        )
        return Dispatch(query_id="check", call=call)


Check = Callable[[Subject], Awaitable[None]]


async def check_backend(
    make_subject: Callable[[], AbstractAsyncContextManager[Subject]],
) -> tuple[str, ...]:
    """Run every check, each on a fresh subject; return the names of those that could not run.

    Raises:
        AssertionError: a sentence of the contract does not hold.
    """
    skipped = []
    for check in CHECKS:
        async with make_subject() as subject:
            try:
                await check(subject)
            except Unchecked:
                skipped.append(getattr(check, "__name__", repr(check)))
    return tuple(skipped)


async def check_first_item_reaches_content(subject: Subject) -> None:
    """Whoever holds the first item of a stream knows that the call works."""
    items = await _items(subject.backend, subject.ask("answers", stream=True))
    chunks = _chunks(items[:1])
    assert any(_has_content(chunk) for chunk in chunks), f"no content in {items[0]!r}"


async def check_items_are_whole_frames(subject: Subject) -> None:
    """Each item is whole SSE frames of JSON objects, and none is the end mark."""
    items = await _items(subject.backend, subject.ask("answers", stream=True))
    assert all(item.endswith((b"\n\n", b"\n\r\n")) for item in items)
    chunks = _chunks(items)
    finished = [c for chunk in chunks for c in chunk["choices"] if c.get("finish_reason")]
    assert finished, "no finish reason"


async def check_stream_names_the_expert(subject: Subject) -> None:
    """Every chunk's `model` is the expert's name."""
    items = await _items(subject.backend, subject.ask("answers", stream=True))
    models = {chunk.get("model") for chunk in _chunks(items)}
    assert models == {"the-expert"}, models


async def check_whole_answer_is_one_object(subject: Subject) -> None:
    """A call that is not streamed gives one item: a completion that names the expert."""
    items = await _items(subject.backend, subject.ask("answers", stream=False))
    assert len(items) == 1, f"{len(items)} items"
    answer = orjson.loads(items[0])
    assert answer["model"] == "the-expert"
    assert answer["choices"][0]["message"]["role"] == "assistant"


async def check_models_are_listed(subject: Subject) -> None:
    """`models` returns names."""
    models = await subject.backend.models()
    assert isinstance(models, tuple)
    assert all(isinstance(name, str) and name for name in models)


async def check_unauthorized_is_the_operators_mistake(subject: Subject) -> None:
    """401 becomes 502: the client's own key is fine. Another expert may be tried."""
    error = await _rejection(subject, "unauthorized")
    assert (error.backend_status, error.status, error.retryable) == (401, 502, True)


async def check_rate_limit_is_passed_on(subject: Subject) -> None:
    """429 stays 429, with the time to wait."""
    error = await _rejection(subject, "rate-limited")
    assert (error.status, error.type, error.retryable) == (429, "rate_limit_error", True)
    assert error.retry_after_s is not None
    assert error.retry_after_s > 0


async def check_server_error_is_retryable(subject: Subject) -> None:
    """500 becomes 502, which may be tried elsewhere."""
    error = await _rejection(subject, "server-error")
    assert (error.status, error.retryable) == (502, True)


async def check_too_long_is_recognisable(subject: Subject) -> None:
    """A prompt over the context has OpenAI's code for it."""
    for stream in (True, False):
        dispatch = subject.ask("too-long", stream=stream)
        error = await _failure(subject.backend, dispatch)
        assert (error.status, error.code) == (400, "context_length_exceeded")


async def check_garbage_is_a_protocol_error(subject: Subject) -> None:
    """What is no answer is not passed on as one."""
    for stream in (True, False):
        error = await _failure(subject.backend, subject.ask("garbage", stream=stream))
        assert isinstance(error, BackendProtocolError), repr(error)


async def check_error_before_content_raises_first(subject: Subject) -> None:
    """An error frame in the place of the first content is raised before any item."""
    dispatch = subject.ask("error-frame-first", stream=True)
    items, error = await _outcome(subject.backend, dispatch)
    assert not items
    assert isinstance(error, BackendError), repr(error)


async def check_error_in_mid_stream_raises(subject: Subject) -> None:
    """What came before an error frame is delivered, then the error is raised."""
    items, error = await _outcome(subject.backend, subject.ask("error-frame", stream=True))
    assert any(_has_content(chunk) for chunk in _chunks(items))
    assert isinstance(error, BackendError), repr(error)
    assert not any(chunk.get("error") for chunk in _chunks(items))


async def check_truncation_raises(subject: Subject) -> None:
    """An answer that ends too soon is delivered as far as it goes, and never ends well."""
    items, error = await _outcome(subject.backend, subject.ask("truncated", stream=True))
    assert items, "what had arrived was not delivered"
    assert isinstance(error, BackendProtocolError), repr(error)


async def check_silence_is_a_timeout(subject: Subject) -> None:
    """A backend that sends nothing is given up after `first_token_s`, or `total_s`."""
    limits = Timeouts(first_token_s=0.1, total_s=5.0)
    error = await _failure(subject.backend, subject.ask("silent", stream=True, timeouts=limits))
    assert isinstance(error, BackendTimeout), repr(error)
    limits = Timeouts(total_s=0.1)
    error = await _failure(subject.backend, subject.ask("silent", stream=False, timeouts=limits))
    assert isinstance(error, BackendTimeout), repr(error)


async def check_stall_is_a_timeout(subject: Subject) -> None:
    """A backend that falls silent in mid-answer is given up after `idle_s`."""
    dispatch = subject.ask("stalled", stream=True, timeouts=Timeouts(idle_s=0.1))
    items, error = await _outcome(subject.backend, dispatch)
    assert items
    assert isinstance(error, BackendTimeout), repr(error)


async def check_closing_cancels_within_a_second(subject: Subject) -> None:
    """Closing the iterator after its first item ends the call."""
    stream = subject.backend.generate(subject.ask("stalled", stream=True))
    async with asyncio.timeout(5):
        await anext(stream)
    async with asyncio.timeout(1):
        await stream.aclose()


async def check_cancelling_the_reader_ends_the_call(subject: Subject) -> None:
    """A task that is cancelled while it waits for an answer ends within a second."""
    dispatch = subject.ask("silent", stream=False)
    task = asyncio.ensure_future(_items(subject.backend, dispatch))
    await asyncio.sleep(0)
    task.cancel()
    async with asyncio.timeout(1):
        await asyncio.wait({task})
    assert task.cancelled()


async def check_concurrent_calls_do_not_mix(subject: Subject) -> None:
    """Calls at the same time, streamed and not, each get their own answer."""
    prompts = [f"number-{place}-only" for place in range(20)]
    dispatches = [
        subject.ask("answers", stream=place % 2 == 0, prompt=prompt)
        for place, prompt in enumerate(prompts)
    ]
    answers = await asyncio.gather(*(_items(subject.backend, one) for one in dispatches))
    for prompt, items in zip(prompts, answers, strict=True):
        assert items
        if subject.echoes:
            text = b"".join(items).decode()
            others = [other for other in prompts if other in text and other != prompt]
            assert prompt in text
            assert not others


async def check_aclose_fails_calls_in_flight(subject: Subject) -> None:
    """A call that is waiting when the backend is closed fails, and so does one that comes after."""
    stream = subject.backend.generate(subject.ask("stalled", stream=True))
    await anext(stream)
    waiting = asyncio.ensure_future(_rest(stream))
    await asyncio.sleep(0)
    await subject.backend.aclose()
    async with asyncio.timeout(1):
        assert isinstance(await waiting, BackendError)
    dispatch = subject.ask("answers", stream=False)
    assert isinstance(await _failure(subject.backend, dispatch), BackendError)


CHECKS: tuple[Check, ...] = (
    check_first_item_reaches_content,
    check_items_are_whole_frames,
    check_stream_names_the_expert,
    check_whole_answer_is_one_object,
    check_models_are_listed,
    check_unauthorized_is_the_operators_mistake,
    check_rate_limit_is_passed_on,
    check_server_error_is_retryable,
    check_too_long_is_recognisable,
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


async def _items(backend: Backend, dispatch: Dispatch) -> list[bytes]:
    async with contextlib.aclosing(backend.generate(dispatch)) as stream:
        return [item async for item in stream]


async def _outcome(backend: Backend, dispatch: Dispatch) -> tuple[list[bytes], Exception | None]:
    """Return what arrived, and how it ended."""
    items: list[bytes] = []
    async with contextlib.aclosing(backend.generate(dispatch)) as stream:
        try:
            async for item in stream:
                items.append(item)
        except BackendError as error:
            return items, error
    return items, None


async def _rest(stream: Any) -> Exception | None:
    try:
        async for _ in stream:
            pass
    except BackendError as error:
        return error
    return None


async def _failure(backend: Backend, dispatch: Dispatch) -> BackendError:
    items, error = await _outcome(backend, dispatch)
    assert not items, f"an item before the error: {items[0][:200]!r}"
    assert isinstance(error, BackendError), "no error"
    return error


async def _rejection(subject: Subject, behaviour: Behaviour) -> BackendRejected:
    """Return the error for a behaviour, the same whether streamed or not."""
    error = await _failure(subject.backend, subject.ask(behaviour, stream=True))
    again = await _failure(subject.backend, subject.ask(behaviour, stream=False))
    assert isinstance(error, BackendRejected), repr(error)
    assert isinstance(again, BackendRejected), repr(again)
    assert (error.status, error.code, error.type) == (again.status, again.code, again.type)
    return error


def _chunks(items: list[bytes]) -> list[dict[str, Any]]:
    payloads = (sse.data(frame) for item in items for frame in sse.frames(item))
    return [orjson.loads(payload) for payload in payloads if payload is not None]


def _has_content(chunk: Mapping[str, Any]) -> bool:
    return any(
        choice.get("finish_reason")
        or any(value for key, value in (choice.get("delta") or {}).items() if key != "role")
        for choice in chunk.get("choices") or ()
    )
