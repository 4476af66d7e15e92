"""What may be written of what is remembered."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from coe.composition.keys import Duration, Keys, Share, Size, Text


class ObserveKeys(Keys):
    """What is remembered of requests. It stays in the state folder, on this machine."""

    LATER = frozenset({"metrics"})

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
    prompts_size: Size | None = Field(
        None,
        description="Most of a prompt's text that is kept: of a longer one the oldest messages are"
        " left out. Default `64KiB`. What looks like a key is replaced before it is written.",
    )
    traces: Text | None = Field(
        None,
        description="Address of a collector that takes OpenTelemetry's spans by OTLP over HTTP,"
        " such as `http://127.0.0.1:4318`; `/v1/traces` is added where it has no path. Needs"
        " `coe-gateway[otel]`. No prompt, no answer and no key is in them.",
    )
    trace_sample: Share | None = Field(
        None,
        description="Of the requests that bring no `traceparent`, so many are traced; the others"
        " are where that says so. Default `10%`.",
    )
