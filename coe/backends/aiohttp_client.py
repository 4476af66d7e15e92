"""The same client on aiohttp: slower, and there when the lean one is suspected."""

from __future__ import annotations

import io

import aiohttp

from coe.backends.http import MAX_BODY_BYTES, MAX_HEADER_BYTES, PAUSE_BYTES, Origin, late
from coe.backends.lean import unreachable
from coe.backends.limits import Limits
from coe.errors import BackendError, BackendProtocolError, BackendUnreachable
from coe.telemetry.trace import HEADER, OUTGOING
from coe.types import PART, Timeouts

_LARGE_BYTES = 1 << 20


class AiohttpClient:
    """See `coe.backends.http.Client`."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._session: aiohttp.ClientSession | None = None
        self._open: set[AiohttpResponse] = set()
        self._closed = False

    async def post(
        self, path: str, body: bytes, timeouts: Timeouts, *, streamed: bool, is_part: bool = False
    ) -> AiohttpResponse:
        """See `Client.post`."""
        headers = {"content-type": "application/json"}
        if is_part:
            headers[PART.decode()] = "1"
        if parent := OUTGOING.get():
            headers[HEADER.decode()] = parent.decode()
        return await self._request("POST", path, body, timeouts, streamed=streamed, headers=headers)

    async def get(self, path: str, timeouts: Timeouts) -> AiohttpResponse:
        """See `Client.get`."""
        return await self._request("GET", path, None, timeouts, streamed=False)

    async def aclose(self) -> None:
        """See `Client.aclose`."""
        self._closed = True
        for response in tuple(self._open):
            response.fail(self._was_closed())
        if self._session is not None:
            await self._session.close()

    async def _request(
        self,
        method: str,
        path: str,
        body: bytes | None,
        timeouts: Timeouts,
        *,
        streamed: bool,
        headers: dict[str, str] | None = None,
    ) -> AiohttpResponse:
        if self._closed:
            raise self._was_closed()
        if self._session is None:
            self._session = self._opened()
        limits = Limits(self._origin.name, timeouts, streamed=streamed)
        while True:
            trace: dict[str, bool] = {}
            try:
                async with limits.next():
                    raw = await self._session.request(
                        method,
                        f"{self._origin.url}/{path}",
                        data=_payload(body),
                        headers=headers,
                        allow_redirects=False,
                        trace_request_ctx=trace,
                        timeout=aiohttp.ClientTimeout(total=None, connect=timeouts.connect_s),
                    )
            except aiohttp.ConnectionTimeoutError as error:
                raise late(self._origin.name, "connect", timeouts.connect_s) from error
            except (aiohttp.ClientError, OSError) as error:
                if trace.get("reused") and _is_stale(error) and not self._closed:
                    continue  # the server had closed a kept connection: once more, on another
                raise self._translated(error) from error
            return AiohttpResponse(self._origin.name, raw, limits, self._open)

    def _opened(self) -> aiohttp.ClientSession:
        """Make the session; it needs the running loop, so not before the first call."""
        tracer = aiohttp.TraceConfig()
        tracer.on_connection_reuseconn.append(_note_reuse)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._origin.tls or True),
            headers={**self._origin.headers, "accept-encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[tracer],
            read_bufsize=PAUSE_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            auto_decompress=False,
        )

    def _translated(self, error: Exception) -> BackendUnreachable | BackendProtocolError:
        name = self._origin.name
        if self._closed:
            return self._was_closed()
        if isinstance(error, aiohttp.ClientResponseError):
            return BackendProtocolError(f"backend `{name}` sent what is not HTTP")
        if isinstance(error, aiohttp.ClientConnectorError):
            cause = error.os_error
            return BackendUnreachable(unreachable(name, cause))
        return BackendUnreachable(f"backend `{name}` closed the connection before it answered")

    def _was_closed(self) -> BackendUnreachable:
        return BackendUnreachable(f"backend `{self._origin.name}` was closed")


class AiohttpResponse:
    """See `coe.backends.http.Response`."""

    def __init__(
        self,
        name: str,
        raw: aiohttp.ClientResponse,
        limits: Limits,
        opened: set[AiohttpResponse],
    ) -> None:
        self.status = raw.status
        self._name = name
        self._raw = raw
        self._limits = limits
        self._opened = opened
        opened.add(self)

    def header(self, name: str) -> str:
        """See `Response.header`."""
        return self._raw.headers.get(name, "")

    async def read(self) -> bytes:
        """See `Response.read`."""
        body = bytearray()
        while piece := await self.receive():
            body += piece
            if len(body) > MAX_BODY_BYTES:
                raise BackendProtocolError(
                    f"backend `{self._name}` sent more than {MAX_BODY_BYTES >> 20} MiB"
                )
        return bytes(body)

    async def receive(self) -> bytes:
        """See `Response.receive`."""
        try:
            async with self._limits.next():
                return await self._raw.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise BackendProtocolError(f"backend `{self._name}` hung up in mid-answer") from error

    def started(self) -> None:
        """See `Response.started`."""
        self._limits.started = True

    def release(self) -> None:
        """See `Response.release`."""
        self.close()

    def close(self) -> None:
        """See `Response.close`."""
        self._opened.discard(self)
        self._raw.close()  # keeps the connection when the body has ended

    def fail(self, error: BackendError) -> None:
        """Let whoever reads get `error`."""
        self._limits.fail(error)


def _payload(body: bytes | None) -> bytes | io.BytesIO | None:
    """Return a body as aiohttp wants it: it warns of large ones in one piece."""
    return io.BytesIO(body) if body is not None and len(body) > _LARGE_BYTES else body


def _is_stale(error: Exception) -> bool:
    """Whether the connection ended before the first byte of an answer."""
    ended = isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)
    return ended and not isinstance(error, aiohttp.ClientConnectorError)


async def _note_reuse(_session: object, context: object, _parameters: object) -> None:
    """Remember in the request's own trace that it was sent on a kept connection."""
    context.trace_request_ctx["reused"] = True  # type: ignore[attr-defined]  # aiohttp types it as Any
