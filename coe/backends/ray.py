"""The embedded engine as a deployment of its own, asked by the gateways of a Ray Serve application.

The gateway's side. The engine's side is `deploy/ray/coe_on_ray.py`: it holds as many experts in
memory as it is told, and Serve sends a call to a replica that has the expert, if one has. The
options of the entry are those of type `local`; the engine reads them.

Ray is an optional extra and is imported by the first call.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import asdict, dataclass
from typing import Any

from coe import errors
from coe.backends.limits import Limits
from coe.backends.local import options
from coe.errors import (
    BackendError,
    BackendProtocolError,
    BackendRejected,
    BackendUnreachable,
    CoEError,
    CompositionError,
)
from coe.protocols import BackendSpec, ExpertSite
from coe.types import Dispatch, Timeouts

_PROBE = Timeouts(connect_s=5.0, total_s=5.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One of our errors on its way from the engine to the gateway: plain values.

    Attributes:
        kind: the name of its class.
        backend_status, code, type: of a `BackendRejected`; None for every other class.
    """

    kind: str
    message: str
    param: str | None = None
    retry_after_s: float | None = None
    backend_status: int | None = None
    code: str | None = None
    type: str | None = None


def failure_of(error: CoEError) -> Failure:
    """Return what the gateway is told of an error."""
    plain = Failure(
        kind=type(error).__name__,
        message=error.message,
        param=error.param,
        retry_after_s=error.retry_after_s,
    )
    if not isinstance(error, BackendRejected):
        return plain
    rejected = {"backend_status": error.backend_status, "code": error.code, "type": error.type}
    return Failure(**{**asdict(plain), **rejected})


def error_of(failure: Failure) -> CoEError:
    """Return the error again; a class that is not in our tree becomes a `BackendError`."""
    if failure.backend_status is not None:
        return BackendRejected(
            failure.message,
            backend_status=failure.backend_status,
            code=failure.code,
            error_type=failure.type,
            param=failure.param,
            retry_after_s=failure.retry_after_s,
        )
    kind = getattr(errors, failure.kind, None)
    if not isinstance(kind, type) or not issubclass(kind, CoEError) or kind is CompositionError:
        kind = BackendError
    return kind(failure.message, param=failure.param, retry_after_s=failure.retry_after_s)


def deployment_of(backend: str) -> str:
    """Return what the deployment of a backend's engine is called in the application."""
    return f"engine-{backend}"


def build(spec: BackendSpec) -> RayBackend:
    """Make the backend; nothing is imported and nobody is asked.

    Raises:
        ConfigError: an option that the embedded engine does not have.
    """
    options.read(spec.name, spec.options)
    return RayBackend(spec)


class RayBackend:
    """See `coe.protocols.Backend`."""

    def __init__(self, spec: BackendSpec) -> None:
        self.name = spec.name
        self._sites = {site.expert: site for site in spec.experts}
        self._running: set[Limits] = set()
        self._closed = False

    async def generate(self, dispatch: Dispatch) -> AsyncGenerator[bytes, None]:
        """See `Backend.generate`."""
        call = dispatch.call
        site = self._sites.get(call.expert)
        if site is None:
            raise BackendRejected(
                f"backend {self.name!r} has no expert {call.expert!r}", backend_status=404
            )
        limits = Limits(self.name, call.timeouts, streamed=call.stream)
        async with self._noted(limits), contextlib.AsyncExitStack() as stack:
            handle = self._engine().options(stream=True, multiplexed_model_id=call.expert)
            pieces = handle.answer.remote(site, call, dispatch.query_id)
            stack.callback(pieces.cancel)
            while True:
                async with self._translated(), limits.next():
                    piece = await anext(pieces, None)
                if piece is None:
                    return
                if isinstance(piece, Failure):
                    raise error_of(piece)
                limits.started = True
                yield piece

    async def models(self) -> tuple[str, ...]:
        """Return the experts, if an engine answers."""
        limits = Limits(self.name, _PROBE, streamed=False)
        async with self._noted(limits), self._translated(), limits.next():
            await self._engine().resident.remote()
        return tuple(self._sites)

    def serve(self, experts: tuple[ExpertSite, ...]) -> bool:
        """Serve these; False where one has other weights than under its name before."""
        if any(self._sites.get(site.expert, site) != site for site in experts):
            return False
        self._sites.update({site.expert: site for site in experts})
        return True

    async def aclose(self) -> None:
        """See `Backend.aclose`; the engine is Ray's to end."""
        self._closed = True
        for limits in self._running:
            limits.fail(self._was_closed())

    def _engine(self) -> Any:
        """Return Serve's handle of the engine, in the application that this process belongs to."""
        try:
            from ray import serve
        except ImportError as error:
            raise BackendUnreachable(
                f"backend `{self.name}` needs Ray: pip install 'coe-gateway[ray]', and see"
                " deploy/README.md"
            ) from error
        try:
            return serve.get_deployment_handle(deployment_of(self.name))
        except Exception as error:  # outside of an application Serve raises errors of many kinds
            raise BackendUnreachable(
                f"backend `{self.name}` is asked by the gateways of a Ray Serve application, and"
                " this process is none (see deploy/README.md)"
            ) from error

    @contextlib.asynccontextmanager
    async def _noted(self, limits: Limits) -> AsyncGenerator[None, None]:
        """Have `aclose` know of a call."""
        if self._closed:
            raise self._was_closed()
        self._running.add(limits)
        try:
            yield
        finally:
            self._running.discard(limits)

    @contextlib.asynccontextmanager
    async def _translated(self) -> AsyncGenerator[None, None]:
        """Turn Ray's errors into ours."""
        from ray.exceptions import RayActorError, RayError, TaskCancelledError
        from ray.serve.exceptions import RayServeException

        try:
            yield
        except (RayActorError, TaskCancelledError) as error:
            raise BackendUnreachable(f"backend `{self.name}`: its engine ended") from error
        except RayServeException as error:  # too many wait, or nobody can be asked
            raise BackendUnreachable(f"backend `{self.name}`: no engine takes calls") from error
        except RayError as error:
            said = type(getattr(error, "cause", None) or error).__name__
            raise BackendProtocolError(
                f"backend `{self.name}`: its engine failed: {said}"
            ) from error

    def _was_closed(self) -> BackendError:
        return BackendError(f"backend `{self.name}` was closed")
