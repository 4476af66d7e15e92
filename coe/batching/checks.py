"""One line of a batch's input: what it has to be before anything is run. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from coe.errors import CoEError, InvalidRequest
from coe.stores.records import Mistake

Parse = Callable[[bytes], dict[str, Any]]
"""Strict JSON, one object; raises InvalidRequest."""

ENDPOINTS = ("/v1/chat/completions", "/v1/embeddings")

_LONGEST_ID = 512
_BOM = b"\xef\xbb\xbf"
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Raw:
    """A line as it stands in a file.

    Attributes:
        number: 1-based; blank lines are counted and not yielded.
        text: None where it is over the limit.
    """

    number: int
    offset: int
    length: int
    text: bytes | None


def scan(stream: BinaryIO, limit: int) -> Iterator[Raw]:
    """Yield the lines of a file that are not blank; holds one in memory, of `limit` bytes at most.

    Line breaks may be LF or CRLF; a byte order mark at the beginning is left out.
    """
    offset, number = 0, 0
    while text := stream.readline(limit + 2):
        number += 1
        start, length, whole = offset, len(text), text.endswith(b"\n")
        while not whole and len(text) == limit + 2:
            rest = stream.readline(_PIECE)
            length += len(rest)
            whole = not rest or rest.endswith(b"\n")
        offset += length
        if number == 1 and text.startswith(_BOM):
            text, start, length = text[3:], start + 3, length - 3
        if length > limit + 2:
            yield Raw(number, start, length, None)
            continue
        body = text.rstrip(b"\r\n")
        if len(body) > limit:
            yield Raw(number, start, len(body), None)
        elif body.strip():
            yield Raw(number, start, len(body), body)


def check(raw: Raw, endpoint: str, parse: Parse, is_known: Callable[[str], bool]) -> str | Mistake:
    """Return the line's custom_id, or the first thing that is wrong with it.

    The body's own fields are checked when the line is run: a mistake there is that line's error,
    and no reason to refuse the others.
    """
    if raw.text is None:
        return _mistake(raw, "line_too_long", "the line is over the limit (COE_MAX_BODY_BYTES)")
    try:
        line = parse(raw.text)
    except InvalidRequest as error:
        detail = error.message.replace("the body", "the line", 1)
        return _mistake(raw, "invalid_json_line", detail, error.param)
    return _check_envelope(raw, line, endpoint) or _check_body(raw, line, is_known) or _id(line)


def _check_envelope(raw: Raw, line: dict[str, Any], endpoint: str) -> Mistake | None:
    custom_id = line.get("custom_id")
    if custom_id is None:
        return _mistake(raw, "missing_required_parameter", "no `custom_id`", "custom_id")
    if not isinstance(custom_id, str) or not 0 < len(custom_id) <= _LONGEST_ID:
        detail = f"`custom_id` must be a string of 1 to {_LONGEST_ID} characters"
        return _mistake(raw, "invalid_custom_id", detail, "custom_id")
    if line.get("method", "POST") != "POST":
        return _mistake(raw, "invalid_method", "`method` must be POST", "method")
    url = line.get("url")
    if url is None:
        return _mistake(raw, "missing_required_parameter", "no `url`", "url")
    if url != endpoint:
        detail = f"`url` is {_shown(url)}; the batch's endpoint is {endpoint}"
        return _mistake(raw, "mismatched_url", detail, "url")
    return None


def _check_body(raw: Raw, line: dict[str, Any], is_known: Callable[[str], bool]) -> Mistake | None:
    body = line.get("body")
    if not isinstance(body, dict):
        code = "missing_required_parameter" if body is None else "invalid_body"
        return _mistake(raw, code, "`body` must be an object, the request", "body")
    model = body.get("model")
    if not isinstance(model, str) or not model:
        detail = "`body.model` must be a string: an expert, a category, or coe/auto"
        return _mistake(raw, "missing_required_parameter", detail, "body.model")
    if not is_known(model):
        detail = f"no model {_shown(model)}; GET /v1/models lists them"
        return _mistake(raw, "model_not_found", detail, "body.model")
    if body.get("stream") not in {None, False}:
        detail = "a batch answers whole: leave `stream` out"
        return _mistake(raw, "stream_not_supported", detail, "body.stream")
    return None


def _id(line: dict[str, Any]) -> str:
    return str(line["custom_id"])


def _mistake(raw: Raw, code: str, message: str, param: str | None = None) -> Mistake:
    return Mistake(code=code, message=message, line=raw.number, param=param)


def _shown(value: object) -> str:
    text = f"`{value}`" if isinstance(value, str) else type(value).__name__
    return text if len(text) <= 82 else f"{text[:79]}...`"  # noqa: PLR2004 - a name, not a text


def endpoint_of(text: bytes, parse: Parse) -> str:
    """Return the endpoint that a line is for; the first where it does not say.

    Raises:
        CoEError: it names one that batches do not have.
    """
    try:
        url = parse(text).get("url")
    except InvalidRequest:
        return ENDPOINTS[0]  # said of the line, with its number
    if isinstance(url, str) and url.startswith("/v1/") and url not in ENDPOINTS:
        known = " and ".join(ENDPOINTS)
        raise CoEError(f"batches of {_shown(url)} are not run here, only of {known}")
    return url if url in ENDPOINTS else ENDPOINTS[0]
