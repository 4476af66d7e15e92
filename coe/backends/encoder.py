"""An OpenAI-compatible `/v1/embeddings` server as encoder: TEI, vLLM, llama.cpp, a cloud.

Synchronous, because routers are: the pipeline calls it in a worker thread. Connections are kept
alive, one per thread that encodes at the same time.

    encoders:
      remote: {type: http, url: "http://127.0.0.1:8002/v1", model: bge-m3, dim: 1024}
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import time
import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from coe.backends.http import Origin, origin
from coe.backends.lean import why_unreachable
from coe.backends.rejection import rejection
from coe.errors import ConfigError, RouterUnavailable
from coe.protocols import BackendSpec, EncoderSpec

OPTIONS = frozenset({"url", "model", "dim", "api_key", "headers", "timeout_s", "batch", "ca_file"})
_OK = 200
_KEPT_S = 4.0  # common servers close an idle connection after five seconds


def build(spec: EncoderSpec) -> HttpEncoder:
    """Make the encoder without connecting.

    Raises:
        ConfigError: an option is missing, unknown or of the wrong kind.
    """
    options = spec.options
    where = f"encoders.{spec.name}"
    if unknown := sorted(set(options) - OPTIONS):
        known = ", ".join(sorted(OPTIONS))
        raise ConfigError(f"{where}: unknown key `{unknown[0]}` for type `http`; known: {known}")
    for key in ("url", "model"):
        if not isinstance(options.get(key), str) or not options[key]:
            raise ConfigError(f"{where}.{key}: missing, or not a text; an `http` encoder needs it")
    where_from = BackendSpec(
        name=spec.name,
        type="http",
        url=options["url"],
        api_key=options.get("api_key"),
        headers=options.get("headers") or {},
        options={key: options[key] for key in ("ca_file",) if key in options},
        folder=spec.folder,
    )
    return HttpEncoder(
        origin(where_from, section="encoders"),
        model=options["model"],
        dim=_whole_number(options, "dim", None, where),
        timeout_s=_seconds(options, where),
        batch=_whole_number(options, "batch", 64, where),
        secret=options.get("api_key"),
    )


class HttpEncoder:
    """See `coe.protocols.Encoder`."""

    def __init__(
        self,
        origin: Origin,
        *,
        model: str,
        dim: int,
        timeout_s: float,
        batch: int,
        secret: str | None = None,
    ) -> None:
        self.name = origin.name
        self.dim = dim
        self.fingerprint = hashlib.sha256(f"{origin.url} {model} {dim}".encode()).hexdigest()[:16]
        self._origin = origin
        self._model = model
        self._timeout_s = timeout_s
        self._batch = batch
        self._secret = secret
        # A deque's append and pop are atomic: a thread takes a connection, or opens one.
        self._idle: deque[tuple[http.client.HTTPConnection, float]] = deque()
        weakref.finalize(self, _close, self._idle)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `Encoder.encode`.

        Raises:
            RouterUnavailable: the server does not answer, refuses, or answers with other vectors.
        """
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        for start in range(0, len(texts), self._batch):
            part = texts[start : start + self._batch]
            vectors[start : start + len(part)] = self._vectors(self._ask(part), len(part))
        return vectors

    def _ask(self, texts: Sequence[str]) -> bytes:
        # Servers refuse an empty text, and a lone surrogate has no bytes.
        inputs = [text.encode("utf-8", "replace").decode() or " " for text in texts]
        body = orjson.dumps({"model": self._model, "input": inputs, "encoding_format": "float"})
        headers = {**self._origin.headers, "content-type": "application/json"}
        while True:
            connection, kept = self._connection()
            try:
                connection.request(
                    "POST", f"{self._origin.base}/embeddings", body=body, headers=headers
                )
                response = connection.getresponse()
                answer = response.read()
            except (ConnectionError, http.client.BadStatusLine) as error:
                connection.close()
                if kept:
                    continue  # the server had closed a kept connection: once more, on another
                raise self._unavailable(_why(error)) from error
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                raise self._unavailable(_why(error)) from error
            if response.will_close:
                connection.close()
            else:
                self._idle.append((connection, time.monotonic()))
            if response.status != _OK:
                refused = rejection(self.name, response.status, answer, _no_header, self._secret)
                unavailable = RouterUnavailable(refused.message.replace("backend", "encoder", 1))
                unavailable.logged = refused.logged.replace("backend", "encoder", 1)
                raise unavailable
            return answer

    def _connection(self) -> tuple[http.client.HTTPConnection, bool]:
        """Return a connection, and whether it was kept from an earlier request."""
        with contextlib.suppress(IndexError):
            while True:
                connection, since = self._idle.pop()
                if time.monotonic() - since < _KEPT_S:
                    return connection, True
                connection.close()
        host, port = self._origin.host, self._origin.port
        if self._origin.tls is None:
            return http.client.HTTPConnection(host, port, timeout=self._timeout_s), False
        return http.client.HTTPSConnection(
            host, port, timeout=self._timeout_s, context=self._origin.tls
        ), False

    def _vectors(self, answer: bytes, count: int) -> NDArray[np.float32]:
        try:
            rows = sorted(orjson.loads(answer)["data"], key=lambda row: row["index"])
            vectors = np.asarray([row["embedding"] for row in rows], dtype=np.float32)
        except (ValueError, KeyError, TypeError) as error:
            raise self._unavailable("answered without embeddings") from error
        if vectors.shape != (count, self.dim):
            dim = vectors.shape[1] if vectors.ndim == 2 else 0  # noqa: PLR2004
            raise self._unavailable(
                f"answered with {len(rows)} vectors of {dim} numbers, not {count} of {self.dim};"
                " check `dim`"
            )
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.isfinite(lengths).all() or not lengths.all():
            raise self._unavailable("answered with a vector that has no direction")
        unit: NDArray[np.float32] = vectors / lengths
        return unit

    def _unavailable(self, why: str) -> RouterUnavailable:
        return RouterUnavailable(f"encoder `{self.name}`: {why}")


def _close(idle: deque[tuple[http.client.HTTPConnection, float]]) -> None:
    for connection, _ in idle:
        connection.close()


def _no_header(_: str) -> str:
    return ""


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ConnectionResetError | http.client.HTTPException):
        return "the connection ended before an answer"
    return why_unreachable(error) if isinstance(error, OSError) else "what it sent is not HTTP"


def _whole_number(options: Mapping[str, Any], key: str, default: int | None, where: str) -> int:
    value = options.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{where}.{key}: expected a whole number above 0, not {value!r}")
    return value


def _seconds(options: Mapping[str, Any], where: str) -> float:
    value = options.get("timeout_s", 5.0)
    if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
        raise ConfigError(f"{where}.timeout_s: expected seconds above 0, not {value!r}")
    return float(value)
