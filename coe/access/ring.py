"""All keys of a gateway, in memory: who shows which is known without asking anybody.

Whoever changes a key changes the store; every gateway follows within a second: at once where the
store tells of changes, and by looking at its version number twice a second where it does not. A
store that does not answer changes nothing for the keys that are known.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import NamedTuple, Protocol

from coe.access import key as keys
from coe.access.key import Key, Wish
from coe.errors import CoEError, NotFound
from coe.identity import Identity

logger = logging.getLogger(__name__)
audit = logging.getLogger("coe.audit")
audit.setLevel(logging.INFO)  # whatever is logged of requests

EVERY_S = 0.4


class KeyStore(Protocol):
    """Where keys are kept. Every method may raise CoEError: it cannot be reached."""

    async def version(self) -> int:
        """Return a number that grows with each change."""

    async def read(self) -> tuple[int, list[Key]]:
        """Return all keys, revoked ones too, with the version that they are of."""

    async def add(self, key: Key) -> None:
        """Keep a new key."""

    async def change(self, key_id: str, change: Callable[[Key], Key]) -> Key | None:
        """Replace a key by what `change` makes of it, at once; None where there is none."""

    def listening(self, told: Callable[[], None]) -> AbstractAsyncContextManager[None]:
        """Have `told` called at changes meanwhile, as far as the store knows of them."""


class _Entry(NamedTuple):
    """A key that works."""

    digest: bytes
    until: float
    identity: Identity
    former: bytes
    former_until: float


class Keyring:
    """The keys. Belongs to one event loop.

    Attributes:
        is_known: whether they could be read since the start.
    """

    def __init__(
        self,
        store: KeyStore,
        *,
        every_s: float = EVERY_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Store the parts; `clock` says seconds since 1970."""
        self.is_known = False
        self._store = store
        self._every_s = every_s
        self._clock = clock
        self._version = 0
        self._keys: dict[str, Key] = {}
        self._entries: dict[bytes, _Entry] = {}
        self._wake = asyncio.Event()
        self._refreshing = asyncio.Lock()
        self._trouble = ""

    def identify(self, shown: bytes) -> Identity | None:
        """Return whose key a value of `authorization` shows; None for nobody's that works now."""
        parts = keys.split(shown)
        if parts is None:
            return None
        entry = self._entries.get(parts[0])
        if entry is None:
            return None
        now = self._clock()
        fits = keys.fits(parts[1], entry.digest) or (
            now < entry.former_until and keys.fits(parts[1], entry.former)
        )
        return entry.identity if fits and now < entry.until else None

    def holder(self, key_id: str) -> Identity | None:
        """Return who holds a key, by its id; None where it works no more."""
        entry = self._entries.get(key_id.encode())
        return entry.identity if entry is not None and self._clock() < entry.until else None

    @property
    def keys(self) -> Mapping[str, Key]:
        """All that are known, revoked ones too, by id, the oldest first."""
        return self._keys

    @property
    def working(self) -> int:
        """How many keys work now."""
        now = self._clock()
        return sum(now < entry.until for entry in self._entries.values())

    @property
    def is_stale(self) -> bool:
        """Whether the store did not answer when it was last asked: changes are not seen."""
        return bool(self._trouble)

    async def add(self, wish: Wish, *, by: str) -> tuple[Key, str]:
        """Make a key; return it, and the text that its holder shows, which nobody sees again.

        Args:
            wish: what it is to be.
            by: who asks for it.

        Raises:
            CoEError: it cannot be kept.
        """
        key, text = keys.issue(wish, at=self._clock(), by=by)
        await self._store.add(key)
        await self.refresh()
        return key, text

    async def revoke(self, key_id: str, *, by: str) -> Key:
        """End a key for good.

        Raises:
            NotFound: there is none of that id.
            CoEError: it cannot be kept.
        """
        at = self._clock()
        return await self._change(key_id, lambda key: keys.revoked(key, at=at, by=by))

    async def rotate(self, key_id: str, *, by: str, grace_s: float = 0.0) -> tuple[Key, str]:
        """Give a key another secret; return it and its new text.

        Args:
            key_id: which.
            by: who asks for it.
            grace_s: the old secret works on for so long.

        Raises:
            NotFound: there is none of that id, or it was revoked.
            CoEError: it cannot be kept.
        """
        text = ""
        old_until = self._clock() + grace_s

        def renew(key: Key) -> Key:
            nonlocal text
            if key.revoked is not None:
                raise NotFound(f"key `{key_id:.40}` was revoked: make another one", param="id")
            changed, text = keys.renewed(key, by=by, old_until=old_until)
            return changed

        return await self._change(key_id, renew), text

    async def refresh(self) -> None:
        """Take over what has changed. Raises CoEError where the store does not answer."""
        async with self._refreshing:  # else an older answer could come after a newer one
            if self.is_known and await self._store.version() == self._version:
                return
            version, found = await self._store.read()
            self._take(version, found)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow the store meanwhile; what it holds now is known before the block begins."""
        await self._try()
        async with self._store.listening(self._wake.set):
            task = asyncio.create_task(self._follow())
            try:
                yield
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def _change(self, key_id: str, change: Callable[[Key], Key]) -> Key:
        key = await self._store.change(key_id, change)
        if key is None:
            raise NotFound(f"no key `{key_id:.40}`", param="id")
        await self.refresh()
        return key

    async def _follow(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._wake.wait()
            self._wake.clear()
            await self._try()

    async def _try(self) -> None:
        """Refresh; say so once where that cannot be, and once where it can again."""
        try:
            await self.refresh()
        except CoEError as error:
            if not self._trouble:
                logger.error(  # noqa: TRY400 - operators want the sentence
                    "keys: %s; those that are known work on, changes are not seen", error.message
                )
            self._trouble = error.message
        except Exception:  # a supervisor: the next look may do
            if not self._trouble:
                logger.exception("keys: those that are known work on, changes are not seen")
            self._trouble = "what is kept cannot be read"
        else:
            if self._trouble:
                logger.warning("keys: changes are seen again")
            self._trouble = ""

    def _take(self, version: int, found: Iterable[Key]) -> None:
        """Put what was read in the place of what is known, and say what is new of it.

        A store whose version went back has lost what it held. Keys are never removed from one, so
        nothing that is known is given up then, and no revocation taken back.
        """
        now = {key.id: key for key in found}
        if version < self._version:
            logger.error("keys: the store has lost some; those that are known work on")
            ended = {name: key for name, key in self._keys.items() if key.revoked is not None}
            now = {**self._keys, **now, **ended}
        if self.is_known:
            for name, key in now.items():
                if (what := _difference(self._keys.get(name), key)) is not None:
                    audit.info("key %s (%s) %s by %s", name, key.name, what, key.changed_by)
        self._version = version
        self._keys = dict(sorted(now.items(), key=lambda row: (row[1].created, row[0])))
        self._entries = {
            name.encode(): _Entry(
                digest=bytes.fromhex(key.digest),
                until=key.until,
                identity=key.identity,
                former=bytes.fromhex(key.former),
                former_until=key.former_until,
            )
            for name, key in self._keys.items()
            if key.revoked is None
        }
        self.is_known = True


def _difference(before: Key | None, now: Key) -> str | None:
    """Say what became of a key, for the log; None where nothing did."""
    if before is None:
        team = f" of team {now.team}" if now.team else ""
        return f"added{team} for {', '.join(now.scopes)}"
    if now.revoked is not None:
        return "revoked" if before.revoked is None else None
    return "rotated" if before.digest != now.digest else None
