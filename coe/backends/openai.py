"""Any server that speaks OpenAI's API: vLLM, Ollama, llama.cpp, llama-swap, a cloud.

The answer passes through as bytes. Of a stream, only the frames up to the first content are
parsed; from there on, whole frames are forwarded in the pieces in which they arrive, with the
model's name replaced in place (see `coe.backends.passage`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from time import perf_counter

import orjson

from coe.backends.http import Client, Response, client
from coe.backends.passage import Passage, whole
from coe.backends.rejection import rejection, secrets_of
from coe.door import WAITED
from coe.errors import (
    BackendError,
    BackendProtocolError,
    BackendRejected,
    BackendTimeout,
    ConfigError,
    ContextTooLong,
    InvalidRequest,
)
from coe.protocols import BackendSpec, ExpertSite
from coe.types import Call, Dispatch, Timeouts

OPTIONS = frozenset({"http_client", "ca_file"})
_PROBE = Timeouts(connect_s=5.0, total_s=10.0)
_OK = 200
_MAX_ERROR_BYTES = 64 * 1024


def build(spec: BackendSpec) -> OpenAIBackend:
    """Make the backend without connecting.

    Raises:
        ConfigError: no usable address, an unknown option, or a header that cannot be sent.
    """
    if unknown := sorted(set(spec.options) - OPTIONS):
        raise ConfigError(
            f"backends.{spec.name}: unknown key `{unknown[0]}` for type `{spec.type}`;"
            f" known: {', '.join(sorted(OPTIONS))}"
        )
    return OpenAIBackend(spec, client(spec))


class OpenAIBackend:
    """See `coe.protocols.Backend`."""

    def __init__(self, spec: BackendSpec, client: Client) -> None:
        self.name = spec.name
        self._client = client
        self._secret = secrets_of(spec)
        self._slots = asyncio.Semaphore(spec.concurrency) if spec.concurrency else None

    async def generate(self, dispatch: Dispatch) -> AsyncGenerator[bytes, None]:
        """See `Backend.generate`."""
        call = dispatch.call
        request = _request(call)
        async with self._slot(call, self._slots) if self._slots else contextlib.nullcontext():
            response = await self._client.post(
                call.endpoint,
                request,
                call.timeouts,
                streamed=call.stream,
                is_part=call.is_part,
            )
            try:
                if response.status != _OK:
                    raise await self._rejected(response)
                if not call.stream:
                    yield whole(await response.read(), call, self.name, self._secret)
                    return
                passage = Passage(call, self.name, self._secret)
                started = False
                while not passage.done:
                    piece = await response.receive()
                    block = passage.feed(piece) if piece else passage.end()
                    if passage.started and not started:
                        started = True
                        response.started()
                    if block:
                        yield block
                    if passage.error is not None:
                        raise passage.error
                    if not piece:
                        return
                response.release()
            finally:
                response.close()

    async def models(self) -> tuple[str, ...]:
        """See `Backend.models`."""
        response = await self._client.get("models", _PROBE)
        try:
            if response.status != _OK:
                raise await self._rejected(response)
            listed = orjson.loads(await response.read())
            return tuple(str(model["id"]) for model in listed["data"])
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise BackendProtocolError(
                f"backend `{self.name}`: GET /models did not return a list of models"
            ) from error
        finally:
            response.close()

    def serve(self, experts: tuple[ExpertSite, ...]) -> bool:
        """See `Backend`: which experts there are makes no difference to the connection."""
        del experts
        return True

    async def aclose(self) -> None:
        """See `Backend.aclose`."""
        await self._client.aclose()

    async def _rejected(self, response: Response) -> BackendRejected | ContextTooLong:
        """Read the error that an answer other than 200 holds."""
        body = b""
        with contextlib.suppress(BackendError):  # its status says enough
            while len(body) < _MAX_ERROR_BYTES and (piece := await response.receive()):
                body += piece
        return rejection(self.name, response.status, body, response.header, self._secret)

    @contextlib.asynccontextmanager
    async def _slot(self, call: Call, slots: asyncio.Semaphore) -> AsyncGenerator[None, None]:
        """Hold one of the backend's slots, for which a call waits as long as its limit allows."""
        is_full = slots.locked()
        came = perf_counter()
        try:
            async with asyncio.timeout(call.timeouts.total_s):
                await slots.acquire()
        except TimeoutError as error:
            raise BackendTimeout(
                f"backend `{self.name}` had no slot free: limit {call.timeouts.total_s:g} s (total)"
            ) from error
        if is_full:
            WAITED.set(WAITED.get() + perf_counter() - came)
        try:
            yield
        finally:
            slots.release()


def _request(call: Call) -> bytes:
    """Return the body to send: the client's, with the backend's name for the model."""
    # Servers know a LoRA adapter by a name of its own, beside that of its base.
    body = {**call.body, "model": call.adapter or call.model}
    if call.stream:
        body["stream"] = True
    else:
        body.pop("stream", None)
        body.pop("stream_options", None)  # servers reject it without `stream`
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError as error:
        raise InvalidRequest(f"the request cannot be written as JSON: {error}") from error
