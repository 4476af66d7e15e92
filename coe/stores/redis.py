"""Redis, for what several replicas share. The one module that knows its client library.

A slow Redis is worse than a dead one, so every call has a limit of time, and after one that failed
nobody calls for a while: who asks is told at once, and goes on as its documentation says for when
there is none. A probe in the background finds out when it is back; no request waits for that.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from hashlib import sha1
from typing import TYPE_CHECKING, Any

from coe.errors import ConfigError, StoreUnavailable

if TYPE_CHECKING:
    from redis.asyncio.client import PubSub

Client = Any  # of redis.asyncio; half of its methods have no types

logger = logging.getLogger(__name__)

WAIT_S = 0.1
"""The longest that one call may take."""
REST_S = 1.0
"""After a failure nobody but the probe calls for so long."""

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
        calls: that were answered; `failures`: that were not, or not in time.
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
        try:
            pool = BlockingConnectionPool.from_url(
                url,
                max_connections=most,
                timeout=wait_s,
                socket_timeout=wait_s,
                socket_connect_timeout=wait_s,
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError as error:
            raise ConfigError(f"COE_REDIS_URL: {error}") from None
        known = pool.connection_kwargs
        self.name = str(known.get("path") or f"{known.get('host')}:{known.get('port', 6379)}")
        self.prefix = prefix
        self.calls = 0
        self.failures = 0
        self._url = url
        self._client: Client = Connected(connection_pool=pool)
        self._errors = (RedisError, OSError, TimeoutError)
        self._wait_s = wait_s
        self._rest_s = rest_s
        self._down_until: float | None = None
        self._back: list[Callable[[], None]] = []

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
            StoreUnavailable: it does not answer now.
        """
        return await self._guarded(lambda client: client.execute_command(*words))

    async def run(self, script: Script, keys: Iterable[str], *words: Word) -> Any:
        """Return what a script answers. Raises as `call`."""
        listed = list(keys)
        return await self._guarded(lambda client: _run(client, script, listed, words))

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

        answers: list[Any] = await self._guarded(send)
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

    async def _guarded(self, work: Callable[[Client], Any]) -> Any:
        if self._down_until is not None:
            raise StoreUnavailable(f"Redis at {self.name} does not answer")
        try:
            async with asyncio.timeout(self._wait_s):
                answer = await work(self._client)
        except self._errors as error:
            from redis.exceptions import ResponseError

            if isinstance(error, ResponseError) and not str(error).startswith(_NOT_NOW):
                raise  # it is there, and what was asked is wrong: a mistake of ours
            self._mark_down(error)
            raise StoreUnavailable(
                f"Redis at {self.name}: {str(error) or type(error).__name__}"
            ) from None
        self.calls += 1
        return answer

    def _mark_down(self, error: BaseException) -> None:
        self.failures += 1
        if self._down_until is None:
            why = str(error) or f"no answer within {self._wait_s:g} s"
            logger.warning("Redis at %s is not there: %s", self.name, why)
        self._down_until = time.monotonic() + self._rest_s

    async def _probe(self) -> None:
        while True:
            await asyncio.sleep(self._rest_s / 4)
            if self._down_until is None or time.monotonic() < self._down_until:
                continue
            try:
                async with asyncio.timeout(self._wait_s):
                    await self._client.execute_command("PING")
            except self._errors as error:
                self._mark_down(error)
            else:
                self._down_until = None
                logger.warning("Redis at %s is back", self.name)
                self._tell_back()

    def _tell_back(self) -> None:
        for told in self._back:
            told()

    async def _listen(self, channel: str, heard: Callable[[bytes], None]) -> None:
        from redis.asyncio import Redis as Connected

        # A connection of its own, without a limit of time: it waits for messages, for hours.
        client = Connected.from_url(
            self._url, socket_connect_timeout=self._wait_s, socket_keepalive=True
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
                        heard(message["data"])
                except self._errors:
                    has_missed = True
                    await asyncio.sleep(self._rest_s)
                finally:
                    with suppress(*self._errors):
                        await pubsub.aclose()  # type: ignore[no-untyped-call]
        finally:
            await client.aclose()


_NOT_NOW = ("LOADING", "BUSY", "MASTERDOWN", "READONLY", "OOM", "MISCONF", "CLUSTERDOWN")
"""How refusals begin that are no mistake of the command's: another time it would be taken."""


async def _run(client: Client, script: Script, keys: list[str], words: tuple[Word, ...]) -> Any:
    from redis.exceptions import NoScriptError

    rest = (len(keys), *keys, *words)
    try:
        return await client.execute_command("EVALSHA", script.digest, *rest)
    except NoScriptError:
        return await client.execute_command("EVAL", script.text, *rest)
