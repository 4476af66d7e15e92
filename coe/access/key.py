"""A key: what is kept of it, and the text that its holder shows. Pure, but for the dice.

The text is `coe-ID-SECRET`. The id finds the record and is no secret; of the secret, 256 random
bits, a SHA-256 digest is kept and its last four characters, by which people tell keys apart. A
digest without salt is enough for what nobody can guess (a password would need more).
"""

from __future__ import annotations

import hmac
import math
import secrets
from dataclasses import asdict, dataclass, field, fields, replace
from hashlib import sha256
from typing import Any

import orjson

from coe.errors import ArtefactError
from coe.identity import Identity, Scope

PREFIX = "coe"
LONGEST_GRACE_S = 30 * 86_400.0
"""For so long at most an old secret works beside the new one."""
_ID_BYTES, _SECRET_BYTES, _SHOWN = 6, 32, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a key is to be; see `coe.access.wish`, which reads one.

    Attributes:
        name: what people call it.
        team: that it belongs to; empty for none.
        scopes: what it is for; at least one.
        experts: names, and tags as `tag:NAME`, that may be asked; None: all.
        not_experts: that may not be, likewise.
        limits: of its own, as text: `60 requests/min`, `5 USD/day`.
        keeps_text: whether its prompts may be kept in words, where the composition keeps any.
        expires: when it stops working, in seconds since 1970; None: never.
    """

    name: str
    team: str = ""
    scopes: tuple[Scope, ...] = ("data",)
    experts: tuple[str, ...] | None = None
    not_experts: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    keeps_text: bool = True
    expires: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Key(Wish):
    """What is kept of a key.

    Attributes:
        id: finds it; no secret.
        digest: SHA-256 of the secret, 64 hexadecimal digits. Never shown to anybody.
        ending: of the secret, for people.
        created: in seconds since 1970.
        revoked: when it stopped working for good; None where it has not.
        changed_by: who changed it last, for the log.
        former: the digest of the secret before this one; empty where there was none.
        former_until: when that one stops working, in seconds since 1970.
    """

    id: str
    digest: str = field(repr=False)
    ending: str
    created: float
    revoked: float | None = None
    changed_by: str = ""
    former: str = field(default="", repr=False)
    former_until: float = 0.0

    @property
    def until(self) -> float:
        """When it stops working, in seconds since 1970; infinity for never."""
        ends = [at for at in (self.expires, self.revoked) if at is not None]
        return min(ends, default=math.inf)

    @property
    def identity(self) -> Identity:
        """Who its holder is. The keys of a team are tenants of their own."""
        return Identity(
            tenant=self.id,
            key=self.id,
            name=self.name,
            team=self.team,
            scopes=frozenset(self.scopes),
            experts=self.experts,
            not_experts=self.not_experts,
            limits=self.limits,
            keeps_text=self.keeps_text,
        )


def issue(wish: Wish, *, at: float, by: str) -> tuple[Key, str]:
    """Return a new key, and its text, which is nowhere else and cannot be made again.

    Args:
        wish: what it is to be.
        at: now, in seconds since 1970.
        by: who makes it.
    """
    key_id = secrets.token_hex(_ID_BYTES)
    text, digest, ending = _secret(key_id)
    wanted = {one.name: getattr(wish, one.name) for one in fields(Wish)}
    key = Key(**wanted, id=key_id, digest=digest, ending=ending, created=at, changed_by=by)
    return key, text


def renewed(key: Key, *, by: str, old_until: float = 0.0) -> tuple[Key, str]:
    """Return a key with another secret, and its text; what it may do stays.

    Args:
        key: as it is.
        by: who renews it.
        old_until: the secret that it has works until then, in seconds since 1970.
    """
    text, digest, ending = _secret(key.id)
    changed = replace(
        key,
        digest=digest,
        ending=ending,
        changed_by=by,
        former=key.digest,
        former_until=old_until,
    )
    return changed, text


def revoked(key: Key, *, at: float, by: str) -> Key:
    """Return a key that works no more; one that was revoked before stays as it is."""
    return key if key.revoked is not None else replace(key, revoked=at, changed_by=by)


def split(shown: bytes) -> tuple[bytes, bytes] | None:
    """Return the id and the secret that a value of `authorization` shows; None where it is no key.

    Example:
        >>> split(b"Bearer coe-12ab-s3cret"), split(b"Bearer sk-1234")
        ((b'12ab', b's3cret'), None)
    """
    scheme, _, text = shown.partition(b" ")
    if scheme != b"Bearer" and scheme.lower() != b"bearer":
        return None
    parts = text.strip().split(b"-", 2)
    if len(parts) != 3 or parts[0] != b"coe":  # noqa: PLR2004 - coe, the id, the secret
        return None
    return parts[1], parts[2]


def fits(secret: bytes, digest: bytes) -> bool:
    """Whether a secret has this SHA-256; how long that takes says nothing of how near it is."""
    return hmac.compare_digest(sha256(secret).digest(), digest)


def written(key: Key) -> bytes:
    """Return a key as it is kept."""
    return orjson.dumps(asdict(key))


def read(text: bytes | str) -> Key:
    """Return a key that was kept.

    Raises:
        ArtefactError: it is damaged, or of a later version that knows more of keys.
    """
    try:
        known: dict[str, Any] = orjson.loads(text)
        bytes.fromhex(known["digest"])
        bytes.fromhex(known.get("former", ""))
        for name in ("scopes", "experts", "not_experts", "limits"):
            known[name] = None if known[name] is None else tuple(known[name])
        return Key(**known)
    except (orjson.JSONDecodeError, TypeError, KeyError, ValueError) as error:
        raise ArtefactError(f"a key that cannot be read: {type(error).__name__}") from None


def _secret(key_id: str) -> tuple[str, str, str]:
    """Return a new text for an id, the digest of its secret, and how that ends."""
    secret = secrets.token_hex(_SECRET_BYTES)
    return (
        f"{PREFIX}-{key_id}-{secret}",
        sha256(secret.encode()).hexdigest(),
        secret[-_SHOWN:],
    )
