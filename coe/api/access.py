"""Who sent a request: found out once, in front of every endpoint, before a body is read."""

from __future__ import annotations

from coe.api.body import Scope
from coe.identity import ANONYMOUS, Identity, tenant_of

_IDENTITY = "coe.identity"


def identity_of(scope: Scope) -> Identity:
    """Return who sent a request, found out at the first time that it is asked for."""
    found: Identity | None = scope.get(_IDENTITY)
    if found is None:
        tenant = tenant_of(scope["headers"])
        found = scope[_IDENTITY] = Identity(tenant=tenant) if tenant else ANONYMOUS
    return found
