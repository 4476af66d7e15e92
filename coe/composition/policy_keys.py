"""What may be written of policies: data classes, detectors, and rules about who may be asked."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    AliasChoices,
    BeforeValidator,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)

from coe.composition.hours import HOURS_PATTERN, format_hours, parse_hours
from coe.composition.keys import Keys, Money, Text, Texts
from coe.composition.policy_values import Detector, Hours
from coe.composition.trust import Trust

CLASS_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
ClassName = Annotated[str, StringConstraints(pattern=CLASS_PATTERN)]

Span = Annotated[
    Hours,
    BeforeValidator(parse_hours),
    PlainSerializer(format_hours),
    WithJsonSchema(
        {"type": "string", "pattern": HOURS_PATTERN, "examples": ["22:00-06:00 Europe/Zurich"]}
    ),
]


class ConditionKeys(Keys):
    """When a rule holds: where all that is given is so. Without any condition it always holds."""

    data: Text | None = Field(
        None, description="The request is of this data class, or of a more sensitive one."
    )
    team: Texts | None = Field(None, description="The key is of this team, or of one of these.")
    key: Texts | None = Field(None, description="It is this key, by its id or its name.")
    category: Texts | None = Field(
        None, description="The request is of this category, or of one of these."
    )
    hours: Span | None = Field(
        None, description="It is between these times of the day, in this time zone."
    )


class RequireKeys(Keys):
    """What an expert must be."""

    trust: list[Trust] = Field(description="How far away its backend may be.", min_length=1)


class GroupKeys(Keys):
    """Some experts: by their names, or by tags that they have."""

    experts: Texts = Field([], description="By name.")
    tags: Texts = Field([], description="Whoever has one of these tags.")


class RuleKeys(Keys):
    """A rule: what it takes away, no other rule gives back."""

    name: Text = Field(description="What a refusal calls it.")
    condition: ConditionKeys = Field(
        ConditionKeys(),
        validation_alias=AliasChoices("if"),
        serialization_alias="if",
        description="When it holds. Default: always.",
    )
    require: RequireKeys | None = Field(None, description="Only experts that are like this.")
    allow: GroupKeys | None = Field(None, description="Only these experts.")
    deny: GroupKeys | None = Field(
        None, description="Not these experts, nor what stands on them: adapters, programs."
    )
    max_cost: Money | None = Field(
        None, description="Most money that one request may cost, all of its calls together."
    )
    otherwise: Literal["refuse"] | None = Field(
        None,
        validation_alias=AliasChoices("else"),
        serialization_alias="else",
        description="`refuse`: it is meant that a request is refused, or a panel is not asked,"
        " where the rule leaves nobody. Without it `coe check` takes that for a mistake.",
    )


class ClientKeys(Keys):
    """What clients may ask for."""

    LATER = frozenset({"read_explanations", "set_quality"})

    exclude: bool = Field(
        default=True, description="Keep experts out of a request, by the header `x-coe-exclude`."
    )
    choose_expert: bool = Field(default=True, description="Name an expert as the `model`.")
    opt_out_experiment: bool = Field(
        default=True, description="Stay out of experiments, by the header `x-coe-experiment: off`."
    )


class PolicyKeys(Keys):
    """Who may be sent what. Decided before experts are ranked, and nothing goes around it."""

    LATER = frozenset({"budgets"})

    data_classes: list[ClassName] = Field(
        [],
        description="How sensitive requests can be, the least sensitive first. A request is of the"
        " first one, unless a detector, its category or its client says more.",
    )
    detect: dict[Detector, Text] = Field(
        {},
        description="The data class of a request in which something is found: `secrets` (tokens and"
        " keys by their shape), `email`, `card`, `phone`, `iban`; `pii` is the last four. Needs"
        " `pip install 'coe-gateway[policies]'`.",
    )
    phone_countries: list[Annotated[str, StringConstraints(pattern="^[A-Z]{2}$")]] = Field(
        [],
        description="Countries (`CH`) whose phone numbers are found as people write them there."
        " Without it: with their `+` alone.",
    )
    rules: list[RuleKeys] = Field([], description="All that apply hold together.")
    client_may: ClientKeys = Field(
        ClientKeys(), description="What clients may ask for of who answers."
    )
