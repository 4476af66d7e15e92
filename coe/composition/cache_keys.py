"""What may be written of answers that are kept and given again."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from coe.composition.keys import Duration, Fraction, JsonObject, Keys, Size, Text

Mode = Literal["none", "exact", "exact_then_semantic"]
MODES = ("none", "exact", "exact_then_semantic")


class CacheKeys(Keys):
    """Whole good answers, kept for a while; nobody is given what another one was told."""

    SHORT: ClassVar[JsonObject] = {"enum": list(MODES), "description": "`mode`"}

    mode: Mode = Field(
        "none",
        description="`exact`: the same request is given the same answer; `exact_then_semantic`:"
        " also one that differs in the words of its last turn alone.",
    )
    ttl: Duration | None = Field(None, description="An answer is kept for so long. Default `1h`.")
    most: Size | None = Field(
        None,
        description="Of memory, for all answers; Redis has a limit of its own. Default `64MiB`.",
    )
    partition: Literal["key", "team"] = Field(
        "key", description="Who shares answers: nobody, or the keys of a team."
    )
    similarity: Fraction = Field(
        0.95, description="Least cosine of two last turns that mean the same."
    )
    encoder: Text | None = Field(
        None, description="Of `encoders`, by which that is measured. Default `minilm`."
    )

    @classmethod
    def from_short(cls, value: Any) -> Any:
        """A word is the mode."""
        return {"mode": value} if isinstance(value, str) else value
