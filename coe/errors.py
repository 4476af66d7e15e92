"""Every error that CoE raises on purpose, as one tree.

    CoEError                          500
      ConfigError                     exit 2 (start-up and reload)
        CompositionError              experts.yaml: where, what, what was expected
        PluginError                   an entry point that is missing or broken
        ArtefactError                 a model, adapter or encoder file that is missing or damaged
        Infeasible                    no category-to-expert map is within the budget
      RequestError                    400
        InvalidRequest                400
        RequestTooLarge               413
        UnknownModel                  404
        NotFound                      404
        Conflict                      409
        ContextTooLong                400
        Unauthorized                  401
        Forbidden                     403
      RoutingError
        RouterUnavailable             503, retry
        NoEligibleExpert              422
      CapacityError                   Retry-After
        QueueFull                     429, retry
        RateLimited                   429, retry
        BudgetExceeded                429
        Overloaded                    503, retry
        BreakerOpen                   503, retry
        DeadlineExceeded              504, retry
        ExpertLoadFailed              503, retry
      BackendError                    502
        BackendUnreachable            502, retry
        BackendTimeout                504, retry
        BackendRejected               the backend's own status, or 502
        BackendProtocolError          502, retry
      AggregationError                502, retry
      StoreUnavailable                503, retry

Third-party exceptions are translated at the adapter, once. Cancellation is never an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from coe.types import Attempt, Decision, Plan


class CoEError(Exception):
    """Root of the tree. `status`, `code` and `type` are what an OpenAI client is shown."""

    status = 500
    code = "internal_error"
    type = "server_error"
    retryable = False
    origin = "gateway"

    def __init__(
        self, message: str, *, param: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        # What may be written down: less the words of an upstream, which may repeat a prompt.
        self.logged = message
        self.param = param
        self.retry_after_s = retry_after_s
        self.attempts: tuple[Attempt, ...] = ()  # who was asked before this became final
        self.made: tuple[Decision, Plan] | None = None  # what was decided before it
        self.arms: Mapping[str, str] = {}  # of the experiments that the request was in


class ConfigError(CoEError):
    """What the system is made of is wrong. The command line prints it and exits with 2."""

    code = "config_error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One mistake in a composition file.

    Attributes:
        path: the key path, e.g. `categories.code.threshold`.
        line: 1-based; 0 where the place is unknown.
        column: 1-based; 0 where the place is unknown.
        hint: what to do about it, e.g. "did you mean `threshold`?"
    """

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str = ""
    severity: str = "error"

    def __str__(self) -> str:
        """Render as `file:line:col: path: message (hint)`, which editors make clickable."""
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        where = f" {self.path}:" if self.path else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{place}:{where} {self.message}{hint}"


class CompositionError(ConfigError):
    """A composition file that cannot be used; holds every problem found, not the first alone."""

    code = "composition_error"

    def __init__(self, problems: tuple[Problem, ...], files: tuple[Path, ...] = ()) -> None:
        """Args are what is wrong, and the files that it may be put right in."""
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems
        self.files = files


class PluginError(ConfigError):
    """A plugin that is named but missing, or that failed to load."""

    code = "plugin_error"


class ArtefactError(ConfigError):
    """A file of weights or data that is missing, damaged, or made for something else."""

    code = "artefact_error"


class Infeasible(ConfigError):
    """No category-to-expert map is within the budget; the message says what cannot be met."""

    code = "infeasible"


class RequestError(CoEError):
    """The client's request cannot be served as it is."""

    status = 400
    code = "invalid_request"
    type = "invalid_request_error"


class InvalidRequest(RequestError):
    """The body is not what the OpenAI API defines."""


class RequestTooLarge(RequestError):
    """The body is over a limit."""

    status = 413
    code = "request_too_large"


class UnknownModel(RequestError):
    """No expert, category or virtual model has that name."""

    status = 404
    code = "model_not_found"


class Conflict(RequestError):
    """What is asked for does not fit what is there: a name that is taken, an expert in use."""

    status = 409
    code = "conflict"


class NotFound(RequestError):
    """No file or batch has that id."""

    status = 404
    code = "not_found"


