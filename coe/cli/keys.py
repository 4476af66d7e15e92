"""`coe keys`: keys are made, listed, renewed and ended; a gateway that runs follows in a second."""

from __future__ import annotations

import asyncio
import getpass
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from coe.access import wish as wishes
from coe.access.key import LONGEST_GRACE_S, Key
from coe.access.ring import Keyring
from coe.api.keys import card
from coe.cli.printed import columns, print_json
from coe.cli.serve import read_settings
from coe.composition import load
from coe.composition.units import parse_duration
from coe.errors import ConfigError, Conflict, InvalidRequest, NotFound
from coe.premises import premises_of
from coe.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the command line says of a new key; see `coe keys add --help`."""

    name: str
    team: str = ""
    scopes: tuple[str, ...] = ()
    experts: tuple[str, ...] = ()
    not_experts: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    keeps_text: bool = True
    lasts: str = ""


def add(config: Path | None, wanted: Wanted) -> None:
    """Make a key and print it: the key alone on standard output, for programs.

    Raises:
        ConfigError: what is asked for cannot be, or the composition has no such expert.
        CoEError: it cannot be kept.
    """
    settings = read_settings(config, None, None)
    now = time.time()
    try:
        body: dict[str, Any] = {
            "name": wanted.name,
            "team": wanted.team,
            "scopes": list(wanted.scopes or ("data",)),
            "experts": list(wanted.experts) or None,
            "not_experts": list(wanted.not_experts),
            "limits": list(wanted.limits),
            "keeps_text": wanted.keeps_text,
            "expires": now + parse_duration(wanted.lasts) if wanted.lasts else None,
        }
        wish = wishes.read(body, at=now)
        if wish.experts or wish.not_experts:
            experts = load(settings.config).experts
            wishes.refuse_unknown(wish, {name: one.tags for name, one in experts.items()})
    except (InvalidRequest, ValueError) as error:
        raise ConfigError(getattr(error, "message", str(error))) from None
    key, text = _do(settings, lambda ring: ring.add(wish, by=_who()))
    print(text)
    print(f"key {key.id} for {', '.join(key.scopes)}; it is not shown again", file=sys.stderr)


def show(config: Path | None, *, as_json: bool) -> None:
    """List the keys. Raises CoEError."""

    async def listed(ring: Keyring) -> list[Key]:
        return list(ring.keys.values())

    found = _do(read_settings(config, None, None), listed)
    if as_json:
        print_json([card(key) for key in found])
        return
    if not found:
        print("no keys yet: coe keys add NAME", file=sys.stderr)
        return
    now = time.time()
    rows = [
        (
            key.id,
            key.name,
            f"...{key.ending}",
            key.team or "-",
            ",".join(key.scopes),
            _experts(key),
            "; ".join(key.limits) or "-",
            _day(key.created),
            _state(key, now),
        )
        for key in found
    ]
    heads = ("id", "name", "ends", "team", "scopes", "experts", "limits", "made", "state")
    print("\n".join(columns(heads, rows)))


def revoke(config: Path | None, names: list[str]) -> None:
    """End keys for good. Raises NotFound, Conflict, and CoEError; none has ended then."""

    async def end(ring: Keyring) -> list[Key]:
        ids = [_id_of(ring, name) for name in names]
        return [await ring.revoke(key_id, by=_who()) for key_id in ids]

    for key in _do(read_settings(config, None, None), end):
        print(f"key {key.id} ({key.name}) is revoked", file=sys.stderr)


def rotate(config: Path | None, name: str, grace: str) -> None:
    """Give a key another secret and print it.

    Args:
        config: the composition file.
        name: the key's id, or its name where no other key that works has it.
        grace: how long the old secret works on, such as `1h`; empty for not at all.

    Raises:
        ConfigError: that is no such time.
        NotFound, Conflict: there is no such key, it was revoked, or several have the name.
        CoEError: it cannot be kept.
    """
    grace_s = _grace(grace) if grace else 0.0
    key, text = _do(
        read_settings(config, None, None),
        lambda ring: ring.rotate(_id_of(ring, name), by=_who(), grace_s=grace_s),
    )
    print(text)
    old = f"works for {grace} more" if grace else "has ended"
    print(f"key {key.id} ({key.name}) has a new secret; the old one {old}", file=sys.stderr)


def _id_of(ring: Keyring, name: str) -> str:
    """Return the id of the key that is meant: ids go before names.

    Raises:
        NotFound: no key has that id, and none that works has that name.
        Conflict: several that work have that name.
    """
    if name in ring.keys:
        return name
    found = [key.id for key in ring.keys.values() if key.name == name and key.revoked is None]
    if len(found) > 1:
        raise Conflict(f"{len(found)} keys are called `{name:.40}`: say which, {', '.join(found)}")
    if not found:
        raise NotFound(f"no key `{name:.40}`: `coe keys list` shows ids and names")
    return found[0]


def _grace(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if seconds > LONGEST_GRACE_S:
        raise ConfigError(f"an old secret works on for 30 days at most, not for {text}")
    return seconds


def _do(settings: Settings, work: Callable[[Keyring], Awaitable[T]]) -> T:
    """Do something with the keys that the settings name, and with nothing else of a gateway."""

    async def done() -> T:
        premises = premises_of(settings)
        ring = premises.keys
        if ring is None:
            raise NotFound("there is no place for keys")
        async with AsyncExitStack() as stack:
            if premises.redis is not None:
                await stack.enter_async_context(premises.redis.running())
            await stack.enter_async_context(ring.running())
            await ring.refresh()  # says why where they cannot be read
            return await work(ring)

    return asyncio.run(done())


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user without a name
        user = f"user {os.getuid()}"
    return f"{user} on {socket.gethostname()}"


def _experts(key: Key) -> str:
    allowed = "all" if key.experts is None else ",".join(key.experts) or "none"
    return f"{allowed} but {','.join(key.not_experts)}" if key.not_experts else allowed


def _state(key: Key, now: float) -> str:
    if key.revoked is not None:
        return f"revoked {_day(key.revoked)}"
    if key.expires is None:
        return "works"
    return f"{'works until' if now < key.expires else 'expired'} {_day(key.expires)}"


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")
