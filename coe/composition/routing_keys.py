"""What may be written of categories, routers and routes: how an expert is found."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import AliasChoices, ConfigDict, Field

from coe.composition.conversation_keys import ContextKeys, SessionKeys
from coe.composition.keys import (
    Duration,
    Fraction,
    JsonObject,
    Keys,
    Money,
    Name,
    Patterns,
    Text,
    Texts,
)
from coe.composition.trust import Trust


class KeywordKeys(Keys):
    """Words and patterns that decide without a model."""

    SHORT: ClassVar[JsonObject] = {
        "type": "array",
        "items": {"type": "string"},
        "description": "the same as `any`",
    }

    any: Texts = Field([], description="Words or phrases; one of them is enough. Case is ignored.")
    regex: Patterns = Field([], description="Python regular expressions; one match is enough.")

    @classmethod
    def from_short(cls, value: Any) -> Any:
        """A list is `any`."""
        return {"any": value} if isinstance(value, (list, str)) else value


def _with_other_spelling(schema: JsonObject) -> None:
    other = {**schema["properties"]["negatives"], "description": "Another name of `negatives`."}
    schema["properties"]["not_utterances"] = other


class CategoryKeys(Keys):
    """What people ask: the label that a router predicts."""

    LATER = frozenset({"permissions"})
    SHORT: ClassVar[JsonObject] = {
        "type": "array",
        "items": {"type": "string"},
        "description": "the utterances",
    }
    # Both spellings are read; the first is the one that is written.
    NEGATIVES: ClassVar[AliasChoices] = AliasChoices("negatives", "not_utterances")
    model_config = ConfigDict(json_schema_extra=_with_other_spelling)

    description: str = Field("", description="One line that says what belongs here.")
    utterances: Texts = Field([], description="Texts as users write them; 5 at the very least.")
    utterances_file: Text | None = Field(
        None,
        description="More of them, one per line; `#` starts a comment. Relative to this file.",
    )
    negatives: Texts = Field(
        [],
        validation_alias=NEGATIVES,
        serialization_alias="negatives",
        description="Near misses: texts that look alike and belong elsewhere.",
    )
    negatives_file: Text | None = Field(None, description="More of them, one per line.")
    keywords: KeywordKeys | None = Field(
        None, description="Words and patterns that decide without a model."
    )
    threshold: Fraction | None = Field(
        None, description="Least probability, 0 to 1, at which this category is chosen."
    )
    experts: Texts | None = Field(
        None,
        description="Ranked experts: first choice, then fallbacks. Short for `routing.routes`.",
    )
    aggregate: Text | None = Field(
        None, description="The panel that answers, or `none`; as in `routing.routes`."
    )
    skills: dict[Name, Fraction] = Field(
        {}, description="What its texts need, 0 to 1 by skill; read by routers of type `skill`."
    )
    data: Text | None = Field(
        None, description="The data class of its requests, one of `policies.data_classes`."
    )

    @classmethod
    def from_short(cls, value: Any) -> Any:
        """A list holds the utterances."""
        return {"utterances": value} if isinstance(value, list) else value


class PluginKeys(Keys):
    """An encoder or a router: a type, and the options of that type."""

    model_config = ConfigDict(extra="allow")
    SHORT: ClassVar[JsonObject] = {"type": "string", "description": "the type"}

    type: Text = Field(description="An installed plugin; the other keys are its options.")

    @classmethod
    def from_short(cls, value: Any) -> Any:
        """A text is the type."""
        return {"type": value} if isinstance(value, str) else value

    @property
    def options(self) -> dict[str, Any]:
        """All keys but `type`."""
        return dict(self.model_extra or {})


class EncoderKeys(PluginKeys):
    """Text to vector: a `coe.encoders` plugin and its options."""

    trust: Trust | None = Field(
        None,
        description="How far away it is, for rules of `policies`. Default: as of a backend with its"
        " `url`; `local` without one.",
    )


class RouterKeys(PluginKeys):
    """Text to category scores: a `coe.routers` plugin and its options."""

    # The options that name an expert which the router asks.
    ASKS: ClassVar[tuple[str, ...]] = ("expert", "tagger")

    max_wait: Duration | None = Field(
        None, description="How long an expert that it asks may take. Default: `2s`."
    )

    @property
    def asked(self) -> dict[str, str]:
        """The experts that it asks, by the option that names them."""
        named = {key: self.options.get(key) for key in self.ASKS}
        return {key: name for key, name in named.items() if isinstance(name, str)}


class RouteKeys(Keys):
    """The ranked experts of a category."""

    LATER = frozenset({"when"})
    SHORT: ClassVar[JsonObject] = {
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        "description": "the ranked experts",
    }

    experts: Texts = Field(description="First choice, then fallbacks.")
    choose: Literal["ranked"] | None = Field(
        None,
        description="`ranked`: this list holds whatever the map says, for every model name."
        " Default: as the request's model has it.",
    )
    aggregate: Text | None = Field(
        None,
        description="The panel of `aggregation` that answers, or `none`: one expert, for every"
        " model name. Default: as the request's model has it.",
    )

    @classmethod
    def from_short(cls, value: Any) -> Any:
        """A list holds the experts, a text is the only one."""
        return {"experts": value} if isinstance(value, (list, str)) else value


class RoutingKeys(Keys):
    """From a category to the experts that answer."""

    LATER = frozenset({"multi_label", "prefer_resident"})

    router: Text | None = Field(
        None, description="The router that decides; `default` where a router has that name."
    )
    choose: Literal["ranked", "fitted", "best_single", "random"] = Field(
        "ranked",
        description="`ranked`: the first of the list that may answer, answers. `fitted`: the expert"
        " with the highest utility by the fitted map (`coe map fit`, `coe map apply`), then the"
        " list. For comparisons: `best_single`, the map's best expert for everything (without a map"
        " the `default`); `random`, one of the list, each as likely.",
    )
    guard: Literal["report", "enforce"] = Field(
        "report",
        description="What it means that the map is flagged, as no better than the best single"
        " expert: `report` uses it and says so; with `enforce` that expert answers first.",
    )
    routes: dict[Name, RouteKeys] = Field({}, description="Ranked experts by category.")
    none: Texts | None = Field(
        None, description="Who answers when no category is sure. Default: the `default` expert."
    )
    threshold: Fraction = Field(
        0.5, description="Least probability, 0 to 1, of categories that name none of their own."
    )
    margin: Fraction = Field(
        0.0, description="Least gap, 0 to 1, between the best two; closer than this is not sure."
    )
    context: ContextKeys = Field(ContextKeys(), description="How much of a conversation is routed.")
    sessions: SessionKeys = Field(
        SessionKeys(), description="How the decisions of one conversation hang together."
    )


class ModelKeys(Keys):
    """A virtual model: a name that clients may use and that stands for no single expert."""

    choose: Literal["ranked", "fitted", "cheapest_good"] | None = Field(
        None,
        description="`ranked` and `fitted` as in `routing`; `cheapest_good`: by the fitted map, the"
        " cheapest expert that is good enough. Default: what the other two keys ask for, or"
        " `routing.choose`.",
    )
    quality_floor: Fraction | None = Field(
        None,
        description="Least expected quality, 0 to 1, of `cheapest_good`. Default: 0.05 under that"
        " of the best expert for the prompt.",
    )
    willingness_to_pay: Money | None = Field(
        None,
        description="What 10 points of expected quality are worth on one request, for `fitted`."
        " Default: the map's own price; for `coe/best` money is no object.",
    )
    aggregate: Text | None = Field(
        None,
        description="The panel that answers, or `none`: one expert. Default: as the category's"
        " route has it, but for `cheapest_good`, which asks one.",
    )

    @classmethod
    def from_short(cls, value: Any) -> Any:
        """Nothing stands for no keys."""
        return {} if value is None else value
