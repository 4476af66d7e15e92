"""What a server says when it refuses, read into one of our errors and made fit to be shown.

Understands OpenAI's `{"error": {...}}` (vLLM, llama.cpp and most clouds send it too), Ollama's
`{"error": "text"}`, FastAPI's `{"detail": ...}` and the bare `{"message": ...}` of old vLLM.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from coe.errors import BackendRejected, ContextTooLong
from coe.protocols import BackendSpec
from coe.redact import without_keys

Secret = str | tuple[str, ...] | None
"""What is sent to a server and must not be shown even if it repeats it."""

_LIMIT = 500
_SHORT = 6  # what is shorter is no secret, and may be a part of any word
_BAD = frozenset({400, 413, 422, 500})  # with these, servers say that a prompt is too long
_TRACE = re.compile(
    r"Traceback \(most recent call last\).*|\n\s+(?:File \"|at \S+[.(/]).*", re.DOTALL
)
_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)
_FILE = re.compile(
    r"(?<![\w./\\~-])(?:~?/(?!v\d+/|api/)|[A-Za-z]:[/\\]+)(?:[\w.+@~-]+[/\\]+)+[\w.+@~-]*"
)
_TOO_LONG = re.compile(
    r"maximum context length|context length exceeded|(?:prompt|input) is too long"
    r"|exceed(?:s|ed)? (?:the )?(?:available |max(?:imum)? |model'?s )?context"
    r"|context (?:size|window|length) (?:of|is|has been) .*exceed"
    r"|longer than the (?:model'?s )?(?:context length|maximum model length)"
    r"|tokens\) is too long and exceeds limit|too long to fit into the model"
    r"|token count .*exceeds the maximum number of tokens|maximum prompt length"
    r"|`inputs` tokens \+ `max_new_tokens` must be <=|`inputs` must have less than"
    r"|too many tokens: .*cannot exceed",
    re.IGNORECASE,
)
_LONG = frozenset({"context_length_exceeded", "exceed_context_size_error"})
_STATUS_OF_TYPE = {
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "invalid_request_error": 400,
    "badrequesterror": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "notfounderror": 404,
}


def rejection(
    name: str, status: int, body: bytes, header: Callable[[str], str], secret: Secret = None
) -> BackendRejected | ContextTooLong:
    """Return the error for an answer with a status other than 200.

    Args:
        name: of the backend.
        status: of the answer.
        body: of the answer, in any shape or none.
        header: returns the value of an answer's header, or "".
        secret: see `Secret`.
    """
    found = _error_of(parsed(body))
    if status < 400:  # noqa: PLR2004
        found = {"message": "a redirect, which is not followed; check the backend's `url`"}
    if not found.get("message"):
        found = {**found, "message": _plain(body)}
    return _rejected(name, status, found, secret, retry_after_s=retry_after_s(header))


def refusal(
    name: str, value: Any, secret: Secret = None
) -> BackendRejected | ContextTooLong | None:
    """Return the error that a JSON value from an answer with status 200 holds; None for none."""
    if not isinstance(value, Mapping):
        return None
    if not value.get("error") and value.get("object") != "error":
        return None
    found = _error_of(value)
    code = found.get("code")
    status = code if isinstance(code, int) and 400 <= code < 600 else None  # noqa: PLR2004
    if status is None:
        status = _STATUS_OF_TYPE.get(str(found.get("type") or code or "").lower(), 500)
    return _rejected(name, status, found, secret)


def retry_after_s(header: Callable[[str], str]) -> float | None:
    """Return how many seconds `retry-after-ms` or `retry-after` asks to wait; None for neither."""
    try:
        if milliseconds := header("retry-after-ms"):
            return max(0.0, float(milliseconds) / 1000)
        if not (value := header("retry-after")):
            return None
        if value.replace(".", "", 1).isdigit():
            return float(value)
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def secrets_of(spec: BackendSpec) -> tuple[str, ...]:
    """Return the key of a backend, and the values of the headers that go with every call."""
    values = (spec.api_key or "", *spec.headers.values())
    return tuple(value for value in values if len(value) >= _SHORT)


def shown(text: str, secret: Secret = None) -> str:
    """Return a server's message without keys, addresses, paths and traces, in 500 characters.

    Example:
        >>> shown("bad key sk-abcdef123456, see https://example.com/keys?id=1")
        'bad key [key], see [address]'
    """
    text = text[: 20 * _LIMIT]
    for one in (secret,) if isinstance(secret, str) else secret or ():
        text = text.replace(one, "[key]")
    text = _TRACE.sub("", text)
    text = _URL.sub("[address]", text)
    text = without_keys(text)
    text = _FILE.sub("[path]", text)
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= _LIMIT else text[: _LIMIT - 1] + "…"


def _rejected(
    name: str,
    status: int,
    found: Mapping[str, Any],
    secret: Secret,
    retry_after_s: float | None = None,
) -> BackendRejected | ContextTooLong:
    said = shown(str(found.get("message") or ""), secret)
    code = found.get("code")
    # A number is the status once more, as vLLM and litellm send it.
    code = shown(code, secret) if isinstance(code, str) and not code.isdigit() else None
    logged = f"backend `{name}` answered {status}"
    message = f"{logged}: {said or 'without a reason'}"
    kind, param = found.get("type"), found.get("param")
    param = shown(param, secret) if isinstance(param, str) and param else None
    is_named = not _LONG.isdisjoint(x for x in (code, kind) if isinstance(x, str))
    if is_named or (status in _BAD and _TOO_LONG.search(said)):
        error: BackendRejected | ContextTooLong = ContextTooLong(message, param=param)
        error.logged = f"{logged}: the prompt is too long"
        return error
    error = BackendRejected(
        message,
        backend_status=status,
        code=code or None,
        error_type=shown(kind, secret) if isinstance(kind, str) and kind else None,
        param=param,
        retry_after_s=retry_after_s,
    )
    error.logged = logged
    return error


def _error_of(value: Any) -> dict[str, Any]:
    """Return message, type, code and param, as far as the value has them."""
    if not isinstance(value, Mapping):
        return {}
    error = value.get("error")
    if isinstance(error, Mapping):
        return dict(error)
    if isinstance(error, str):
        return {"message": error}
    if "detail" in value:
        detail = value["detail"]
        text = detail if isinstance(detail, str) else orjson.dumps(detail).decode()
        return {"message": text}
    return {key: value[key] for key in ("message", "type", "code", "param") if key in value}


def parsed(body: bytes) -> Any:
    """Return what a server sent as JSON; None where it is none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _plain(body: bytes) -> str:
    """Return a body that is no JSON error as text; a page of HTML is only named."""
    text = body[:4000].decode("utf-8", "replace").strip()
    if text[:1] == "<":
        return "a page of HTML"
    return "" if text[:1] in {"{", "["} else text
