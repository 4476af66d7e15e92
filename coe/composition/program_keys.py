"""What may be written of prompt programs: experts that are recipes over others, or cost nothing."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, get_args

from pydantic import Field

from coe.composition.keys import Count, Duration, JsonObject, Keys, Text
from coe.composition.programs import MOST, NEAREST, Answer


class ExamplesKeys(Keys):
    """Answered prompts, the nearest of which are shown to the expert before each prompt."""

    SHORT: ClassVar[JsonObject] = {"type": "string", "description": "the file"}

    file: Text = Field(
        description="JSON lines, each with a `prompt`, or `messages`, and its `answer`.",
        examples=["examples/med.jsonl"],
    )
    nearest: Count = Field(
        NEAREST, description="How many are shown: the nearest to the user's last turn."
    )
    encoder: Text | None = Field(
        None,
        description="What tells how near they are. Default: the only one of the file, or `minilm`.",
    )

    @classmethod
    def from_short(cls, value: Any) -> Any:
        """A text is the file."""
        return {"file": value} if isinstance(value, str) else value


class VoteKeys(Keys):
    """What samples vote on. The answer that most of them give wins, and the first that gives it."""

    SHORT: ClassVar[JsonObject] = {"enum": [*get_args(Answer)], "description": "`answer`"}

    answer: Answer = Field(
        description="The last `number`, the letter of a `choice`, the `json`, or the whole `text`."
    )
    after: Text | None = Field(
        None, description="Only what follows the last of this counts, such as `####`."
    )
    options: Annotated[int, Field(ge=2, le=26)] | None = Field(
        None, description="How many answers there are to choose from. Default: 10."
    )

    @classmethod
    def from_short(cls, value: Any) -> Any:
        """A text is the kind of answer."""
        return {"answer": value} if isinstance(value, str) else value


class RecipeKeys(Keys):
    """How another expert is asked: with a system prompt, with examples, more than once."""

    over: Text = Field(
        description="The expert that is asked. Its context, capabilities and prices are inherited."
    )
    system: Text | None = Field(
        None, description="A system prompt; that of the request follows it."
    )
    system_file: Text | None = Field(
        None, description="The file that holds it, relative to this file."
    )
    examples: ExamplesKeys | None = Field(None, description="Answered prompts, as few shots.")
    samples: Annotated[int, Field(ge=1, le=32)] = Field(
        1, description="How many answers are asked for; a vote makes one of them."
    )
    vote: VoteKeys | None = Field(None, description="What the samples vote on.")
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(
        None,
        description="Of the samples, whatever the request says. Default with several samples:"
        " `0.7`.",
    )


class CachedKeys(Keys):
    """Whole answers of an expert, kept and given again to the very same request."""

    SHORT: ClassVar[JsonObject] = {"type": "string", "description": "the expert, as `over`"}

    over: Text = Field(description="The expert that answers what is not kept.")
    ttl: Duration | None = Field(None, description="How long an answer is kept. Default: `1h`.")
    max: Count = Field(MOST, description="How many answers are kept, in memory.")

    @classmethod
    def from_short(cls, value: Any) -> Any:
        """A text is the expert."""
        return {"over": value} if isinstance(value, str) else value
