"""What may be written of conversations: how much of one is routed, and how its decisions hold."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema

from coe.composition.keys import Count, Duration, Fraction, JsonObject, Keys, listed

REMINDER = "system_reminder"
DERIVED = "derived"
CODE_BLOCKS = "code_blocks_over"

_SOURCE = r"^(header:[!#$%&'*+.^_`|~0-9A-Za-z-]+|body:[A-Za-z_][A-Za-z0-9_]*|derived)$"
_RULES = f"write `{REMINDER}` or `{CODE_BLOCKS}: 2000`"


def _rule(value: Any) -> str | dict[str, int]:
    """Return one rule of `strip`. Raises ValueError where it is none."""
    if value == REMINDER:
        return REMINDER
    if isinstance(value, dict) and list(value) == [CODE_BLOCKS]:
        limit = value[CODE_BLOCKS]
        if isinstance(limit, int) and not isinstance(limit, bool) and limit >= 0:
            return {CODE_BLOCKS: limit}
        raise ValueError(f"`{CODE_BLOCKS}` needs a number of characters, such as 2000")
    shown = ", ".join(map(str, value)) if isinstance(value, dict) else value
    raise ValueError(f"`{shown!s:.60}` is nothing that can be stripped; {_RULES}")


def _source(text: str) -> str:
    """Return one source of a session key. Raises ValueError where it is none."""
    if not re.match(_SOURCE, text):
        raise ValueError(
            f"`{text:.60}` is no source of a session key; write `header:NAME`, `body:FIELD`"
            f" or `{DERIVED}`"
        )
    return text.lower() if text.startswith("header:") else text


Rule = Annotated[
    str | dict[str, int],
    PlainValidator(_rule),
    WithJsonSchema(
        {
            "anyOf": [
                {"const": REMINDER},
                {
                    "type": "object",
                    "properties": {
                        CODE_BLOCKS: {
                            "type": "integer",
                            "minimum": 0,
                            "description": "Fenced code of more characters is left out.",
                        }
                    },
                    "required": [CODE_BLOCKS],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]
Source = Annotated[
    str, AfterValidator(_source), WithJsonSchema({"type": "string", "pattern": _SOURCE})
]


class ContextKeys(Keys):
    """The part of a conversation that is routed: the last user turns, and nothing else."""

    turns: Count = Field(3, le=20, description="User turns, the last one included.")
    max_chars: int = Field(
        4000,
        ge=100,
        le=100_000,
        description="Of the routed text; a longer turn is cut to its beginning and its end.",
    )
    strip: list[Rule] = Field(
        [REMINDER, {CODE_BLOCKS: 2000}],
        description="What is left out: `system_reminder` blocks, and with `code_blocks_over: N`"
        " fenced code of more than N characters.",
    )


class SessionKeys(Keys):
    """What the last decision of a conversation means for the next one."""

    SHORT: ClassVar[JsonObject] = {
        "enum": ["never", "turn", "until_topic_change", "always"],
        "description": "the same as `stick`",
    }

    key: Annotated[list[Source], BeforeValidator(listed)] = Field(
        ["header:x-session-id", "body:user", "body:prompt_cache_key", DERIVED],
        description="Where the session's key is looked for, in this order: `header:NAME`,"
        " `body:FIELD`, or `derived` from the system prompt, the tools and the first user turn.",
    )
    stick: Literal["never", "turn", "until_topic_change", "always"] = Field(
        "until_topic_change",
        description="What a decision holds for: `never` longer than its request, the whole user"
        " `turn`, `until_topic_change`, or `always` until the session ends.",
    )
    switch_margin: Fraction = Field(
        0.15, description="Least lead, 0 to 1, of another category over the last one."
    )
    switch_cost: Fraction = Field(
        0.05, description="Added to it where another expert would answer."
    )
    lock_in_tool_loop: bool = Field(
        default=True,
        description="Whether category and expert stay as they are while the model calls tools.",
    )
    ttl: Duration | None = Field(
        None, description="A session is forgotten this long after its last decision. Default `1h`."
    )

    @classmethod
    def from_short(cls, value: Any) -> Any:
        """A text is what it sticks to."""
        return {"stick": value} if isinstance(value, str) else value
