"""Requests that ask no expert count against the limits on requests, too: none is a way around."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from fastapi import Request, Response

from coe.api.access import identity_of
from coe.identity import Identity
from coe.metering.quota import Headers, Quota
from coe.pipeline import Gateway

_QUOTA = "coe.quota"


def quota_of(gateway: Gateway, identity: Identity) -> Quota | None:
    """Return what somebody's request is counted on; None where nothing is counted of them."""
    meter = gateway.meter
    return meter.quota(identity) if meter is not None and meter.counts(identity) else None


class Counted:
    """A dependency of an endpoint: its requests are counted before their body is read.

    The answer's headers tell of the limits, an error's too; see `headers_of`.
    """

    def __init__(self, current: Callable[[], Gateway]) -> None:
        """Store what returns the gateway that serves now."""
        self._current = current

    async def __call__(self, request: Request, response: Response) -> AsyncIterator[None]:
        """Count a request, until it has ended. Raises RateLimited: it is one too many, for now."""
        quota = quota_of(self._current(), identity_of(request.scope))
        if quota is None:
            yield
            return
        request.scope[_QUOTA] = quota
        await quota.enter()
        try:
            for name, value in quota.headers():
                response.headers[name.decode()] = value.decode()
            yield
        finally:
            quota.leave()


def headers_of(request: Request) -> Headers:
    """Return what is said of limits with an error; nothing where the request was not counted."""
    quota: Quota | None = request.scope.get(_QUOTA)
    return [] if quota is None else quota.headers()
