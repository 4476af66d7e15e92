"""What kind of failure an error is, and whether another expert is asked after it."""

from __future__ import annotations

from collections.abc import Collection

from coe.errors import (
    BackendError,
    BackendProtocolError,
    BackendRejected,
    BackendTimeout,
    BackendUnreachable,
    BreakerOpen,
    BudgetExceeded,
    CapacityError,
    CoEError,
    ContextTooLong,
    ExpertLoadFailed,
    RateLimited,
)

CONTEXT = "context_overflow"
BREAKER = "breaker"
WORDS = (
    "connect",  # nobody listens there, or the connection broke
    "timeout",  # one of the time limits passed
    "bad_answer",  # what came is no answer
    "load_failed",  # the expert could not be brought into memory
    "busy",  # it has no room, or not in time: a full queue, a deadline
    CONTEXT,  # its context is too small for the prompt
    "model_not_available",  # the server does not have that model
    "content_blocked",  # the server's filter refuses the content
    "4xx",
    "5xx",
)
"""The kinds that have a name; a status, such as `429`, is one too."""

_CLASSES: tuple[tuple[type[CoEError], str], ...] = (
    (BreakerOpen, BREAKER),
    (ContextTooLong, CONTEXT),
    (BackendUnreachable, "connect"),
    (BackendTimeout, "timeout"),
    (BackendProtocolError, "bad_answer"),
    (ExpertLoadFailed, "load_failed"),
    (CapacityError, "busy"),
)
_BLOCKED = frozenset(
    {"content_filter", "content_policy_violation", "content_blocked", "moderation_blocked"}
)
_NO_MODEL = frozenset(
    {"model_not_found", "model_not_available", "deploymentnotfound", "model_not_loaded"}
)
_NOT_FOUND = 404
_OURS = frozenset({401, 403, 404, 408, 409, 429})


def kinds_of(error: CoEError) -> tuple[str, ...]:
    """Return what a failure is called, the closest word first.

    Example:
        >>> kinds_of(BackendRejected("no", backend_status=404))
        ('model_not_available', '404', '4xx')
    """
    if isinstance(error, BackendRejected):
        status = error.backend_status
        numbers = (str(status), f"{status // 100}xx")
        code = error.code.lower()
        if code in _BLOCKED:
            return ("content_blocked", *numbers)
        if code in _NO_MODEL or status == _NOT_FOUND:
            return ("model_not_available", *numbers)
        return numbers
    kind = next((name for found, name in _CLASSES if isinstance(error, found)), "")
    return (kind or type(error).__name__,)


def why_not(error: CoEError, retry_on: Collection[str] | None, never: Collection[str]) -> str:
    """Return the rule by which nobody else is asked after an error; empty where somebody may be.

    The closest word decides: with `retry_on: [4xx]` and `never_retry: [403]`, a 403 is final. An
    open breaker is always gone past, for nobody was asked.

    Args:
        error: of the last attempt.
        retry_on: kinds after which the next is asked; None: whenever another could do better.
        never: kinds after which nobody is.
    """
    if isinstance(error, BreakerOpen):
        return ""
    for kind in kinds_of(error):
        if kind in never:
            return f"never_retry: {kind}"
        if retry_on is not None and kind in retry_on:
            return ""
    if retry_on is not None:
        return "retry_on"
    return "" if another_may_do_better(error) else "the request"


def another_may_do_better(error: CoEError) -> bool:
    """Whether another expert could; a request that is wrong is wrong everywhere.

    So is one whose sender has used up what is allowed: that holds for every expert.
    """
    if isinstance(error, BudgetExceeded | RateLimited):
        return False
    return error.retryable or isinstance(error, ContextTooLong | CapacityError)


def is_experts_fault(error: BaseException) -> bool | None:
    """Whether an error says that the expert is unwell; None where it says nothing of it.

    A refusal that only the client can do something about shows that it is well.
    """
    if isinstance(error, BackendRejected):
        return error.backend_status in _OURS or error.backend_status >= 500  # noqa: PLR2004
    if isinstance(error, ContextTooLong):
        return False
    if isinstance(error, BackendError | ExpertLoadFailed):
        return True
    return None
