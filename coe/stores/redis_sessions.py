"""The last decisions of sessions in Redis, behind what each replica remembers itself.

Writing never waits: what is new is sent behind the answers, as much at once as there is. The others
are told which sessions have a newer decision, so that they forget theirs. Nothing of a prompt is
here: keys and turns are digests.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import uuid4
from weakref import WeakSet

import orjson

from coe.errors import StoreUnavailable
from coe.sessions import MOST, Session, Sessions
from coe.stores.redis import Redis

logger = logging.getLogger(__name__)

CHANNEL = "sessions"
AT_ONCE = 500
AGAIN_S = 0.5
_KEY_BYTES = 16


class RedisSessions:
    """See the module, and `coe.sessions.Elsewhere`.

    Attributes:
        epoch: grows each time that messages of the others may have been lost.
        owed: decisions that Redis does not have yet.
    """

    def __init__(self, redis: Redis) -> None:
        """Store the connection."""
        self.epoch = 0
        self.owed: dict[bytes, tuple[Session, float]] = {}
        self._redis = redis
        self._me = uuid4().bytes
        self._followers: WeakSet[Sessions] = WeakSet()
        self._new = asyncio.Event()
        redis.when_back(self._forget_nothing_missed)

    def follow(self, sessions: Sessions) -> None:
        """Tell sessions which of them another replica decided since."""
        self._followers.add(sessions)

    def put(self, key: bytes, session: Session, ttl_s: float) -> None:
        """See `Elsewhere.put`."""
        self.owed.pop(key, None)
        self.owed[key] = (session, ttl_s)
        if len(self.owed) > MOST:
            del self.owed[next(iter(self.owed))]
        self._new.set()

    async def find(self, key: bytes) -> Session | None:
        """See `Elsewhere.find`."""
        if key in self.owed:
            return self.owed[key][0]
        try:
            raw = await self._redis.call("GET", self._name(key))
        except StoreUnavailable:
            return None
        return None if raw is None else _read(raw)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write behind the answers meanwhile; what is left, in the end."""
        task = asyncio.create_task(self._write())
        try:
            async with self._redis.listening(CHANNEL, self._hear):
                yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            with suppress(StoreUnavailable):
                while self.owed:
                    await self._flush()

    async def _write(self) -> None:
        while True:
            await self._new.wait()
            self._new.clear()
            try:
                while self.owed:
                    await self._flush()
            except StoreUnavailable:
                await asyncio.sleep(AGAIN_S)
                self._new.set()
            except Exception:  # a supervisor: what cannot be written is in memory
                logger.exception("sessions are not shared")
                self.owed.clear()

    async def _flush(self) -> None:
        """Write some of what is owed. Raises StoreUnavailable; it is owed then."""
        keys = list(self.owed)[:AT_ONCE]
        rows = {key: self.owed.pop(key) for key in keys}
        commands: list[tuple[str | bytes | int, ...]] = [
            ("SET", self._name(key), _written(session), "PX", max(1, round(1000 * ttl_s)))
            for key, (session, ttl_s) in rows.items()
        ]
        news = self._me + b"".join(keys)
        try:
            await self._redis.together([*commands, ("PUBLISH", self._redis.key(CHANNEL), news)])
        except BaseException:
            self.owed = rows | self.owed
            raise

    def _hear(self, news: bytes) -> None:
        """Have the sessions forgotten here that another replica has decided on."""
        if news[:_KEY_BYTES] == self._me:
            return
        for at in range(_KEY_BYTES, len(news), _KEY_BYTES):
            key = news[at : at + _KEY_BYTES]
            for sessions in self._followers:
                sessions.forget(key)

    def _forget_nothing_missed(self) -> None:
        self.epoch += 1

    def _name(self, key: bytes) -> str:
        return self._redis.key("session", key.hex())


def _written(session: Session) -> bytes:
    return orjson.dumps([session.category, session.expert, session.turn.hex()])


def _read(raw: bytes) -> Session | None:
    try:
        category, expert, turn = orjson.loads(raw)
        return Session(category, expert, bytes.fromhex(turn))
    except (ValueError, TypeError):
        return None
