"""Where answers are kept, as a cache sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from coe.cache.entry import Entry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Fits = Callable[[Entry], bool]


class Near(NamedTuple):
    """Where a request stands among those that differ from it in their last turn alone.

    Attributes:
        scope: a digest of what they have in common, and the encoder's fingerprint.
        vector: of the last turn; shape (dim,), of length 1.
    """

    scope: str
    vector: NDArray[np.float32]


class Stock(NamedTuple):
    """How much is kept; bytes are None where that is not known."""

    entries: int
    bytes: int | None


class Shelf(Protocol):
    """Entries by partition and id. Every method may raise StoreUnavailable.

    A partition is a hexadecimal digest; no method looks into another one than it is told.
    """

    async def get(self, partition: str, name: str) -> Entry | None:
        """Return an entry that is not too old; None where there is none."""

    async def nearest(
        self, partition: str, near: Near, least: float, fits: Fits
    ) -> tuple[Entry, float] | None:
        """Return the entry of a scope that is nearest, and the cosine; None where none will do.

        Args:
            partition: whose it is.
            near: where to look, and for what.
            least: cosine.
            fits: whether an entry may be given.
        """

    async def put(self, entry: Entry, room: int, near: Near | None) -> None:
        """Keep an entry until its time; where it can be found as near, too.

        Args:
            entry: takes the place of one of its partition and id.
            room: bytes of all entries; the ones used least recently go first. A store that is
                bounded by itself does not look at it.
            near: None where only the same request finds it.
        """

    async def remove(self, partition: str, name: str) -> bool:
        """Forget an entry; say whether it was there."""

    async def clear(self, partition: str | None) -> int:
        """Forget all entries of a partition, or of all; return how many there were."""

    async def stock(self, partition: str | None) -> Stock:
        """Return how much is kept of a partition, or of all."""
