"""What may be written of batching by expert: fewer loads, bounded waits."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from coe.composition.keys import Count, Duration, Fraction, JsonObject, Keys, Text


class QueueKeys(Keys):
    """How many calls may wait. Who comes to a full queue is refused with 429."""

    LATER = frozenset({"full"})
    SHORT: ClassVar[JsonObject] = {"type": "integer", "minimum": 1, "description": "`max`"}

    max: Count = Field(2000, description="Calls that may wait for one backend.")
    per_key: Count | None = Field(
        None, description="Calls of one key that may wait for one backend. Default: `max`."
    )

    @classmethod
    def from_short(cls, value: Any) -> Any:
        """A number is the most that may wait."""
        is_number = isinstance(value, int) and not isinstance(value, bool)
        return {"max": value} if is_number else value


class BulkKeys(Keys):
    """Lines of batches, and requests with the header `x-coe-lane: bulk`."""

    share: Fraction = Field(
        0.2, description="Of an expert's slots, what bulk may take while others wait."
    )
    max_wait: Duration | None = Field(
        None, description="Bulk that waited for so long counts as interactive. Default `30m`."
    )


class LanesKeys(Keys):
    """Who goes first: interactive calls before bulk."""

    LATER = frozenset({"interactive"})

    bulk: BulkKeys = Field(BulkKeys(), description="What waits for the gaps.")


class BatchingKeys(Keys):
    """How calls for experts that are not all in memory are ordered.

    It holds for the backends that have `memory` and whose server can load and unload.
    """

    LATER = frozenset({"gather", "max_batch"})

    strategy: Text = Field(
        "affinity",
        description="Which expert is served next: an installed `coe.orderings` plugin.",
        examples=["affinity", "edf", "fifo"],
    )
    evict: Text = Field(
        "next_use",
        description="Which expert leaves for it: an installed `coe.evictions` plugin.",
        examples=["next_use", "lru"],
    )
    goal: Fraction = Field(0.5, description="0 for the shortest waits, 1 for the fewest loads.")
    max_wait: Duration | None = Field(
        None,
        description="A call that waited for so long has its expert brought in next, and is refused"
        " with 504 where that cannot be. Default: nothing is promised.",
    )
    ageing: float | None = Field(
        None,
        ge=0,
        description="For `affinity`: what a second of waiting counts for, against 1 for being in"
        " the queue. Default 1.",
    )
    min_residency: Duration | None = Field(
        None, description="An expert is not asked to leave sooner, unless idle. Default: at once."
    )
    load_limit: Duration | None = Field(
        None, description="A load that takes longer has failed. Default `5m`."
    )
    fair_share: Literal["key", "team", "none"] = Field(
        "key",
        description="Whether the keys that wait for an expert take turns, or the teams do: then a"
        " key without a team is one of its own.",
    )
    queue: QueueKeys = Field(QueueKeys(), description="How many may wait.")
    lanes: LanesKeys = Field(LanesKeys(), description="Interactive calls and bulk.")
    status_frames: bool = Field(
        default=True,
        description="Whether a streamed answer begins with comments that say what it waits for."
        " Its status is 200 then, and a failure that comes later is an event in the stream.",
    )
