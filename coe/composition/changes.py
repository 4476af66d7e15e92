"""What differs between two compositions, in words: `expert `coder` is new`. Pure.

What is compared is the canonical form, so that a short form, an order or a comment is no change,
and a secret is never shown: it is a reference there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from coe.composition.values import Composition

# Sections whose entries have names, and what one of them is called.
_NAMED = {
    "backends": "backend",
    "experts": "expert",
    "categories": "category",
    "encoders": "encoder",
    "routers": "router",
    "models": "model",
    "aggregation": "panel",
    "experiments": "experiment",
    "policies": "policy",
}
_SHOWN = 60  # characters of a value
_GONE = object()


def changes(then: Composition, now: Composition) -> tuple[str, ...]:
    """Return what differs between two compositions, as clauses; () where nothing does."""
    found = [*differences(then.canonical, now.canonical)]
    found += _text_changes(then, now)
    found += _secret_changes(then, now)
    if not found and then.fingerprint != now.fingerprint:
        found.append("a file that it names has changed")
    return tuple(found)


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what differs between two canonical forms, as clauses.

    Example:
        >>> differences({"default": "a"}, {"default": "b", "experts": {"b": {"model": "m"}}})
        ('`default` is b, was a', 'expert `b` is new')
    """
    found: list[str] = []
    for key in dict.fromkeys((*then, *now)):
        before, after = then.get(key, _GONE), now.get(key, _GONE)
        if key in _NAMED:
            found += _entries(_NAMED[key], _mapping(before), _mapping(after))
        elif key == "routing":
            found += _routing(_mapping(before), _mapping(after))
        else:
            found += _leaves(key, before, after)
    return tuple(found)


def _entries(kind: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Yield what happened to the entries of a section."""
    for name in dict.fromkeys((*then, *now)):
        if name not in then:
            yield f"{kind} `{name}` is new"
        elif name not in now:
            yield f"{kind} `{name}` is gone"
        elif then[name] != now[name]:
            for clause in _leaves("", then[name], now[name]):
                yield f"{kind} `{name}`: {clause}"


def _routing(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Yield what happened to the routes, and to the rest of the section."""
    yield from _entries("route", _mapping(then.get("routes")), _mapping(now.get("routes")))
    for key in dict.fromkeys((*then, *now)):
        if key != "routes":
            yield from _leaves(f"routing.{key}", then.get(key, _GONE), now.get(key, _GONE))


def _leaves(path: str, then: Any, now: Any) -> Iterator[str]:
    """Yield what happened to the values at and below a path."""
    if then == now:
        return
    if isinstance(then, Mapping) or isinstance(now, Mapping):
        before, after = _mapping(then), _mapping(now)
        if _fits(then) and _fits(now):
            for key in dict.fromkeys((*before, *after)):
                below = f"{path}.{key}" if path else str(key)
                yield from _leaves(below, before.get(key, _GONE), after.get(key, _GONE))
            return
    if _is_long(then) or _is_long(now):
        yield f"`{path}` has {_counts(then, now)}"
    elif now is _GONE:
        yield f"`{path}` is not set any more, was {_shown(then)}"
    elif then is _GONE:
        yield f"`{path}` is {_shown(now)}, was not set"
    else:
        yield f"`{path}` is {_shown(now)}, was {_shown(then)}"


def _fits(value: Any) -> bool:
    return value is _GONE or isinstance(value, Mapping)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _is_long(value: Any) -> bool:
    return isinstance(value, list) and len(json.dumps(value, default=str)) > _SHOWN


def _counts(then: Any, now: Any) -> str:
    """Say how two lists differ: `2 more, 1 less`."""
    before = then if isinstance(then, list) else []
    after = now if isinstance(now, list) else []
    more = sum(entry not in before for entry in after)
    less = sum(entry not in after for entry in before)
    words = [f"{count} {word}" for count, word in ((more, "more"), (less, "less")) if count]
    return " and ".join(words) or "another order"


def _shown(value: Any) -> str:
    """Write a value for a sentence: short."""
    if isinstance(value, list):
        return ", ".join(_shown(entry) for entry in value) or "nothing"
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _text_changes(then: Composition, now: Composition) -> Iterator[str]:
    """Yield what happened to the texts of files that categories and programs name."""
    for name, entry in now.categories.items():
        before = then.categories.get(name)
        if before is None or _written(then, name) != _written(now, name):
            continue  # the file itself says so
        for kind in ("utterances", "negatives"):
            old, new = list(getattr(before.category, kind)), list(getattr(entry.category, kind))
            if old != new:
                yield f"category `{name}`: `{kind}` has {_counts(old, new)}"
    for name, expert in now.experts.items():
        known = then.experts.get(name)
        same = then.canonical["experts"].get(name) == now.canonical["experts"].get(name)
        if known is not None and same and known.program != expert.program:
            yield f"expert `{name}`: a file that it names has changed"


def _written(composition: Composition, category: str) -> Any:
    return _mapping(composition.canonical.get("categories")).get(category)


def _secret_changes(then: Composition, now: Composition) -> Iterator[str]:
    """Yield whose references lead to something else now; never what."""
    for name, backend in now.backends.items():
        before = then.backends.get(name)
        if before is None:
            continue
        if (before.api_key, before.headers, before.url) != (
            backend.api_key,
            backend.headers,
            backend.url,
        ) and then.canonical["backends"].get(name) == now.canonical["backends"].get(name):
            yield f"backend `{name}`: what its references lead to has changed"
