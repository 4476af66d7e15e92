"""What may be written of panels: several experts, one answer."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from coe.composition.keys import Count, Duration, Fraction, JsonObject, Keys, Money, Text, Texts
from coe.composition.values import MOST_MEMBERS


class MembersKeys(Keys):
    """Who drafts the answer: experts by name, or so many of those that are ranked for a request."""

    SHORT: ClassVar[JsonObject] = {
        "anyOf": [
            {"type": "integer", "minimum": 1, "maximum": MOST_MEMBERS},
            {"type": "array", "items": {"type": "string"}},
        ],
        "description": "`top`, or `named`",
    }

    named: Texts | None = Field(
        None, description="The members, best first. Default: as they are ranked for a request."
    )
    top: Count | None = Field(
        None, le=MOST_MEMBERS, description="Most members. Default: all that are named, else 3."
    )
    min: Count = Field(
        1,
        le=MOST_MEMBERS,
        description="Fewest members; where fewer may answer, one expert answers alone.",
    )
    choose: Literal["ranked", "recruited"] = Field(
        "ranked",
        description="`ranked`: the first of the ranking. `recruited`: by what was measured of them,"
        " those that add most to each other (`coe panel fit`).",
    )
    distinct_backends: bool = Field(
        default=False, description="Whether no two members may run on the same backend."
    )
    samples: Count = Field(1, le=MOST_MEMBERS, description="How often each member is asked.")
    sure_at: Fraction | None = Field(
        None,
        description="Members are added until one of them is right with this probability, as far as"
        " that was measured. Default: always `top`.",
    )

    @classmethod
    def from_short(cls, value: Any) -> Any:
        """A number is the most members, a list or a text holds their names."""
        if isinstance(value, int) and not isinstance(value, bool):
            return {"top": value}
        return {"named": value} if isinstance(value, (list, str)) else value


class PanelKeys(Keys):
    """Several experts whose drafts make one answer; see `routing.routes.NAME.aggregate`."""

    model_config = ConfigDict(extra="allow")

    method: Text = Field(
        description="How drafts become an answer: an installed `coe.aggregators` plugin. The keys"
        " that are not listed here are its options."
    )
    experts: MembersKeys = Field(MembersKeys(), description="Who drafts.")
    judge: Text | None = Field(
        None, description="The expert that compares drafts. Default: the best member."
    )
    writer: Text | None = Field(
        None, description="The expert that writes the answer. Default: the best member."
    )
    quorum: Count | None = Field(
        None, description="Drafts that are enough. Default: all that are asked for."
    )
    deadline: Duration | None = Field(
        None, description="After so long the answer is made of the drafts that are there."
    )
    draft_deadline: Duration | None = Field(
        None, description="A member that takes longer is dropped; so is a judge or a writer."
    )
    max_cost: Money | None = Field(
        None,
        description="What all calls of a request may cost. A call that could pass it is not made.",
    )
    tools: Literal["single_owner"] = Field(
        "single_owner", description="Who may call the client's tools: one expert, without a panel."
    )

    @property
    def asked(self) -> tuple[str, ...]:
        """The experts that it names."""
        names = (*(self.experts.named or ()), self.judge, self.writer)
        return tuple(name for name in names if name is not None)

    @property
    def options(self) -> dict[str, Any]:
        """The keys that only the method knows."""
        return dict(self.model_extra or {})
