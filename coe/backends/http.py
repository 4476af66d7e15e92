"""What a backend needs of an HTTP client: one origin, JSON out, bytes back, four time limits.

Two clients implement it and pass the same tests: `lean` (the default, for its speed) and
`aiohttp_client`. A client is bound to one origin when it is made, together with its credentials,
and follows no redirect: the key cannot reach any other host.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import coe
from coe.errors import BackendTimeout, ConfigError
from coe.protocols import BackendSpec
from coe.types import Timeouts

MAX_HEADER_BYTES = 64 * 1024
MAX_HEADERS = 256
MAX_BODY_BYTES = 256 * 1024 * 1024
PAUSE_BYTES = 256 * 1024  # unread bytes of a stream at which its connection stops reading


class Response(Protocol):
    """An answer whose headers have arrived. Always close it; closing twice is fine.

    Attributes:
        status: of the final answer, never 1xx.
    """

    status: int

    def header(self, name: str) -> str:
        """Return a header's value, "" where it is absent. `name` is in lower case."""

    async def read(self) -> bytes:
        """Return the whole body.

        Raises:
            BackendTimeout: a time limit passed.
            BackendProtocolError: the body is cut off, not HTTP, or over the limit.
        """

    async def receive(self) -> bytes:
        """Return the next bytes of the body, everything that has arrived; b"" is its end.

        Raises:
            BackendTimeout: a time limit passed.
            BackendProtocolError: the body is cut off or not HTTP.
        """

    def started(self) -> None:
        """Say that content has arrived: from now on `idle_s` applies, not `first_token_s`."""

    def release(self) -> None:
        """Say that the rest of the body, if any, does not matter: it holds the end mark at most."""

    def close(self) -> None:
        """End the exchange. The connection is cut, at once, unless the body has ended."""


class Client(Protocol):
    """A pool of connections to one origin. Not thread-safe: it belongs to one event loop."""

    async def post(
        self, path: str, body: bytes, timeouts: Timeouts, *, streamed: bool, is_part: bool = False
    ) -> Response:
        """Send a JSON body to `path` under the base address; return once headers are here.

        With `is_part`, the header `coe.types.PART` says that a panel asks. Where the request is
        traced, `coe.telemetry.trace.OUTGOING` goes with it.

        Where the answer is not streamed, the whole body may be awaited too; of the limits, then,
        `connect_s` and `total_s` apply (a server that does not stream is silent until it is done).

        Raises:
            BackendUnreachable: refused, no such name, TLS, or reset before an answer.
            BackendTimeout: a time limit passed; the message says which.
            BackendProtocolError: the answer is not HTTP.
        """

    async def get(self, path: str, timeouts: Timeouts) -> Response:
        """Like `post`, without a body and not streamed."""

    async def aclose(self) -> None:
        """Cut all connections. Calls in flight fail with BackendUnreachable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a client connects to, and the headers it sends there and nowhere else.

    Attributes:
        name: of the backend, for error messages; addresses are not shown to clients.
        host: for the connection and for TLS, without brackets.
        authority: for the `host` header.
        base: path prefix, without a slash at its end.
    """

    name: str
    host: str
    port: int
    authority: str
    base: str
    tls: ssl.SSLContext | None
    headers: Mapping[str, str] = field(repr=False)

    @property
    def url(self) -> str:
        """The base address."""
        return f"{'https' if self.tls else 'http'}://{self.authority}{self.base}"


def origin(spec: BackendSpec, section: str = "backends") -> Origin:
    """Read the address and the headers of an entry of a section of the composition.

    Raises:
        ConfigError: the address or a header cannot be used; says which and why.
    """
    where = f"{section}.{spec.name}"
    if not spec.url:
        raise ConfigError(f"{where}.url: type `{spec.type}` needs an address")
    try:
        parts = urlsplit(spec.url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"{where}.url: {error}") from error
    if parts.scheme not in {"http", "https"} or not host:
        raise ConfigError(
            f"{where}.url: expected http://HOST[:PORT][/v1] or https://…; this starts with"
            f" {spec.url[:12]!r}"
        )
    if parts.username or parts.query or parts.fragment:
        raise ConfigError(
            f"{where}.url: an address holds no user, query or fragment;"
            " a key belongs in `api_key`, by reference"
        )
    authority = parts.netloc
    return Origin(
        name=spec.name,
        host=host,
        port=port or (443 if parts.scheme == "https" else 80),
        authority=authority,
        base=parts.path.rstrip("/"),
        tls=_tls(spec, where) if parts.scheme == "https" else None,
        headers=_headers(spec, where),
    )


def client(spec: BackendSpec) -> Client:
    """Make the client that the spec names: `lean` or `aiohttp`; the backend's own option wins.

    Raises:
        ConfigError: no such client, or an address or header that cannot be used.
    """
    kind = spec.options.get("http_client", spec.http_client)
    if kind == "lean":
        from coe.backends.lean import LeanClient

        return LeanClient(origin(spec))
    if kind == "aiohttp":
        from coe.backends.aiohttp_client import AiohttpClient

        return AiohttpClient(origin(spec))
    raise ConfigError(f"backends.{spec.name}: http_client is `lean` or `aiohttp`, not {kind!r}")


def late(name: str, which: str, limit_s: float) -> BackendTimeout:
    """Return the error for a limit that passed: `connect`, `first token`, `idle` or `total`."""
    what = {
        "connect": "did not accept a connection",
        "first token": "sent no first token",
        "idle": "fell silent in mid-answer (idle)",
        "total": "took too long in all (total)",
    }[which]
    return BackendTimeout(f"backend `{name}` {what}: limit {limit_s:g} s")


def _tls(spec: BackendSpec, where: str) -> ssl.SSLContext:
    ca_file = spec.options.get("ca_file")
    if ca_file is None:
        return ssl.create_default_context()
    path = Path(spec.folder, str(ca_file))
    try:
        return ssl.create_default_context(cafile=path)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{where}.ca_file: {path}: {error}") from error


def _headers(spec: BackendSpec, where: str) -> dict[str, str]:
    headers = {"user-agent": f"coe/{coe.__version__}"}
    if spec.api_key:
        headers["authorization"] = f"Bearer {spec.api_key}"
    headers |= {name.lower(): value for name, value in spec.headers.items()}
    for name, value in headers.items():
        # The value may be a key: name the header, never show what it holds.
        if not value.isascii() or any(ord(letter) < 32 or ord(letter) == 127 for letter in value):  # noqa: PLR2004
            raise ConfigError(
                f"{where}: the value of header `{name}` holds a line break, a control or a"
                " non-ASCII character; check the file or variable that it comes from"
            )
        if not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
            raise ConfigError(f"{where}.headers: {name!r} is not a header name")
        if name in {"host", "content-length", "transfer-encoding", "connection", "accept-encoding"}:
            raise ConfigError(f"{where}.headers: `{name}` is set by the gateway; remove it")
    return headers
