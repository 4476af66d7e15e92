"""What a composition says of answers that are kept, as the gateway works with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

TTL_S = 3600.0
MOST = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheRules:
    """Which answers are kept, for whom, and for how long.

    Attributes:
        is_semantic: whether a request that means the same is given an answer, too.
        ttl_s: an answer is kept for so long.
        most: bytes of all answers, where they are in memory.
        partition: who shares answers.
        similarity: least cosine of two last turns that mean the same.
        encoder: by which that is measured; empty where nothing is.
        helpers: who has a part in a panel's answer beside its members, by the panel's name.
    """

    is_semantic: bool = False
    ttl_s: float = TTL_S
    most: int = MOST
    partition: Literal["key", "team"] = "key"
    similarity: float = 0.95
    encoder: str = ""
    helpers: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
