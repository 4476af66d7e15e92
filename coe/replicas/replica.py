"""This process among the others: who it is, where it is reached, who else is there."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from hashlib import blake2b
from hmac import compare_digest
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit
from uuid import uuid4

from coe import __version__
from coe.backends.http import Client, origin
from coe.backends.lean import LeanClient
from coe.errors import ConfigError, StoreUnavailable
from coe.protocols import BackendSpec
from coe.replicas.errand import Errand
from coe.replicas.lease import Terms
from coe.scheduler.loop import Told
from coe.stores.redis import Redis
from coe.stores.redis_leases import RedisLeases
from coe.stores.redis_roster import Card, RedisRoster

LEAST_SECRET = 32
_FILE = re.compile(r"\$\{file:(.+)\}")


def read_secret(given: str) -> str:
    """Return the secret that a setting gives, itself or as `${file:PATH}`; empty where it is none.

    Raises:
        ConfigError: the file cannot be read, or the secret is too short to be one.
    """
    secret = given
    if (named := _FILE.fullmatch(given)) is not None:
        try:
            secret = Path(named[1]).read_text().strip()
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise ConfigError(f"COE_REPLICA_SECRET: {named[1]}: {why}") from None
    if secret and len(secret.encode()) < LEAST_SECRET:
        raise ConfigError(
            f"COE_REPLICA_SECRET: at least {LEAST_SECRET} bytes are needed; "
            "`openssl rand -hex 32` makes some"
        )
    if not secret.isascii() or any(letter.isspace() for letter in secret):
        raise ConfigError("COE_REPLICA_SECRET: only ASCII, and no white space in it")
    return secret


def identity_of_pool(name: str, url: str, host: str) -> str:
    """Return what names a backend's memory among all replicas.

    A server on loopback is another one on every machine.

    Args:
        name: of the backend.
        url: of the server.
        host: name of this machine.
    """
    parts = urlsplit(url)
    place = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
    if parts.hostname == "localhost" or _is_loopback(parts.hostname or ""):
        place = f"{host} {place}"
    return f"{name}@{blake2b(place.encode(), digest_size=6).hexdigest()}"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class Lending(Protocol):
    """A slot that this replica lends to another one."""

    @property
    def swap_s(self) -> float: ...  # noqa: D102 - see `coe.scheduler.loop.Slot`

    async def ended(self) -> None:
        """Return once this replica does not own the pool any more."""

    def release(self) -> None:
        """Take it back."""


class Pool(Protocol):
    """A pool that one of the replicas owns at a time.

    Attributes:
        name: of the backend.
        is_owned: whether this replica owns it.
        counts: calls that were let in, by where.
        refused: loads and unloads that were not made, as nobody said that they may be.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - see the class
    @property
    def is_owned(self) -> bool: ...  # noqa: D102
    @property
    def counts(self) -> Mapping[str, int]: ...  # noqa: D102
    @property
    def refused(self) -> int: ...  # noqa: D102

    async def lend(self, errand: Errand, told: Told) -> Lending:
        """Return a slot for another replica's call.

        Raises:
            Moved: this replica does not own the pool.
            CapacityError: see `coe.scheduler.loop.Slots.take`.
        """

    def doubt(self) -> None:
        """Ask the backend who is in memory, soon."""

    async def resign(self) -> None:
        """Let another replica own it, and claim it no more."""


class Replica:
    """See the module.

    Attributes:
        id: of this process; another one with each start.
        url: where the others reach it.
        terms: of the leases.
        leases: where they are kept.
        pools: that it shares, by their identity.
        composition: returns the fingerprint of what it serves.
    """

    def __init__(self, redis: Redis, *, url: str, secret: str, terms: Terms) -> None:
        """Store the parts.

        Args:
            redis: what they share.
            url: where the others reach this one; empty where no pool is shared.
            secret: what replicas know each other by.
            terms: of the leases.
        """
        self.id = f"{socket.gethostname()}-{uuid4().hex[:8]}"
        self.url = url
        self.terms = terms
        self.leases = RedisLeases(redis)
        self.pools: dict[str, Pool] = {}
        self.started_s = time.time()
        self.composition: Callable[[], str] = str
        self._roster = RedisRoster(redis)
        self._secret = secret
        self._clients: dict[str, Client] = {}

    @property
    def shares_pools(self) -> bool:
        """Whether it can: the others reach it, and there is a secret."""
        return bool(self.url and self._secret)

    def knows(self, shown: str) -> bool:
        """Whether a value of `authorization` is another replica's, in constant time."""
        wanted = f"Bearer {self._secret}"
        return bool(self._secret) and compare_digest(shown.encode(), wanted.encode())

    def client(self, url: str) -> Client:
        """Return the client of another replica.

        Raises:
            ConfigError: the address cannot be used.
        """
        if url not in self._clients:
            spec = BackendSpec(name="replica", type="replica", url=url, api_key=self._secret)
            self._clients[url] = LeanClient(origin(spec, "replicas"))
        return self._clients[url]

    def card(self) -> Card:
        """Return what the others are told of this one."""
        return Card(
            id=self.id,
            url=self.url,
            version=__version__,
            started_s=self.started_s,
            composition=self.composition(),
            owns=tuple(sorted(name for name, pool in self.pools.items() if pool.is_owned)),
        )

    async def everybody(self) -> tuple[list[Card], bool]:
        """Return who is there, this one first, and whether Redis said so."""
        try:
            others = [one for one in await self._roster.present() if one.id != self.id]
        except StoreUnavailable:
            return [self.card()], False
        return [self.card(), *others], True

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Say now and then that it is there meanwhile; that it leaves, in the end."""
        task = asyncio.create_task(self._announce())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            with suppress(StoreUnavailable):
                await self._roster.leave(self.id)
            for client in self._clients.values():
                await client.aclose()

    async def resign(self) -> None:
        """Let the others own the pools: this one is about to end."""
        await asyncio.gather(*(pool.resign() for pool in tuple(self.pools.values())))

    async def _announce(self) -> None:
        while True:
            with suppress(StoreUnavailable):
                await self._roster.announce(self.card(), lasts_s=2 * self.terms.lease_s)
            await asyncio.sleep(self.terms.renew_s)
