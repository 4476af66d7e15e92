"""Lines of the output and error files, as OpenAI writes them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from coe.errors import BackendProtocolError, CoEError
from coe.stores.records import Line, Mistake

NOT_RUN = {
    "expired": ("batch_expired", "the completion window passed before this request was run"),
    "cancelled": ("batch_cancelled", "the batch was cancelled before this request was run"),
    "failed": ("invalid_api_key", "the batch's key ended before this request was run"),
}


def answered(line: Line, request_id: str, body: bytes, chosen: Mapping[str, Any]) -> bytes:
    """Return the output line of an answer.

    Args:
        line: that was answered.
        request_id: of the one call that answered.
        body: the JSON of the answer, kept as it is unless it has line breaks.
        chosen: who answered and why.
    """
    if b"\n" in body or b"\r" in body:
        body = orjson.dumps(orjson.loads(body))
    response = {"status_code": 200, "request_id": request_id, "body": orjson.Fragment(body)}
    return _line(line.custom_id, request_id, response=response, coe=chosen)


def failed(line: Line, request_id: str, error: CoEError, chosen: Mapping[str, Any]) -> bytes:
    """Return the error line of a request that was run and failed."""
    body = {
        "error": {
            "message": error.message,
            "type": error.type,
            "param": error.param,
            "code": error.code,
        }
    }
    response = {"status_code": error.status, "request_id": request_id, "body": body}
    return _line(line.custom_id, request_id, response=response, coe=chosen)


def not_run(line: Line, batch_id: str, status: str) -> bytes:
    """Return the error line of a request that was not run, by how the batch ended."""
    code, message = NOT_RUN[status]
    error = {"code": code, "message": message}
    return _line(line.custom_id, f"{batch_id}_{line.number}", error=error)


def refused(mistake: Mistake, batch_id: str) -> bytes:
    """Return the error line of a mistake in the input."""
    error = {
        "code": mistake.code,
        "message": mistake.message,
        "param": mistake.param,
        "line": mistake.line,
    }
    return _line(None, f"{batch_id}_{mistake.line or 0}", error=error)


def chosen(expert: str | None, line: Line) -> dict[str, Any]:
    """Return who answered a line, and why it is that one."""
    return {
        "expert": expert,
        "category": line.category,
        "probability": line.probability,
        "reason": line.reason,
    }


def usage(body: bytes) -> tuple[int, int]:
    """Return the tokens of the prompt and of the answer, 0 where the answer does not say.

    Raises:
        BackendProtocolError: the answer is no JSON object.
    """
    try:
        told = orjson.loads(body).get("usage") or {}
        return int(told.get("prompt_tokens") or 0), int(told.get("completion_tokens") or 0)
    except (orjson.JSONDecodeError, AttributeError, TypeError, ValueError):
        raise BackendProtocolError("the answer is not a JSON object of OpenAI's") from None


def _line(custom_id: str | None, request_id: str, **fields: Any) -> bytes:
    return orjson.dumps(
        {
            "id": f"batch_req_{request_id}",
            "custom_id": custom_id,
            "response": None,
            "error": None,
            **fields,
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )
