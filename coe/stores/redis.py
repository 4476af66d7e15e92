"""Redis, for what several replicas share. The one module that knows its client library.

A slow Redis is worse than a dead one, so every call has a limit of time, and after one that failed
nobody calls for a while: who asks is told at once, and goes on as its documentation says for when
there is none. A probe in the background finds out when it is back; no request waits for that.

One that is there and refuses a command (see `coe.stores.refusal`) is as good as gone for who asked,
and there for all the others. Where it refuses because it leads no more, its address may stand for
the one that does: new connections are opened, by and by.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from hashlib import sha1
from typing import TYPE_CHECKING, Any

from coe.errors import ConfigError, StoreUnavailable
from coe.stores import refusal
from coe.stores.patience import MOST_TICKS, TICKS, Patience
from coe.stores.refusal import Heard, Refusal

if TYPE_CHECKING:
    from redis.asyncio.client import PubSub

Client = Any  # of redis.asyncio; half of its methods have no types

logger = logging.getLogger(__name__)

WAIT_S = 0.1
"""The longest that one call may take, in a loop that is not held up: see `coe.stores.patience`."""
REST_S = 1.0
"""After a failure nobody but the probe calls for so long."""
_CLOSE_S = 5.0  # for what nobody waits for: to listen, to close a connection
# The first word of an answer, which the client cuts off where it has an error of its own for it;
# an older one says it nowhere else.
_CODES = {
    "AskError": "ASK",
    "ClusterCrossSlotError": "CROSSSLOT",
    "ClusterDownError": "CLUSTERDOWN",
    "ExecAbortError": "EXECABORT",
    "MasterDownError": "MASTERDOWN",
    "MovedError": "MOVED",
    "NoPermissionError": "NOPERM",
    "NoScriptError": "NOSCRIPT",
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "TryAgainError": "TRYAGAIN",
}

Word = str | bytes | int | float


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script: what it does is done at once or not at all.

    Attributes:
        text: Lua; the keys that it touches are in `KEYS`, what else it needs in `ARGV`.
        digest: by which the server knows it.
    """

    text: str
    digest: str

    @classmethod
    def of(cls, text: str) -> Script:
        """Return the script of a text."""
        return cls(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


class Redis:
    """A server, for one event loop. Nothing connects before the first call.

    Attributes:
        name: host and port, for messages; never the credentials of the URL.
        prefix: of all keys and channels of ours.
        calls: that were answered; `failures`: that were not, or not in time, or refused.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "coe:",
        wait_s: float = WAIT_S,
        rest_s: float = REST_S,
        most: int = 32,
    ) -> None:
        """Read the address; `most` connections are open at once.

        Raises:
            ConfigError: the client is not installed, or the address is none.
        """
        try:
            from redis.asyncio import BlockingConnectionPool
            from redis.asyncio import Redis as Connected
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff
            from redis.exceptions import RedisError
        except ImportError:
            raise ConfigError(
                "COE_REDIS_URL needs the client: pip install 'coe-gateway[redis]'"
            ) from None

        def connected() -> Client:
            pool = BlockingConnectionPool.from_url(
                url,
                max_connections=most,
                # `Patience` alone says when it is enough: for a connection, a word and an answer.
                timeout=None,
                socket_timeout=None,
                socket_connect_timeout=_CLOSE_S,
                retry=Retry(NoBackoff(), 0),
            )
            return Connected(connection_pool=pool)

        try:
            self._client = connected()
        except ValueError as error:
            raise ConfigError(f"COE_REDIS_URL: {error}") from None
        known = self._client.connection_pool.connection_kwargs
        self.name = str(known.get("path") or f"{known.get('host')}:{known.get('port', 6379)}")
        self.prefix = prefix
        self.calls = 0
        self.failures = 0
        self._url = url
        self._connected = connected
        self._errors = (RedisError, OSError, TimeoutError)
        self._wait_s = wait_s
        self._rest_s = rest_s
        self._down_until: float | None = None
        self._leads_no_more = False
        self._back: list[Callable[[], None]] = []
        self._heard = Heard()

    @property
    def is_down(self) -> bool:
        """Whether nobody calls it now."""
        return self._down_until is not None

    def key(self, *parts: str) -> str:
        """Return a key of ours."""
        return self.prefix + ":".join(parts)

    async def call(self, *words: Word) -> Any:
        """Return what a command answers.

        Raises:
            StoreUnavailable: it does not answer now, or refuses this.
        """
        return await self._guarded(str(words[0]), lambda client: client.execute_command(*words))

    async def run(self, script: Script, keys: Iterable[str], *words: Word) -> Any:
        """Return what a script answers. Raises as `call`."""
        listed = list(keys)
        return await self._guarded(
            f"script {script.digest[:8]}", lambda client: _run(client, script, listed, words)
        )

    async def together(self, commands: Iterable[tuple[Word, ...]]) -> list[Any]:
        """Return what several commands answer, sent at once; no other one comes between them.

        Raises as `call`.
        """
        listed = list(commands)

        async def send(client: Client) -> list[Any]:
            async with client.pipeline(transaction=True) as pipe:
                for words in listed:
                    pipe.execute_command(*words)
                return list(await pipe.execute())

        names = dict.fromkeys(str(words[0]) for words in listed)
        answers: list[Any] = await self._guarded(" ".join(names), send)
        return answers

    def when_back(self, told: Callable[[], None]) -> None:
        """Call `told` each time that it answers again after it did not, or messages were lost."""
        self._back.append(told)

    @asynccontextmanager
    async def listening(self, channel: str, heard: Callable[[bytes], None]) -> AsyncIterator[None]:
        """Have `heard` called with every message of a channel meanwhile, in the loop's thread.

        What is sent while it is away is lost: see `when_back`.
        """
        task = asyncio.create_task(self._listen(self.key(channel), heard))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Find out in the background whether it is there meanwhile; close the connections then."""
        task = asyncio.create_task(self._probe())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await self._client.aclose()
            await self._client.connection_pool.aclose()

    async def _guarded(self, what: str, work: Callable[[Client], Any]) -> Any:
        if self._down_until is not None:
            raise StoreUnavailable(f"Redis at {self.name} does not answer")
        try:
            async with Patience(self._wait_s):
                answer = await work(self._client)
        except self._errors as error:
            raise self._failed(what, error) from None
        self.calls += 1
        return answer

    def _failed(self, what: str, error: BaseException) -> StoreUnavailable:
        """Take note of why a command was not carried out; return what who asked is told."""
        refused = self._refusal(error)
        if refused is None:
            self._mark_down(error)
            return StoreUnavailable(f"Redis at {self.name}: {str(error) or type(error).__name__}")
        self.failures += 1
        self._tell_refused(what, refused)
        return StoreUnavailable(f"Redis at {self.name} refuses this: {refused.text}")

    def _refusal(self, error: BaseException) -> Refusal | None:
        """Return what was refused; None where it does not answer, or answers nobody now."""
        from redis.exceptions import ResponseError

        if not isinstance(error, ResponseError):
            return None
        code = getattr(error, "status_code", None) or _CODES.get(type(error).__name__)
        refused = refusal.read(str(error), code)
        self._leads_no_more = self._leads_no_more or refused.is_of_a_replica
        return None if refused.is_of_everything else refused

    def _tell_refused(self, what: str, refused: Refusal) -> None:
        if self._heard.is_news(what, refused.code, time.monotonic()):
            logger.error("Redis at %s refuses %s: %s", self.name, what, refused.text)

    def _mark_down(self, error: BaseException) -> None:
        self.failures += 1
        if self._down_until is None:
            why = str(error) or f"no answer within {self._wait_s:g} s"
            logger.warning("Redis at %s is not there: %s", self.name, why)
        self._down_until = time.monotonic() + self._rest_s

    async def _probe(self) -> None:
        renewed_s = -math.inf
        async with asyncio.TaskGroup() as leaving:
            while True:
                await asyncio.sleep(self._rest_s / 4)
                now_s = time.monotonic()
                if self._leads_no_more and now_s - renewed_s >= self._rest_s:
                    renewed_s = now_s
                    leaving.create_task(self._leave(self._renewed()))
                if self._down_until is not None and now_s >= self._down_until:
                    await self._ask_whether_back()

    async def _ask_whether_back(self) -> None:
        try:
            async with Patience(self._wait_s):
                await self._client.execute_command("PING")
        except self._errors as error:
            if self._refusal(error) is None:  # else it answers, though this user may not ask that
                self._mark_down(error)
                return
        self._down_until = None
        logger.warning("Redis at %s is back", self.name)
        self._tell_back()

    def _renewed(self) -> Client:
        """Have all further calls open connections of their own; return who has those until now."""
        old, self._client = self._client, self._connected()
        self._leads_no_more = False
        return old

    async def _leave(self, old: Client) -> None:
        """Close connections once no call can have one of them any more."""
        try:
            await asyncio.sleep(self._wait_s * MOST_TICKS / TICKS)
        finally:
            with suppress(*self._errors):
                await old.connection_pool.aclose()

    def _tell_back(self) -> None:
        for told in self._back:
            told()

    async def _listen(self, channel: str, heard: Callable[[bytes], None]) -> None:
        from redis.asyncio import Redis as Connected

        # A connection of its own, without a limit of time: it waits for messages, for hours.
        client = Connected.from_url(
            self._url, socket_connect_timeout=_CLOSE_S, socket_keepalive=True
        )
        has_missed = False
        try:
            while True:
                pubsub: PubSub = client.pubsub(ignore_subscribe_messages=True)
                try:
                    await pubsub.subscribe(channel)
                    if has_missed:
                        self._tell_back()
                    async for message in pubsub.listen():
                        _hand(heard, message["data"])
                except self._errors as error:
                    has_missed = True
                    if (refused := self._refusal(error)) is not None:
                        self._tell_refused(f"SUBSCRIBE {channel}", refused)
                    await asyncio.sleep(self._rest_s)
                finally:
                    with suppress(*self._errors):
                        await pubsub.aclose()  # type: ignore[no-untyped-call]
        finally:
            await client.aclose()


def _hand(heard: Callable[[bytes], None], message: bytes) -> None:
    """Have a message heard. One that cannot be does not end the listening."""
    try:
        heard(message)
    except Exception:  # a supervisor: the next one may do
        logger.exception("a message of Redis")


async def _run(client: Client, script: Script, keys: list[str], words: tuple[Word, ...]) -> Any:
    from redis.exceptions import NoScriptError

    rest = (len(keys), *keys, *words)
    try:
        return await client.execute_command("EVALSHA", script.digest, *rest)
    except NoScriptError:
        return await client.execute_command("EVAL", script.text, *rest)
