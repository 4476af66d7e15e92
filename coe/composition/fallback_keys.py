"""What may be written of experts that fail: who is asked next, and who is spared."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from coe.composition import units
from coe.composition.keys import Count, Duration, JsonObject, Keys, Share, Text
from coe.resilience.kinds import WORDS
from coe.resilience.rules import P95

_LEAST, _END = 400, 600


def _kind(value: Any) -> str:
    """Return a kind of failure. Raises ValueError where there is none of that name."""
    if isinstance(value, int) and not isinstance(value, bool) and _LEAST <= value < _END:
        return str(value)
    if value in WORDS:
        return str(value)
    raise ValueError(
        f"{str(value)[:60]!r} is no kind of failure; there are {', '.join(WORDS)}, and every status"
        f" from {_LEAST} to {_END - 1}"
    )


def _after(value: Any) -> float | str:
    return P95 if value == P95 else units.parse_duration(value)


def _some(kinds: list[str]) -> list[str]:
    if not kinds:
        raise ValueError("an empty list; for no fallbacks at all write `use: none`")
    return kinds


_STATUS: JsonObject = {"type": "integer", "minimum": _LEAST, "maximum": _END - 1}
Kind = Annotated[
    str,
    BeforeValidator(_kind),
    PlainSerializer(lambda kind: int(kind) if kind.isdigit() else kind),
    WithJsonSchema({"anyOf": [{"enum": list(WORDS)}, _STATUS], "examples": ["timeout", 429]}),
]
After = Annotated[
    float | Literal["p95"],
    BeforeValidator(_after),
    PlainSerializer(lambda after: after if after == P95 else units.format_duration(after)),
    WithJsonSchema(
        {
            "anyOf": [{"enum": [P95]}, {"type": "string", "pattern": units.DURATION_PATTERN}],
            "examples": ["2s"],
        }
    ),
]


class BreakerKeys(Keys):
    """When an expert that keeps failing is not asked for a while."""

    failures: Count = Field(5, le=1000, description="So many in a row open it.")
    window: Duration = Field(30.0, description="Failures that are longer ago do not count.")
    open: Duration = Field(
        20.0, description="How long nobody is sent there; then one call finds out."
    )
    error_rate: Share | None = Field(
        None,
        description="So large a share of failures in the window opens it too, from 10 calls on.",
        examples=["50%"],
    )


class HedgeKeys(Keys):
    """When the next expert is asked beside one that has not begun to answer."""

    SHORT: ClassVar[JsonObject] = {"type": "string", "description": "`after`"}

    after: After = Field(
        description="Without a first token for so long; `p95`: for longer than 19 of 20 of its last"
        " answers took."
    )
    most: Count = Field(1, le=3, description="Experts asked beside the first, in all.")
    tools: bool = Field(default=False, description="Whether also where the request has tools.")

    @classmethod
    def from_short(cls, value: Any) -> Any:
        """A text is the time."""
        return {"after": value} if isinstance(value, str) else value


class FallbackKeys(Keys):
    """What happens when an expert fails before its first byte."""

    use: Literal["next_ranked", "none"] = Field(
        "next_ranked",
        description="Who is asked next: the `next_ranked` expert of the same decision, or `none`:"
        " the first failure is final, that of a panel too.",
    )
    attempts: Count = Field(3, le=20, description="Most experts that one request tries.")
    retry_on: Annotated[list[Kind], AfterValidator(_some)] | None = Field(
        None,
        description="Kinds of failures after which the next expert is asked. Default: all that"
        " another expert may do better at.",
    )
    never_retry: list[Kind] = Field(
        [], description="Kinds after which it is not; the closest word decides: 403 before 4xx."
    )
    last_resort: Text | None = Field(
        None, description="The expert that is asked when all attempts have failed."
    )
    first_byte: Duration | None = Field(
        None,
        description="Until an expert has sent the first content of a streamed answer, for each"
        " attempt. A shorter `timeouts.first_token` holds as well.",
    )
    total: Duration | None = Field(
        None, description="Until an expert has begun to answer, all attempts together."
    )
    after_first_byte: Literal["stop"] = Field(
        "stop",
        description="An answer that breaks off ends with an error: another expert never goes on"
        " with it.",
    )
    retry_after: Duration | None = Field(
        None,
        description="An expert that answers 429 or 503 and asks to wait at most so long is asked"
        " once more after it. Default: the next one is asked at once.",
    )
    retry_budget: Share | None = Field(
        None,
        description="Calls beyond one a request, as a share of the requests. Default: `20%` where"
        " there is a breaker, else no bound.",
    )
    breaker: BreakerKeys | None = Field(
        None, description="Spares experts that keep failing. Default: there is none; `{}` is one."
    )
    hedge: HedgeKeys | None = Field(
        None, description="Asks two experts where the first is slow. Default: never."
    )
    cold: Literal["wait", "reroute"] = Field(
        "wait",
        description="Where the expert is not in memory: `wait` for it, or `reroute` to the next"
        " ranked one that is. The header `x-coe-cold` has the last word.",
    )
    shed_after: Duration | None = Field(
        None,
        description="A call that would wait longer for one of its backend's `concurrency` slots is"
        " refused at once. Default: it waits.",
    )
