"""What may be written of what is remembered."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from coe.composition.keys import Duration, Keys


class ObserveKeys(Keys):
    """What is remembered of requests. It stays in the state folder, on this machine."""

    LATER = frozenset({"metrics", "traces"})

    decisions: bool = Field(
        default=True,
        description="Whether each decision is written down, for `coe why`, feedback and reports. It"
        " takes about 50 microseconds of a processor for a request.",
    )
    decisions_for: Duration | None = Field(
        None, description="After so long a decision and its feedback are forgotten. Default `30d`."
    )
    keep_prompts: Literal["hash", "text", "none"] = Field(
        "hash",
        description="`hash`: a keyed digest, by which equal prompts can be counted; `text`: the"
        " messages as well, for `prompts_for`; `none`: neither.",
    )
    prompts_for: Duration | None = Field(
        None, description="After so long the texts of prompts are forgotten. Default `7d`."
    )
