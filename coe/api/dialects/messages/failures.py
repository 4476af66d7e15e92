"""The one place where an error becomes one of Anthropic's. Pure."""

from __future__ import annotations

from coe.errors import CoEError

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def body(error: CoEError, request_id: str = "") -> dict[str, object]:
    """Return Anthropic's error object; `request_id` is the one of the headers, if given.

    Example:
        >>> from coe.errors import UnknownModel
        >>> body(UnknownModel("no model `x`"))["error"]
        {'type': 'not_found_error', 'message': 'no model `x`'}
    """
    usual = "api_error" if error.status >= 500 else "invalid_request_error"  # noqa: PLR2004
    shown = {"type": _TYPES.get(error.status, usual), "message": error.message}
    made: dict[str, object] = {"type": "error", "error": shown}
    return {**made, "request_id": request_id} if request_id else made
