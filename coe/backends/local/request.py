"""The fields of a chat request that the embedded engine reads, checked before anything is queued.

What it does not support and what would change the meaning of an answer is refused, never ignored.
Fields that no server is bound to honour (`user`, `metadata`, `store`, ...) are ignored. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from coe.errors import BackendRejected

_UNSUPPORTED = (
    "logit_bias",
    "functions",
    "audio",
    "web_search_options",
    "min_p",
    "repetition_penalty",
    "guided_json",
    "guided_regex",
    "guided_choice",
    "guided_grammar",
    "structured_outputs",
)
_MAX_STOPS = 4
_MAX_CHOICES = 128
_MAX_TOP_LOGPROBS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a token is chosen.

    Attributes:
        temperature: 0 means the likeliest token, always.
        top_k: 0 means all tokens.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One chat request. None means that the client left it to the model's own defaults.

    Attributes:
        top_logprobs: alternatives per token; None where no log probabilities are wanted.
    """

    messages: tuple[Mapping[str, Any], ...]
    n: int = 1
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    top_logprobs: int | None = None
    include_usage: bool = False

    def sampling(self, default: Sampling) -> Sampling:
        """Return the model's defaults with the client's values over them."""
        return Sampling(
            temperature=default.temperature if self.temperature is None else self.temperature,
            top_p=default.top_p if self.top_p is None else self.top_p,
            top_k=default.top_k if self.top_k is None else self.top_k,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
        )


def parse(body: Mapping[str, Any]) -> Request:
    """Read a `chat/completions` body.

    Raises:
        BackendRejected: 400, naming the field.
    """
    _refuse_unsupported(body)
    limit = _integer(body, "max_completion_tokens", 1)
    return Request(
        messages=_messages(body),
        n=_integer(body, "n", 1, _MAX_CHOICES) or 1,
        max_tokens=limit if limit is not None else _integer(body, "max_tokens", 1),
        temperature=_number(body, "temperature", 0, 2),
        top_p=_number(body, "top_p", 0, 1),
        top_k=_top_k(body),
        presence_penalty=_number(body, "presence_penalty", -2, 2) or 0.0,
        frequency_penalty=_number(body, "frequency_penalty", -2, 2) or 0.0,
        seed=_integer(body, "seed"),
        stop=_stop(body),
        top_logprobs=_top_logprobs(body),
        include_usage=_object(body, "stream_options").get("include_usage") is True,
    )


def rejected(message: str, param: str) -> BackendRejected:
    """Return the 400 that names the field."""
    return BackendRejected(message, backend_status=400, param=param)


def _refuse_unsupported(body: Mapping[str, Any]) -> None:
    for key in _UNSUPPORTED:
        if body.get(key):
            raise rejected(f"the embedded engine does not support `{key}`: leave it out", key)
    if body.get("tools") and body.get("tool_choice") != "none":
        raise rejected("the embedded engine does not call tools: ask an expert that does", "tools")
    kind = _object(body, "response_format").get("type", "text")
    if kind != "text":
        raise rejected(
            f"the embedded engine cannot enforce response_format {kind!r}: only `text`",
            "response_format",
        )
    if any(kind != "text" for kind in body.get("modalities") or ()):
        raise rejected("the embedded engine answers in text only", "modalities")


def _messages(body: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not all(isinstance(one, Mapping) for one in messages):
        raise rejected("`messages` must be a list of objects", "messages")
    if not messages:
        raise rejected("`messages` is empty: send at least one message", "messages")
    return tuple(messages)


def _object(body: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = body.get(key)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise rejected(f"`{key}` must be an object", key)
    return found


def _integer(
    body: Mapping[str, Any], key: str, low: int | None = None, high: int | None = None
) -> int | None:
    found = body.get(key)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int):
        raise rejected(f"`{key}` must be an integer, not {found!r}", key)
    _check_range(found, key, low, high)
    return found


def _number(body: Mapping[str, Any], key: str, low: float, high: float) -> float | None:
    found = body.get(key)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise rejected(f"`{key}` must be a number, not {found!r}", key)
    _check_range(found, key, low, high)
    return float(found)


def _check_range(found: float, key: str, low: float | None, high: float | None) -> None:
    if low is not None and not found >= low:
        raise rejected(f"`{key}` is {found}: the least is {low}", key)
    if high is not None and not found <= high:
        raise rejected(f"`{key}` is {found}: the most is {high}", key)


def _top_k(body: Mapping[str, Any]) -> int | None:
    """Read vLLM's extension, in which -1 and 0 both mean all tokens."""
    found = _integer(body, "top_k", -1)
    return None if found is None else max(found, 0)


def _stop(body: Mapping[str, Any]) -> tuple[str, ...]:
    found = body.get("stop")
    stops = [found] if isinstance(found, str) else found
    if stops is None:
        return ()
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        raise rejected("`stop` must be a string or a list of strings", "stop")
    if len(stops) > _MAX_STOPS:
        raise rejected(f"`stop` has {len(stops)} strings: the most is {_MAX_STOPS}", "stop")
    return tuple(stop for stop in stops if stop)


def _top_logprobs(body: Mapping[str, Any]) -> int | None:
    wanted = body.get("logprobs")
    if wanted not in (None, True, False):
        raise rejected("`logprobs` must be true or false", "logprobs")
    top = _integer(body, "top_logprobs", 0, _MAX_TOP_LOGPROBS)
    if top and not wanted:
        raise rejected("`top_logprobs` needs `logprobs: true`", "top_logprobs")
    return (top or 0) if wanted else None
