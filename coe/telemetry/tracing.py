"""Traces of a process: begun and ended by the event loop, sent by a thread behind it.

The hot path draws whether a request is traced, and appends to a queue when it has ended. The queue
is bounded: where the collector is slow or gone, traces are dropped and counted, and no request
waits or fails.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator, Mapping
from random import getrandbits
from threading import Event, Thread
from urllib.parse import urlsplit

from prometheus_client.metrics_core import Metric

from coe.composition import Composition
from coe.telemetry.otlp import Exporter
from coe.telemetry.series import results
from coe.telemetry.spans import Server, Span, spans_of
from coe.telemetry.trace import CURRENT, OUTGOING, Ended, Trace, is_drawn, parent_of

logger = logging.getLogger(__name__)

INTERVAL_S = 0.5
MOST_WAITING = 1024
CLOSE_S = 2.0
"""How long the end of the process waits for the last spans."""

_AT_ONCE = 32  # traces in a batch: what is made of them holds the interpreter for some milliseconds
_COMPLAIN_EVERY_S = 60.0


class Tracing:
    """Which requests are traced, and who is told.

    Attributes:
        share: of the requests, in [0, 1]; 0: nobody is told of any.
    """

    def __init__(self, *, interval_s: float = INTERVAL_S, most: int = MOST_WAITING) -> None:
        """Args are how long traces are gathered, and how many wait at most."""
        self.share = 0.0
        self._url = ""
        self._servers: Mapping[str, Server] = {}
        self._interval_s = interval_s
        self._most = most
        self._waiting: deque[Ended] = deque()
        self._sent = self._failed = self._dropped = 0
        self._signal = Event()
        self._thread: Thread | None = None
        self._is_closing = False
        self._complained = float("-inf")

    def follow(self, composition: Composition) -> None:
        """Trace what a composition says from now on, and tell its collector, if it has one."""
        observe = composition.observe
        self._url, self._servers = observe.traces, servers_of(composition)
        self.share = observe.trace_sample if observe.traces else 0.0
        if observe.traces and self._thread is None:
            # Now and not at the first request: it loads OpenTelemetry.
            self._thread = Thread(target=self._work, name="traces", daemon=True)
            self._thread.start()

    def begin(self, header: str | None, at_s: float) -> Trace | None:
        """Return the trace of a request that this task serves; None where it has none.

        Who asks decides where it says: a trace that others have begun is whole or not at all.

        Args:
            header: the request's `traceparent`.
            at_s: when it came, in seconds since the epoch.
        """
        parent = parent_of(header)
        trace_id = parent.trace_id if parent is not None else getrandbits(128) or 1
        trace = None
        if parent.is_sampled if parent is not None else is_drawn(trace_id, self.share):
            parent_id = parent.span_id if parent is not None else 0
            trace = Trace(trace_id, parent_id, int(at_s * 1e9))
        CURRENT.set(trace)
        OUTGOING.set(b"")  # requests of one connection may be served in one context
        return trace

    def begin_beside(self) -> Trace | None:
        """Return the trace of work about a traced request, which this task does from now on.

        None where nobody is told of any more.
        """
        trace = Trace(getrandbits(128) or 1, 0, time.time_ns()) if self.share else None
        CURRENT.set(trace)
        OUTGOING.set(b"")
        return trace

    def end(self, ended: Ended) -> None:
        """Take note of a traced request, or other work, that has ended."""
        CURRENT.set(None)
        OUTGOING.set(b"")
        waiting = self._waiting
        if len(waiting) >= self._most:
            self._dropped += 1
            return
        waiting.append(ended)
        if len(waiting) == 1:
            self._signal.set()

    def close(self) -> None:
        """Send what waits, if that is quick, and end. Blocks its thread for some seconds."""
        self._is_closing = True
        self._signal.set()
        if self._thread is not None:
            self._thread.join(CLOSE_S)

    def families(self) -> Iterator[Metric]:
        """Yield what became of traces."""
        yield results(
            "coe_traces",
            "Traces of requests, lines of batches and shadows by whether the collector has them;"
            " `dropped`: it was too slow",
            {"sent": self._sent, "failed": self._failed, "dropped": self._dropped},
        )

    def _work(self) -> None:
        exporter = Exporter(self._url)
        while True:
            self._signal.wait()
            self._signal.clear()
            if not self._is_closing:
                time.sleep(self._interval_s)
            while self._waiting:
                if exporter.url != self._url and self._url:
                    exporter.close()
                    exporter = Exporter(self._url)
                self._send(exporter)
            if self._is_closing:
                exporter.close()
                return

    def _send(self, exporter: Exporter) -> None:
        """Send some of what waits."""
        batch = [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]
        try:
            spans: list[Span] = []
            for ended in batch:
                spans += spans_of(ended, self._servers)
            is_taken = exporter.send(spans)
        except Exception:  # a supervisor: whatever it is, the next ones are to be sent
            logger.exception("traces: a bug")
            is_taken = False
        if is_taken:
            self._sent += len(batch)
            return
        self._failed += len(batch)
        now = time.monotonic()
        if now - self._complained > _COMPLAIN_EVERY_S:
            self._complained = now
            logger.warning("the collector of `observe.traces` did not take spans; they are lost")


def servers_of(composition: Composition) -> dict[str, Server]:
    """Return where the backends of a composition are."""
    found = {}
    for name, entry in composition.backends.items():
        address = urlsplit(entry.url or "")
        found[name] = Server(entry.type, address.hostname or "", address.port or 0)
    return found
