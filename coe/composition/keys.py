"""What the models of the file are made of: strict mappings with short forms, and typed scalars."""

from __future__ import annotations

import re
import warnings
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    PlainValidator,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from coe.composition import units

JsonObject = dict[str, Any]


class Keys(BaseModel):
    """A mapping of the file: its keys are the fields, and no other key is accepted.

    Attributes:
        LATER: keys that are designed but that no code serves yet.
        SHORT: JSON schema of the short form, where there is one; `from_short` reads it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    LATER: ClassVar[frozenset[str]] = frozenset()
    SHORT: ClassVar[JsonObject] = {}

    @classmethod
    def from_short(cls, value: Any) -> Any:
        """Return the mapping that a short form stands for; anything else as it is.

        Raises:
            ValueError: a short form that cannot be read.
        """
        return value

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, value: Any) -> Any:
        return cls.from_short(value)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Accept the short form too."""
        schema = handler.resolve_ref_schema(handler(core_schema))
        if not cls.SHORT:
            return schema
        long = {key: value for key, value in schema.items() if key not in {"title", "description"}}
        about: JsonObject = {key: schema[key] for key in ("title", "description") if key in schema}
        return {**about, "anyOf": [cls.SHORT, long]}


def listed(value: Any) -> Any:
    """Return a list where a single text stands for a list of one."""
    return [value] if isinstance(value, str) else value


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("an empty text says nothing; remove it")
    return text


def _compiles(pattern: str) -> str:
    """Return the pattern. Raises ValueError where `re` refuses it or finds it doubtful."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            re.compile(pattern)
    except (re.error, OverflowError, RecursionError, Warning) as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return pattern


def _or_text(items: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [{"type": "string"}, {"type": "array", "items": items}]}


Text = Annotated[str, AfterValidator(_not_blank), Field(json_schema_extra={"minLength": 1})]
Texts = Annotated[list[Text], BeforeValidator(listed), WithJsonSchema(_or_text({"type": "string"}))]
Pattern = Annotated[str, AfterValidator(_compiles), WithJsonSchema({"type": "string"})]
Patterns = Annotated[
    list[Pattern], BeforeValidator(listed), WithJsonSchema(_or_text({"type": "string"}))
]

# Names travel in headers and in the `model` field of requests.
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:@+/-]{0,127}$"
BACKEND_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:@+-]{0,127}$"
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
BackendName = Annotated[str, StringConstraints(pattern=BACKEND_NAME_PATTERN)]

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]

Size = Annotated[
    int,
    BeforeValidator(units.parse_size),
    PlainSerializer(units.format_size),
    WithJsonSchema({"type": "string", "pattern": units.SIZE_PATTERN, "examples": ["80GiB"]}),
]
Duration = Annotated[
    float,
    BeforeValidator(units.parse_duration),
    PlainSerializer(units.format_duration),
    WithJsonSchema({"type": "string", "pattern": units.DURATION_PATTERN, "examples": ["20s"]}),
]
Tokens = Annotated[
    int,
    BeforeValidator(units.parse_tokens),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {"type": "string", "pattern": units.TOKENS_PATTERN},
            ],
            "examples": ["128k", 4096],
        }
    ),
]
Money = Annotated[
    tuple[float, str],
    PlainValidator(units.parse_money),
    PlainSerializer(lambda money: units.format_money(*money)),
    WithJsonSchema({"type": "string", "pattern": units.MONEY_PATTERN, "examples": ["0.02 USD"]}),
]
Share = Annotated[
    float,
    BeforeValidator(units.parse_share),
    PlainSerializer(units.format_share),
    WithJsonSchema({"type": "string", "pattern": units.SHARE_PATTERN, "examples": ["5%"]}),
]
Points = Annotated[
    float,
    BeforeValidator(units.parse_points),
    PlainSerializer(units.format_points),
    WithJsonSchema({"type": "string", "pattern": units.POINTS_PATTERN, "examples": ["0.5pt"]}),
]
Price = Annotated[
    tuple[float, str],
    PlainValidator(units.parse_price),
    PlainSerializer(lambda price: units.format_price(*price)),
    WithJsonSchema({"type": "string", "pattern": units.PRICE_PATTERN, "examples": ["2.50 USD/M"]}),
]
