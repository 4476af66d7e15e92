"""The body of /v1/feedback -> feedback. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from coe.errors import InvalidRequest
from coe.stores.decisions import Feedback

MOST_CHARACTERS = 10_000
_MOST_TAGS = 32
_MOST_EXPERTS = 256
_MOST_LABEL = 128
_BEST_RATING = 5
_KEYS = frozenset(
    {
        "comment",
        "correct",
        "decision_id",
        "demonstration",
        "idempotency_key",
        "rating",
        "response_id",
        "score",
        "tags",
        "value",
    }
)
_SAYS = ("value", "rating", "score", "comment", "demonstration", "correct", "tags")


class Opinion(NamedTuple):
    """Feedback that does not yet know its decision.

    Attributes:
        name: id of the decision, or of the answer.
        feedback: without a decision.
    """

    name: str
    feedback: Feedback


def parse(body: Mapping[str, Any], *, at: float, key: str) -> Opinion:
    """Return what a body says.

    Args:
        body: of the request.
        at: now, in seconds since the epoch.
        key: the same key for the same decision replaces what was said; `idempotency_key` in the
            body goes before it.

    Raises:
        InvalidRequest: with `param` naming the field.
    """
    for name in body:
        if name not in _KEYS:
            raise InvalidRequest(f"`{name:.60}` is no field of feedback", param=name[:60])
    names = [body[field] for field in ("decision_id", "response_id") if field in body]
    if len(names) != 1 or not isinstance(names[0], str) or not names[0]:
        raise InvalidRequest(
            "name the answer: `decision_id` (the header x-coe-decision-id) or `response_id` (the "
            "`id` of its body), one of the two",
            param="decision_id",
        )
    if all(body.get(field) is None for field in _SAYS):
        raise InvalidRequest(f"nothing is said; give one of {', '.join(_SAYS)}", param="value")
    return Opinion(
        names[0],
        Feedback(
            decision="",
            at=at,
            value=_value(body),
            comment=_text(body, "comment"),
            demonstration=_text(body, "demonstration"),
            correct=_correct(body.get("correct")),
            tags=_tags(body.get("tags")),
            key=_label(body.get("idempotency_key", key), "idempotency_key"),
        ),
    )


def _value(body: Mapping[str, Any]) -> float | None:
    """Return how good the answer was, 0 to 1, however that was said."""
    given = [name for name in ("value", "rating", "score") if body.get(name) is not None]
    if not given:
        return None
    if len(given) > 1:
        raise InvalidRequest(
            f"`{given[0]}` and `{given[1]}` say the same; give one", param=given[1]
        )
    name = given[0]
    value = body[name]
    if name == "value":
        if not isinstance(value, bool):
            raise InvalidRequest(
                "`value` must be true or false; a number is a `rating` (1 to 5) or a `score` "
                "(0 to 1)",
                param="value",
            )
        return float(value)
    number = _number(value, name)
    if name == "rating":
        if not (number.is_integer() and 1 <= number <= _BEST_RATING):
            raise InvalidRequest("`rating` must be a whole number, 1 to 5", param="rating")
        return (number - 1) / (_BEST_RATING - 1)
    return _share(number, "score")


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidRequest(f"`{name}` must be a number", param=name)
    return float(value)


def _share(number: float, name: str) -> float:
    if not 0 <= number <= 1:
        raise InvalidRequest(f"`{name}` must be a number from 0 to 1", param=name)
    return number


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidRequest(f"`{name}` must be a text", param=name)
    if len(value) > MOST_CHARACTERS:
        raise InvalidRequest(
            f"`{name}` has {len(value)} characters; the limit is {MOST_CHARACTERS}", param=name
        )
    return value


def _label(value: Any, name: str) -> str:
    if not isinstance(value, str) or len(value) > _MOST_LABEL:
        raise InvalidRequest(
            f"`{name}` must be a text of at most {_MOST_LABEL} characters", param=name
        )
    return value


def _correct(value: Any) -> dict[str, float]:
    """Return how right each expert was, by name."""
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not 1 <= len(value) <= _MOST_EXPERTS:
        raise InvalidRequest(
            '`correct` must say how right experts were, such as {"coder": 1, "general": 0}',
            param="correct",
        )
    return {
        _label(name, "correct"): float(score)
        if isinstance(score, bool)
        else _share(_number(score, f"correct.{name[:60]}"), f"correct.{name[:60]}")
        for name, score in value.items()
    }


def _tags(value: Any) -> dict[str, str]:
    """Return free labels; a list holds labels without values."""
    if value is None:
        return {}
    if isinstance(value, list):
        value = dict.fromkeys((_label(tag, "tags") for tag in value), "")
    if not isinstance(value, Mapping) or len(value) > _MOST_TAGS:
        raise InvalidRequest(
            f"`tags` must be a list or a mapping of at most {_MOST_TAGS} short texts", param="tags"
        )
    return {_label(name, "tags"): _label(text, f"tags.{name[:60]}") for name, text in value.items()}
