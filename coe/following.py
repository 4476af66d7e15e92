"""A gateway that follows its composition file, and knows what it served since when.

    look:  are the file and the files that it names as they were? every quarter of a second
    rest:  who writes a file may be half way through: it is read once it is as it was a moment ago
    take:  it is served, or it is told why not, and what was served before goes on being served

Files are looked at by their size, time and inode. That sees a file that another one replaces, and
a folder of links that is switched over, as Kubernetes does with its ConfigMaps; notices of the
kernel would not tell of some of these, nor of a disk on the network.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from coe import applied
from coe.composition import Composition
from coe.composition.changes import changes
from coe.composition.lock import lock_path, named_files
from coe.errors import CoEError, CompositionError, ConfigError, Problem
from coe.live import Live
from coe.panels import applied as applied_panels
from coe.versions import Version, Versions, digests, text_digest, version_of

logger = logging.getLogger(__name__)

EVERY_S = 0.25
REST_S = 0.1
MOST_REST_S = 1.0
"""A file that never comes to rest is read after so long."""
AGAIN_S = 5.0
"""What did not answer is asked again after so long; what is wrong waits until it is put right."""

_UNSEEN = "?"  # in the place of a digest

Marks = dict[Path, tuple[int, int, int] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why the file as it is now is not served.

    Attributes:
        at: since when, in seconds since the epoch.
        problems: each with its place; empty where the file itself is all right.
        is_passing: whether trying again may help: something did not answer.
    """

    at: float
    message: str
    problems: tuple[Problem, ...] = ()
    is_passing: bool = False


