"""Providers that do not speak OpenAI's API, through the litellm library (an optional extra).

Slow by comparison (milliseconds per call, half a millisecond per chunk), so everything that is
OpenAI-compatible belongs to type `openai`. Of a client's body only OpenAI's own parameters are
passed on: litellm takes its addresses, keys and hooks as parameters too, and a client must not
reach those. The import takes seconds and is done in a thread, by `start` or by the first call.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import orjson

from coe.backends.limits import Limits
from coe.backends.passage import Passage
from coe.backends.rejection import rejection, secrets_of, shown
from coe.errors import (
    BackendProtocolError,
    BackendRejected,
    BackendTimeout,
    BackendUnreachable,
    CoEError,
    ConfigError,
    ContextTooLong,
    PluginError,
)
from coe.protocols import BackendSpec
from coe.sse import DONE, frame
from coe.types import Call, Dispatch

OPTIONS = frozenset({"parameters"})
CHAT = frozenset(
    [
        "audio",
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "modalities",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "stream_options",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
        "web_search_options",
    ]
)
EMBEDDINGS = frozenset({"input", "dimensions", "encoding_format", "user"})


def build(spec: BackendSpec) -> LiteLLMBackend:
    """Make the backend without importing litellm.

    Raises:
        PluginError: litellm is not installed.
        ConfigError: an option is unknown or of the wrong kind.
    """
    where = f"backends.{spec.name}"
    if unknown := sorted(set(spec.options) - OPTIONS):
        raise ConfigError(
            f"{where}.options: unknown key `{unknown[0]}` for type `litellm`; known: parameters"
        )
    parameters = spec.options.get("parameters", {})
    if not isinstance(parameters, Mapping):
        raise ConfigError(
            f"{where}.options.parameters: expected a mapping of litellm's own parameters,"
            " such as {api_version: 2024-10-21}"
        )
    if importlib.util.find_spec("litellm") is None:
        raise PluginError(
            f"{where}: type `litellm` needs an optional extra;"
            " run: pip install 'coe-gateway[litellm]'"
        )
    return LiteLLMBackend(spec, dict(parameters))


class LiteLLMBackend:
    """See `coe.protocols.Backend`."""

    def __init__(self, spec: BackendSpec, parameters: dict[str, Any]) -> None:
        self.name = spec.name
        self._secret = secrets_of(spec)
        self._models = tuple(dict.fromkeys(site.model for site in spec.experts))
        self._slots = asyncio.Semaphore(spec.concurrency) if spec.concurrency else None
        self._fixed = {**parameters, "max_retries": 0, "num_retries": 0}
        if spec.url:
            self._fixed["api_base"] = spec.url
        if spec.api_key:
            self._fixed["api_key"] = spec.api_key
        if spec.headers:
            self._fixed["extra_headers"] = dict(spec.headers)
        self._litellm: Any = None
        self._loading = asyncio.Lock()
        self._running: set[Limits] = set()
        self._closed = False

    async def start(self) -> None:
        """Import the library ahead of the first call."""
        async with self._loading:
            if self._litellm is None:
                self._litellm = await asyncio.to_thread(_imported)

    async def generate(self, dispatch: Dispatch) -> AsyncGenerator[bytes, None]:
        """See `Backend.generate`."""
        call = dispatch.call
        if self._closed:
            raise self._was_closed()
        limits = Limits(self.name, call.timeouts, streamed=call.stream)
        self._running.add(limits)
        try:
            async with self._slots or contextlib.nullcontext():
                await self.start()
                limits.begin()
                answer = await self._asked(call, limits)
                if not call.stream:
                    yield _whole(answer, call)
                    return
                try:
                    async with contextlib.aclosing(self._frames(call, answer, limits)) as frames:
                        async for block in frames:
                            yield block
                finally:
                    await _close(answer)
        finally:
            self._running.discard(limits)

    async def models(self) -> tuple[str, ...]:
        """Return the experts' models: litellm has no way to ask a provider."""
        if self._closed:
            raise self._was_closed()
        return self._models

    async def aclose(self) -> None:
        """See `Backend.aclose`."""
        self._closed = True
        for limits in self._running:
            limits.fail(self._was_closed())

    async def _asked(self, call: Call, limits: Limits) -> Any:
        known = EMBEDDINGS if call.endpoint == "embeddings" else CHAT
        body = {key: value for key, value in call.body.items() if key in known}
        if not call.stream:
            body.pop("stream_options", None)
        timeout_s = call.timeouts.total_s
        async with self._translated(), limits.next():
            if call.endpoint == "embeddings":
                return await self._litellm.aembedding(
                    model=call.model, timeout=timeout_s, **body, **self._fixed
                )
            return await self._litellm.acompletion(
                model=call.model, timeout=timeout_s, stream=call.stream, **body, **self._fixed
            )

    async def _frames(self, call: Call, answer: Any, limits: Limits) -> AsyncGenerator[bytes, None]:
        """Yield the chunks of a stream as frames; the first item reaches to the first content."""
        passage = Passage(call, self.name, self._secret)
        chunks = aiter(answer)
        while not passage.done:
            async with self._translated(), limits.next():
                chunk = await anext(chunks, None)
            block = passage.feed(DONE if chunk is None else _framed(chunk, call))
            limits.started = passage.started
            if block:
                yield block
            if passage.error is not None:
                raise passage.error

    @contextlib.asynccontextmanager
    async def _translated(self) -> AsyncGenerator[None, None]:
        """Turn whatever litellm raises into one of our errors."""
        try:
            yield
        except CoEError:
            raise
        except Exception as error:  # litellm and the libraries below it raise anything
            raise self._error(error) from error

    def _error(self, error: Exception) -> CoEError:
        found = self._read(error)
        found.logged = f"backend `{self.name}`: {type(error).__name__}"
        return found

    def _read(self, error: Exception) -> CoEError:
        kinds = self._litellm.exceptions
        said = shown(str(getattr(error, "message", "") or error), self._secret)
        if isinstance(error, kinds.Timeout):
            return BackendTimeout(f"backend `{self.name}` was too slow: {said}")
        if isinstance(error, kinds.ContextWindowExceededError):
            return ContextTooLong(f"backend `{self.name}` answered 400: {said}", param="messages")
        if isinstance(error, kinds.APIConnectionError | ConnectionError):
            return BackendUnreachable(f"backend `{self.name}` is unreachable: {said}")
        status = getattr(error, "status_code", None)
        if isinstance(status, int) and status >= 400:  # noqa: PLR2004
            return self._rejected(error, status, said)
        return BackendProtocolError(f"backend `{self.name}`: {type(error).__name__}: {said}")

    def _rejected(
        self, error: Exception, status: int, said: str
    ) -> BackendRejected | ContextTooLong:
        # litellm's own type and code are not OpenAI's; what the provider sent is in `body`.
        headers = getattr(error, "litellm_response_headers", None) or {}
        sent = getattr(error, "body", None)
        sent = sent if isinstance(sent, dict) else {}
        named = {key: sent[key] for key in ("type", "code", "param") if key in sent}
        body = orjson.dumps({"error": {**named, "message": said}})
        return rejection(
            self.name, status, body, lambda name: str(headers.get(name, "")), self._secret
        )

    def _was_closed(self) -> BackendUnreachable:
        return BackendUnreachable(f"backend `{self.name}` was closed")


def _imported() -> Any:
    """Import litellm, without its fetching of prices and its telemetry."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm

    litellm.telemetry = False
    litellm.suppress_debug_info = True
    return litellm


def _plain(answer: Any, call: Call) -> dict[str, Any]:
    """Return an answer or a chunk as OpenAI's object, without litellm's empty fields."""
    plain: dict[str, Any] = answer.model_dump(mode="json", exclude_none=True, warnings=False)
    plain["model"] = call.expert
    for choice in plain.get("choices", ()):
        choice.setdefault("finish_reason", None)
        if "message" in choice:
            choice["message"].setdefault("content", None)
    return plain


def _whole(answer: Any, call: Call) -> bytes:
    return orjson.dumps(_plain(answer, call))


def _framed(chunk: Any, call: Call) -> bytes:
    return frame(orjson.dumps(_plain(chunk, call)))


async def _close(answer: Any) -> None:
    """Close the provider's stream, where litellm lets us."""
    close = getattr(answer, "aclose", None)
    if close is not None:
        await close()
