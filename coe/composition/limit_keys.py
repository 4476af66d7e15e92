"""What may be written of limits: so many requests and tokens, and so much money, for whom."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from pydantic import Field, PlainSerializer, PlainValidator, WithJsonSchema

from coe.composition.keys import Keys
from coe.errors import ConfigError
from coe.limits.rules import COUNT_PATTERN, MONEY_PATTERN, MOST, Rule, read_count, read_money
from coe.limits.scopes import SCOPE_PATTERN, AtLimit, Scope, Unpriced, scope_of


def _valued(read: Callable[[Any], Any], value: Any) -> Any:
    """Return what a value says. Raises ValueError, which pydantic collects."""
    try:
        return read(value)
    except ConfigError as error:
        raise ValueError(error.message) from None


def _rate(rule: Rule) -> str:
    return str(rule).replace(f" {rule.what}", "")


ScopeName = Annotated[
    Scope,
    PlainValidator(partial(_valued, scope_of)),
    PlainSerializer(str),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": SCOPE_PATTERN,
            "examples": ["all", "team", "team:research", "key", "key:ci"],
        }
    ),
]
Requests = Annotated[
    Rule,
    PlainValidator(partial(_valued, partial(read_count, "requests"))),
    PlainSerializer(_rate),
    WithJsonSchema({"type": "string", "pattern": COUNT_PATTERN, "examples": ["60/min"]}),
]
TokenRate = Annotated[
    Rule,
    PlainValidator(partial(_valued, partial(read_count, "tokens"))),
    PlainSerializer(_rate),
    WithJsonSchema({"type": "string", "pattern": COUNT_PATTERN, "examples": ["100k/min"]}),
]
MoneyRate = Annotated[
    Rule,
    PlainValidator(partial(_valued, read_money)),
    PlainSerializer(str),
    WithJsonSchema(
        {"type": "string", "pattern": MONEY_PATTERN, "examples": ["50 USD/day", "800 USD/month"]}
    ),
]

_SCOPE = (
    "Whom it holds for: `all` together, each `team` or each `key` on its own, or one of them by"
    " name: `team:NAME`, `key:NAME`."
)


class LimitKeys(Keys):
    """How much may be asked. Who asks more is refused with 429 and told when to come again."""

    scope: ScopeName = Field(description=_SCOPE)
    requests: Requests | None = Field(
        None, description="Requests in a time, whatever calls they lead to."
    )
    tokens: TokenRate | None = Field(
        None, description="Tokens of prompts and answers in a time, of all calls."
    )
    at_once: int | None = Field(
        None, ge=1, le=MOST["at_once"], description="Requests that may be under way."
    )


class BudgetKeys(Keys):
    """How much money may be spent. No call is made that could take the sum over it."""

    scope: ScopeName = Field(description=_SCOPE)
    limit: MoneyRate = Field(description="Money in a time, of the calendar in UTC.")
    at_limit: AtLimit = Field(
        "refuse",
        description="What happens to a request that does not fit: 429, or the cheapest expert that"
        " is good enough answers, and 429 where that does not fit either.",
    )
    unpriced: Unpriced = Field(
        "free",
        description="Whether experts without `cost` cost nothing, or may not be asked by those"
        " whom the budget holds for.",
    )