class Following:
    """Follows the files of what is served. Belongs to one event loop.

    Attributes:
        version: what is served; its number is 0 where it could not be kept.
        failure: why the file is not what is served; None while it is.
        versions: what was served before.
    """

    def __init__(
        self,
        live: Live,
        versions: Versions,
        *,
        follows: bool = True,
        every_s: float = EVERY_S,
        rest_s: float = REST_S,
    ) -> None:
        """Store the parts.

        Args:
            live: what serves.
            versions: where what was served is kept.
            follows: whether the files are looked at; else they are read when somebody says so.
            every_s: between two looks, in seconds.
            rest_s: a file that is as it was so long ago is at rest.
        """
        self.versions = versions
        self.follows = follows
        self.version = Version(
            at=time.time(), fingerprint=live.composition.fingerprint, why="start"
        )
        self.failure: Failure | None = None
        self._live = live
        self._every_s, self._rest_s = every_s, rest_s
        self._files = files_of(live.composition)
        self._held: dict[str, str] = {}
        self._taken: dict[str, str] = {}
        self._refused: dict[str, str] | None = None
        self._again_at = 0.0
        self._reading = asyncio.Lock()
        self._reloads = {"served": 0, "refused": 0}
        live.when_swapped = self._note

    @property
    def is_stale(self) -> bool:
        """Whether what is served is not what the file says."""
        return self.failure is not None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that what is served is made of, or is to be made of."""
        return self._files

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep what is served as a version; follow the files meanwhile, if that is wanted."""
        self._held = await asyncio.to_thread(digests, self._files)
        self._held[str(self._live.composition.source)] = text_digest(self._live.composition.text)
        await self._keep("start", ())
        if not self.follows:
            yield
            return
        task = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def read(self, why: str = "file") -> bool:
        """Serve the file as it is now; say whether that is what is served then."""
        async with self._reading:
            return await self._read(why, await asyncio.to_thread(digests, self._files))

    async def _follow(self) -> None:
        seen: Marks = {}
        told = ""
        while True:
            await asyncio.sleep(self._every_s)
            try:
                seen = await self._look(seen)
            except Exception as error:  # a supervisor: the next look may do
                if told != repr(error):
                    logger.exception("the composition's files are not followed")
                told = repr(error)
            else:
                told = ""

    async def _look(self, seen: Marks) -> Marks:
        """Read what has changed; return what was seen."""
        found = await asyncio.to_thread(marks_of, self._files)
        is_due = self.failure is not None and self.failure.is_passing and self._is_again()
        if found == seen and not is_due:
            return seen
        found = await self._at_rest(found)
        async with self._reading:
            held = await asyncio.to_thread(digests, self._files)
            if is_due or not self._is_known(held):
                await self._read(_named(self._held, held), held)
        return found

    async def _at_rest(self, found: Marks) -> Marks:
        """Return how the files are, once they are as they were a moment ago."""
        last = time.monotonic() + MOST_REST_S
        while time.monotonic() < last:
            await asyncio.sleep(self._rest_s)
            before, found = found, await asyncio.to_thread(marks_of, self._files)
            if before == found:
                break
        return found

    def _is_known(self, held: dict[str, str]) -> bool:
        """Whether the files are those that are served, or those that were refused."""
        return held == self._held if self._refused is None else held == self._refused

    def _is_again(self) -> bool:
        return time.monotonic() >= self._again_at

    async def _read(self, why: str, held: dict[str, str]) -> bool:
        """Serve the file; `held` are the digests of its files, taken before they are read."""
        self._taken = held
        try:
            await self._live.edit(why=why)
        except CoEError as error:
            self._fail(error)
            others = error.files if isinstance(error, CompositionError) else ()
            self._files = tuple(dict.fromkeys((*self._files, *others)))
            # Files that it names first now may be there since: they count as not looked at yet.
            self._refused = {**dict.fromkeys(map(str, others), _UNSEEN), **held}
            return False
        except Exception as error:  # noqa: BLE001 - a bug, maybe a plugin's: what is served goes on
            self._fail(CoEError(f"{type(error).__name__}: {error}"), error)
            self._refused = held
            return False
        finally:
            self._taken = {}
        return True

    def _fail(self, error: CoEError, unexpected: Exception | None = None) -> None:
        """Note why the file is not served; it is said once, where it is a bug with its place."""
        self._reloads["refused"] += 1
        self._again_at = time.monotonic() + AGAIN_S
        before = self.failure
        if before is None or before.message != error.message:
            logger.error("the composition was not replaced: %s", error.message, exc_info=unexpected)
        is_same = before is not None and before.message == error.message
        self.failure = Failure(
            at=before.at if before is not None and is_same else time.time(),
            message=error.message,
            problems=error.problems if isinstance(error, CompositionError) else (),
            is_passing=not isinstance(error, ConfigError),
        )

    async def _note(self, then: Composition, now: Composition, why: str) -> None:
        """Take note of what is served from now on."""
        self.failure, self._refused = None, None
        self._files = files_of(now)
        # What was written since it was read is not what is served: the next look is to see it.
        known = {**self._held, str(now.source): text_digest(now.text), **self._taken}
        fresh = [path for path in self._files if str(path) not in known]
        known |= await asyncio.to_thread(digests, fresh)
        self._held = {str(path): known[str(path)] for path in self._files}
        found = changes(then, now)
        if found or then is not now:
            words = "; ".join(found) or f"nothing that it says has changed ({why})"
            logger.info("serving composition %s: %s", now.fingerprint, words)
        await self._keep(why, found)
        self._reloads["served"] += 1

    async def _keep(self, why: str, found: tuple[str, ...]) -> None:
        """Keep what is served as a version; that it cannot be is no reason not to serve it."""
        composition = self._live.composition
        version = await asyncio.to_thread(version_of, composition, why, found)
        try:
            kept = await asyncio.to_thread(self.versions.keep, version)
        except ConfigError as error:
            logger.warning("what is served cannot be gone back to: %s", error.message)
            self.version = version
        else:
            self.version = replace(version, number=kept.number)

    def families(self) -> Iterator[Metric]:
        """Yield what Prometheus is told."""
        yield GaugeMetricFamily(
            "coe_composition_stale",
            "1 while the composition file is not what is served: it cannot be",
            value=self.is_stale,
        )
        yield GaugeMetricFamily(
            "coe_composition_since_seconds",
            "When what is served began to be, in seconds since 1970",
            value=self.version.at,
        )
        reloads = CounterMetricFamily(
            "coe_composition_reloads",
            "Times that another composition was to be served, by what came of it",
            labels=("result",),
        )
        for result, count in self._reloads.items():
            reloads.add_metric((result,), count)
        yield reloads


def files_of(composition: Composition) -> tuple[Path, ...]:
    """Return the files that a composition is made of, the file itself first."""
    source = composition.source
    beside = (
        lock_path(composition),
        source.with_suffix(applied.SUFFIX),
        source.with_suffix(applied_panels.SUFFIX),
    )
    named = named_files(composition)
    listed = (source, *composition.files, *composition.secrets, *beside, *named)
    return tuple(dict.fromkeys(listed))


def marks_of(files: Iterable[Path]) -> Marks:
    """Return what shows that a file was written: its size, time and inode; None where it is not."""
    marks: Marks = {}
    for path in files:
        try:
            found = path.stat()
        except OSError:
            marks[path] = None
        else:
            marks[path] = (found.st_ino, found.st_size, found.st_mtime_ns)
    return marks


def _named(then: dict[str, str], now: dict[str, str]) -> str:
    """Say in a few words which files have changed."""
    names = [Path(path).name for path, mark in now.items() if then.get(path) != mark]
    return ", ".join(names[:3]) or "file"