class ContextTooLong(RequestError):
    """The prompt is longer than every eligible expert's context."""

    code = "context_length_exceeded"


class Unauthorized(RequestError):
    """No valid key."""

    status = 401
    code = "invalid_api_key"
    type = "authentication_error"


class Forbidden(RequestError):
    """A valid key without the permission."""

    status = 403
    code = "forbidden"
    type = "permission_error"


class RoutingError(CoEError):
    """No expert could be chosen."""

    code = "routing_error"


class RouterUnavailable(RoutingError):
    """A router failed or was late. It never fails a request: the default expert answers."""

    status = 503
    code = "router_unavailable"
    retryable = True


class NoEligibleExpert(RoutingError):
    """Every ranked expert is excluded by a rule."""

    status = 422
    code = "no_eligible_expert"
    type = "invalid_request_error"


class CapacityError(CoEError):
    """The request is fine; there is no room for it now."""

    status = 503
    code = "over_capacity"
    retryable = True


class QueueFull(CapacityError):
    """Too many requests are waiting."""

    status = 429
    code = "queue_full"
    type = "rate_limit_error"


class RateLimited(CapacityError):
    """The key, its team or everybody has sent as much as may be sent for now."""

    status = 429
    code = "rate_limit_exceeded"
    type = "rate_limit_error"


class BudgetExceeded(CapacityError):
    """The key's, the team's or everybody's money is spent.

    Attributes:
        has_cheaper: whether the cheapest expert that is good enough may be asked instead.
    """

    status = 429
    code = "budget_exceeded"
    type = "rate_limit_error"
    retryable = False
    has_cheaper = False


class Overloaded(CapacityError):
    """More is asked than can be answered in time: what would come too late is refused at once."""

    code = "overloaded"


class BreakerOpen(CapacityError):
    """The expert failed too often of late, and is not asked for a while."""

    code = "expert_unwell"


class DeadlineExceeded(CapacityError):
    """The request's own deadline passed."""

    status = 504
    code = "deadline_exceeded"


class ExpertLoadFailed(CapacityError):
    """The expert could not be brought into memory."""

    code = "expert_load_failed"


class BackendError(CoEError):
    """A backend did not produce an answer."""

    status = 502
    code = "backend_error"
    origin = "upstream"


class BackendUnreachable(BackendError):
    """Connection refused, reset before an answer, or a name that does not resolve."""

    code = "backend_unreachable"
    retryable = True


class BackendTimeout(BackendError):
    """One of the four time limits passed; the message says which."""

    status = 504
    code = "backend_timeout"
    retryable = True


class BackendRejected(BackendError):
    """The backend answered with an error of its own.

    Statuses that the client can act on (400, 404, 413, 422, 429) are passed on with the
    backend's message, type and code; 401 and 403 are the operator's mistake and become 502;
    500 and above become 502. `retryable` is true for 408, 409, 429 and 5xx.
    """

    code = "backend_rejected"

    def __init__(
        self,
        message: str,
        *,
        backend_status: int,
        code: str | None = None,
        error_type: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, param=param, retry_after_s=retry_after_s)
        self.backend_status = backend_status
        self.status = backend_status if backend_status in {400, 404, 413, 422, 429} else 502
        self.retryable = backend_status in {401, 403, 404, 408, 409, 429} or backend_status >= 500  # noqa: PLR2004
        if code is not None:
            self.code = code
        if error_type is not None:
            self.type = error_type
        elif self.status == 429:  # noqa: PLR2004
            self.type = "rate_limit_error"
        elif self.status < 500:  # noqa: PLR2004
            self.type = "invalid_request_error"


class BackendProtocolError(BackendError):
    """The backend sent what is not an answer: garbage, or a stream that ended too soon."""

    code = "upstream_disconnected"
    retryable = True


class AggregationError(CoEError):
    """A panel gave no answer: none of its members wrote a draft that can be used."""

    status = 502
    code = "no_draft"
    origin = "upstream"
    retryable = True


class StoreUnavailable(CoEError):
    """A store that several replicas share does not answer now. Whoever asks it can do without."""

    status = 503
    code = "store_unavailable"
    retryable = True
