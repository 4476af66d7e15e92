"""Who sent a request, and whether they may: found out once, before a body is read.

Every request passes here first, the hot endpoints' too. What decides is the method and the path
that the server parsed, the table of `coe.access.rules`, and the key: never a URL or the Host
header, which a client can make say anything. Only a gateway that asks for no keys looks at Host,
to keep web pages out: a browser's page cannot make it say what it likes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from ipaddress import ip_address
from typing import Literal
from urllib.parse import urlsplit

from fastapi import Request
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from coe.access.ring import Keyring
from coe.access.rules import NOWHERE, rule_of
from coe.api.body import Scope
from coe.errors import Forbidden, StoreUnavailable, Unauthorized
from coe.identity import ANONYMOUS, Identity, credentials, tenant_of

_IDENTITY = "coe.identity"

Reach = Literal["loopback", "network", "unguarded"]
"""Who can reach the gateway: who is on this machine, others too, or others who need no key because
the operator says so."""

HOW = "start the gateway with COE_ADMIN=loopback"

_ASK_FOR_KEYS = "ask for keys with `server: {auth: keys}`"
_OTHER_ADDRESS = "have COE_METRICS_LISTEN name an address that only the scraper reaches"


def identity_of(scope: Scope) -> Identity:
    """Return who sent a request, found out at the first time that it is asked for."""
    found: Identity | None = scope.get(_IDENTITY)
    if found is None:
        tenant = tenant_of(scope["headers"])
        found = scope[_IDENTITY] = Identity(tenant=tenant) if tenant else ANONYMOUS
    return found


class Guard:
    """Lets requests in."""

    def __init__(
        self,
        keys: Keyring | None,
        reach: Reach,
        wants_keys: Callable[[], bool],
        hosts: frozenset[str] = frozenset(),
    ) -> None:
        """Store the parts.

        Args:
            keys: who may ask; None: nobody has a key.
            reach: who can reach the gateway.
            wants_keys: whether the composition asks for keys whoever can.
            hosts: names that an open gateway answers to beside localhost, in small letters.
        """
        self._is_ours = lru_cache(maxsize=64)(partial(_is_ours, hosts))
        self._keys = keys
        self._reach = reach
        self._wants_keys = wants_keys
        self._refused = dict.fromkeys(("no_key", "unknown_key", "scope"), 0)

    def needs_key(self, scope: Scope) -> bool:
        """Whether who sent a request needs a key.

        On loopback that is seen by the address that the connection came to, too: an application
        that somebody serves elsewhere by a server of their own is not open by mistake.
        """
        if self._wants_keys() or self._reach == "network":
            return True
        return self._reach == "loopback" and not _came_to_loopback(scope)

    @property
    def is_blind(self) -> bool:
        """Whether keys are asked for and none is known yet, as their store does not answer."""
        asks = self._wants_keys() or self._reach == "network"
        return asks and self._keys is not None and not self._keys.is_known

    def admit(self, scope: Scope) -> None:
        """Let a request in, and note who sent it.

        Raises:
            Unauthorized: it shows no key that works.
            Forbidden: the key is not for this; or a web page of somebody else's sent it, which a
                browser on this machine shows, to a gateway that is open to this machine; or it may
                have, as it asked for that gateway by a name that is not ours.
            StoreUnavailable: no key is known yet, as the store does not answer.
        """
        if not self.needs_key(scope):
            if self._reach == "loopback":
                self._keep_pages_out(scope["headers"], "a gateway", _ASK_FOR_KEYS)
            return
        rule = rule_of(scope["method"], scope["path"])
        if not rule.scopes:
            return
        shown = credentials(scope["headers"])
        identity = self._keys.identify(shown) if self._keys is not None else None
        if identity is None:
            raise self._unknown(shown)
        if rule.scopes.isdisjoint(identity.scopes):
            self._refused["scope"] += 1
            asked = f"{scope['method']} {scope['path'][:120]}"
            if rule is NOWHERE:
                raise Forbidden(f"{asked} is no endpoint that this key could reach")
            wanted, has = " or ".join(sorted(rule.scopes)), ", ".join(sorted(identity.scopes))
            raise Forbidden(f"{asked} needs a key with the scope {wanted}; this one has {has}")
        scope[_IDENTITY] = identity

    def admit_keyless(self, scope: Scope) -> None:
        """Let a request in to a port where nobody is asked for a key.

        Raises:
            Forbidden: it came over loopback, and a web page sent it, or may have; see `admit`.
        """
        if _came_to_loopback(scope):
            self._keep_pages_out(scope["headers"], "a port", _OTHER_ADDRESS)

    def families(self) -> Iterator[Metric]:
        """Yield what Prometheus is told."""
        refused = CounterMetricFamily(
            "coe_access_refused",
            "Requests that showed no key, none that works, or one without the scope",
            labels=["reason"],
        )
        for reason, count in self._refused.items():
            refused.add_metric([reason], count)
        yield refused
        if self._keys is not None:
            yield GaugeMetricFamily("coe_keys", "Keys that work", value=self._keys.working)
            yield GaugeMetricFamily(
                "coe_keys_stale",
                "1 while changes of keys are not seen, as their store does not answer",
                value=self._keys.is_stale,
            )

    def _keep_pages_out(
        self, headers: Sequence[tuple[bytes, bytes]], what: str, instead: str
    ) -> None:
        """See that no web page of somebody else's sent a request. Raises Forbidden.

        A page can have a name of its own mean this machine ("DNS rebinding"). The browser then
        takes the gateway for the page's own server, and sends no origin with what it reads; but it
        says by which name it came, and a page can change that as little as its origin.

        Args:
            headers: of the request.
            what: asks for no keys, in two words.
            instead: what else helps, as advice.
        """
        if page := _foreign_page(headers):
            raise Forbidden(
                f"a web page of {page[:120]!r} may not use {what} that asks for no keys; {instead}"
            )
        for name, value in headers:
            if name == b"host":
                if not self._is_ours(value):
                    raise Forbidden(
                        f"{what} that asks for no keys does not answer to the host "
                        f"{value[:120].decode('latin-1')!r}, which a web page may have made mean "
                        "this machine; if the name is yours, add it to COE_ALLOWED_HOSTS, or "
                        f"{instead}"
                    )
                return

    def _unknown(self, shown: bytes) -> Unauthorized | StoreUnavailable:
        if self._keys is not None and not self._keys.is_known:
            return StoreUnavailable("the keys cannot be read yet: try again", retry_after_s=1.0)
        self._refused["unknown_key" if shown else "no_key"] += 1
        if not shown:
            return Unauthorized(
                "no key: send `authorization: Bearer coe-...`, or `x-api-key: coe-...`"
            )
        return Unauthorized("the key is not one of this gateway's, was revoked, or has expired")


def only_admins(admin: str, request: Request) -> None:
    """Let in who may change what is served: a key's scope says so, or who is on this machine.

    Where no keys are asked for, the setting has to allow it. A web page that somebody visits on
    this machine is not let in: its requests have an origin, or reach us by a name that is not ours.
    Neither is who comes through a proxy on this machine.

    Raises:
        Forbidden: says what is in the way.
    """
    if identity_of(request.scope).key:
        return  # the table let it pass: its key has the scope
    if admin != "loopback":
        raise Forbidden(f"the endpoints that change what is served are off: {HOW}")
    peer = request.client.host if request.client is not None else ""
    if not is_loopback(peer):
        raise Forbidden("what is served is changed from this machine alone (COE_ADMIN=loopback)")
    for header in ("forwarded", "x-forwarded-for", "x-real-ip", "via"):
        if header in request.headers:
            raise Forbidden("what is served is not changed through a proxy: ask the gateway itself")
    host = request.headers.get("host", "").rsplit(":", 1)[0].strip("[]")
    if "origin" in request.headers or not (host == "localhost" or is_loopback(host)):
        raise Forbidden("what is served is not changed by a web page")


@lru_cache(maxsize=64)  # the addresses of this machine, asked for with every request
def is_loopback(host: str) -> bool:
    """Whether an address is one of loopback; a name is not."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _foreign_page(headers: Sequence[tuple[bytes, bytes]]) -> str:
    """Return the origin of the web page that sent a request; empty for none, and for one of here.

    A browser sends it with every request that does something, and no page can leave it out. Without
    this a page could have an open gateway work for it, or read it under a name of its own that it
    has made to mean this machine.
    """
    for name, value in headers:
        if name == b"origin":
            origin = value.decode("latin-1")
            try:
                host = urlsplit(origin).hostname or ""
            except ValueError:
                return origin
            return "" if host == "localhost" or is_loopback(host) else origin
    return ""


def _is_ours(names: frozenset[str], host: bytes) -> bool:
    """Whether a Host header is an address, localhost or one of some names, with any port.

    No page can make an address mean another machine than it does. Browsers always say a host.
    """
    name = host.decode("latin-1").strip().lower()
    if not name.endswith("]"):
        before, colon, port = name.rpartition(":")
        if colon and (not port or (port.isascii() and port.isdigit())):
            name = before
    if not name or name == "localhost" or name in names:
        return True
    try:
        ip_address(name[1:-1] if name.startswith("[") and name.endswith("]") else name)
    except ValueError:
        return False
    return True


def _came_to_loopback(scope: Scope) -> bool:
    """Whether a connection came to an address of loopback; the server says so, not the client."""
    server = scope.get("server")
    return server is not None and is_loopback(server[0])
