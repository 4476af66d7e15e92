"""Metrics that are sent to a collector by OTLP, instead of being fetched by Prometheus.

Where to and how often is as OpenTelemetry's own variables say; without them nothing is sent. At
each interval the event loop reads what is counted, as for a scrape, and a thread behind it does the
rest. Where the collector is slow an interval is left out, and counted: numbers are those of the
whole life of the process, so the next one says it all.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from threading import Event, Thread
from typing import NamedTuple
from urllib.parse import urlsplit

from prometheus_client.metrics_core import Metric

from coe.errors import ConfigError
from coe.telemetry.instruments import instruments
from coe.telemetry.otlp import MetricExporter, is_installed
from coe.telemetry.series import results

logger = logging.getLogger(__name__)

CLOSE_S = 2.0
"""How long the end of the process waits for the last numbers."""
LEAST_MS = 100

_WHETHER = "OTEL_METRICS_EXPORTER"
_HOW_OFTEN = "OTEL_METRIC_EXPORT_INTERVAL"
_WHERE = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_HOW = ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PATH = "/v1/metrics"
_NOBODY = "http://localhost:4318"
_OFF = f"or switch it off with {_WHETHER}=none"


class Destination(NamedTuple):
    """Where metrics are sent, and how many seconds lie between two times."""

    url: str
    every_s: float


class Taken(NamedTuple):
    """What was counted at a time, in nanoseconds since the epoch."""

    families: tuple[Metric, ...]
    at_ns: int


class Pushing:
    """Sends what is counted in a process. Belongs to the event loop's thread."""

    def __init__(
        self, collect: Callable[[], Iterable[Metric]], destination: Destination | None
    ) -> None:
        """Store the parts; nothing is sent without a destination."""
        self._collect = collect
        self._destination = destination
        self._since_ns = time.time_ns()
        self._waiting: deque[Taken] = deque()
        self._signal = Event()
        self._is_closing = False
        self._is_failing = False
        self._sent = self._failed = self._dropped = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send at each interval meanwhile, and once in the end, if that is quick."""
        if self._destination is None:
            yield
            return
        # A thread of its own: the loop's would hold up the end of the process.
        thread = Thread(
            target=self._work, args=(self._destination.url,), name="metrics", daemon=True
        )
        thread.start()
        task = asyncio.create_task(self._take(self._destination.every_s))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self._take_now()
            self._is_closing = True
            self._signal.set()
            await asyncio.to_thread(thread.join, CLOSE_S)

    def families(self) -> Iterator[Metric]:
        """Yield what became of what was to be sent."""
        yield results(
            "coe_metric_exports",
            "Times that metrics were to be sent by OTLP, by whether the collector has them;"
            " `dropped`: it was too slow",
            {"sent": self._sent, "failed": self._failed, "dropped": self._dropped},
        )

    async def _take(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            self._take_now()

    def _take_now(self) -> None:
        """Have what is counted now sent, unless the last one still waits for that."""
        if self._waiting:
            self._dropped += 1
            return
        try:
            families = tuple(self._collect())
        except Exception:  # a supervisor: the next one may do
            logger.exception("metrics: a bug")
            return
        self._waiting.append(Taken(families, time.time_ns()))
        self._signal.set()

    def _work(self, url: str) -> None:
        exporter = None
        while True:
            self._signal.wait()
            self._signal.clear()
            while self._waiting:
                taken = self._waiting.popleft()
                try:
                    exporter = exporter or MetricExporter(url, self._since_ns)
                    is_taken = exporter.send(instruments(taken.families), taken.at_ns)
                except Exception:  # a supervisor, likewise
                    logger.exception("metrics: a bug")
                    is_taken = False
                self._note(is_taken=is_taken)
            if self._is_closing:
                if exporter is not None:
                    exporter.close()
                return

    def _note(self, *, is_taken: bool) -> None:
        """Count a time; the log says when the collector begins to fail, and nothing at the end."""
        if is_taken:
            self._sent += 1
        else:
            self._failed += 1
            if not self._is_failing and not self._is_closing:
                logger.warning("the collector of %s does not take metrics", _WHERE[0])
        self._is_failing = not is_taken


def destination(environ: Mapping[str, str]) -> Destination | None:
    """Return where metrics are sent; None for nowhere.

    They are sent where `OTEL_METRICS_EXPORTER` is `otlp`, or where it is not set and a collector is
    named. OpenTelemetry's default, a collector on this machine, counts in the first case alone.

    Args:
        environ: the process's variables; an empty one is none.

    Raises:
        ConfigError: a variable says what cannot be done.
    """
    whether = {word.strip() for word in environ.get(_WHETHER, "").split(",")} - {""}
    if unknown := whether - {"otlp", "prometheus", "none"}:
        raise ConfigError(
            f"{_WHETHER}: metrics cannot be sent by {min(unknown)!r}; by `otlp`, {_OFF}"
        )
    named = next((name for name in _WHERE if environ.get(name)), "")
    if "otlp" not in whether and (whether or not named):
        return None
    if not is_installed():
        raise ConfigError(
            f"{named or _WHETHER} needs OpenTelemetry: pip install 'coe-gateway[otel]', {_OFF}"
        )
    how = next((name for name in _HOW if environ.get(name)), "")
    if how and environ[how] != "http/protobuf":
        raise ConfigError(f"{how}: metrics are sent by `http/protobuf` alone; say so, {_OFF}")
    return Destination(_address(environ, named), _interval_s(environ))


def _address(environ: Mapping[str, str], named: str) -> str:
    """Return where metrics are sent. Raises ConfigError, which does not repeat it."""
    address = environ.get(named, _NOBODY)
    try:
        parts = urlsplit(address)
        _ = parts.port  # raises where the port is no number from 0 to 65535
        is_one = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        is_one = False
    if not is_one:
        raise ConfigError(f"{named}: not an http or https address, such as {_NOBODY}")
    return address if named == _WHERE[0] else address.rstrip("/") + _PATH


def _interval_s(environ: Mapping[str, str]) -> float:
    text = environ.get(_HOW_OFTEN) or "60000"
    if not (text.isascii() and text.isdecimal()) or int(text) < LEAST_MS:
        raise ConfigError(f"{_HOW_OFTEN}: milliseconds, from {LEAST_MS} on, not {text[:40]!r}")
    return int(text) / 1000
