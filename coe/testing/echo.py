"""`EchoBackend`: a backend in this process that answers with the prompt. No sockets, no sleeps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import replace

import orjson

from coe.errors import BackendTimeout, BackendUnreachable, CoEError
from coe.testing import wire
from coe.types import Call, Dispatch


class EchoBackend:
    """A double that passes the contract checks; see `coe.protocols.Backend`.

    It answers `echo: PROMPT`, streamed word by word. What a test wants to go wrong, it names by
    the model of the call.

    Args:
        models: what `models` returns.
        failures: models that fail before the first item, and with what.
        late_failures: models that fail after the first item, and with what.
        silent: models that never send a first item, until a time limit or `aclose`.
        stalled: models that send the first item of a stream and then nothing, likewise.

    Attributes:
        dispatches: all that it was given, oldest first.
        open: calls in flight now.
        abandoned: calls that were closed before their answer had ended.
    """

    def __init__(
        self,
        name: str = "echo",
        *,
        models: Iterable[str] = ("echo",),
        failures: Mapping[str, CoEError] | None = None,
        late_failures: Mapping[str, CoEError] | None = None,
        silent: Iterable[str] = (),
        stalled: Iterable[str] = (),
    ) -> None:
        self.name = name
        self.dispatches: list[Dispatch] = []
        self.open = 0
        self.abandoned = 0
        self._models = tuple(models)
        self._failures = dict(failures or {})
        self._late_failures = dict(late_failures or {})
        self._silent = frozenset(silent)
        self._stalled = frozenset(stalled)
        self._closed = asyncio.Event()

    async def generate(self, dispatch: Dispatch) -> AsyncGenerator[bytes, None]:
        """See `Backend.generate`."""
        call = dispatch.call
        self.dispatches.append(dispatch)
        self.open += 1
        complete = False
        try:
            if call.model in self._silent:
                await self._stay_silent(_first_limit_s(call), "sent nothing in time")
            if call.model in self._failures:
                raise self._failures[call.model]
            for place, item in enumerate(_items(call)):
                self._check_open()
                yield item
                if place == 0 and call.model in self._late_failures:
                    raise self._late_failures[call.model]
                if place == 0 and call.model in self._stalled:
                    await self._stay_silent(call.timeouts.idle_s, "fell silent (idle)")
                await asyncio.sleep(0)  # let others run, as a socket would
            complete = True
        except GeneratorExit:
            self.abandoned += 1
            raise
        except asyncio.CancelledError:
            self.abandoned += not complete
            raise
        finally:
            self.open -= 1

    async def models(self) -> tuple[str, ...]:
        """See `Backend.models`."""
        self._check_open()
        return self._models

    async def aclose(self) -> None:
        """See `Backend.aclose`."""
        self._closed.set()

    async def _stay_silent(self, limit_s: float, what: str) -> None:
        try:
            async with asyncio.timeout(limit_s):
                await self._closed.wait()
        except TimeoutError as error:
            raise BackendTimeout(f"backend `{self.name}` {what}: limit {limit_s:g} s") from error
        self._check_open()

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise BackendUnreachable(f"backend `{self.name}` was closed")


def _first_limit_s(call: Call) -> float:
    limits = call.timeouts
    return min(limits.first_token_s, limits.total_s) if call.stream else limits.total_s


def _items(call: Call) -> list[bytes]:
    """Return the pieces of the answer: the first reaches to the first content."""
    ask = wire.Ask.read(call.body, call.endpoint)
    ask = replace(ask, model=call.expert, stream=call.stream)
    if call.endpoint == "embeddings":
        return [wire.embeddings(ask, dim=8)]
    text = f"echo: {ask.prompt}"
    if not call.stream:
        return [orjson.dumps(wire.completion(ask, text))]
    frames = [wire.frame(value) for value in wire.chunks(ask, text)]
    return [frames[0] + frames[1], *frames[2:]]
