"""What may be written of learning from answers."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from coe.composition.keys import JsonObject, Keys, Money, Share

Mode = Literal["off", "propose", "adapt"]


class LearningKeys(Keys):
    """Whether what is said of answers changes who answers."""

    SHORT: ClassVar[JsonObject] = {
        "type": "string",
        "enum": ["off", "propose", "adapt"],
        "description": "`mode`",
    }

    mode: Mode = Field(
        "off",
        description="`off`; `propose`: it learns, and `coe learn propose` shows a diff for a person"
        " to apply; `adapt`: it chooses among the experts of the fitted map.",
    )
    explore: Share | None = Field(
        None,
        description="Of the requests, for experts that may well be as good as the best. Default:"
        " `2%`. Not in tool loops, nor where a conversation keeps its expert.",
    )
    budget: Money | None = Field(
        None, description="What a request may cost in the mean. Default: no limit."
    )
    answers: int = Field(
        1000, ge=1, le=1_000_000, description="How many answers the fitted map counts for."
    )

    @classmethod
    def from_short(cls, value: Any) -> Any:
        """A word is the mode; YAML reads a bare `off` as it is."""
        return {"mode": value} if isinstance(value, str) else value
