"""semantic-router's export, JSON or YAML: routes become categories.

It routes to names and not to models: who answers is for the reader to fill in, and one expert
answers everything until then.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from coe.importing.carried import Carried
from coe.importing.part import Part
from coe.importing.source import Source

_SERVER = "http://127.0.0.1:11434"
_ENCODER = "texts are compared by an encoder of this gateway's own; see `encoders`"
_COSINE = "a similarity, which says nothing here: `threshold` is a probability; see `coe calibrate`"
REASONS = MappingProxyType(
    {
        "aggregation": "see `score` of the router",
        "alpha": "see `lexical` of the router",
        "calibrator": "probabilities are calibrated here anew: `coe calibrate`",
        "encoder": _ENCODER,
        "encoder_name": _ENCODER,
        "encoder_type": _ENCODER,
        "function_schema": "tools are the client's to offer",
        "function_schemas": "tools are the client's to offer",
        "index": "texts are held in memory",
        "llm": "who answers is an expert of the category",
        "metadata": "nothing here reads it",
        "score_threshold": _COSINE,
        "sparse_encoder": _ENCODER,
        "top_k": "see `top_k` of the router",
        "utterances": "only texts are compared",
    }
)


def recognises(content: Any) -> bool:
    """Whether a file's content looks like semantic-router's."""
    if isinstance(content, list):
        return bool(content) and all(
            isinstance(row, dict) and "utterances" in row for row in content
        )
    if not isinstance(content, dict) or "categories" in content:
        return False
    routes = content.get("routes")
    is_tree = "router_type" in content and isinstance(content.get("routers"), list)
    return is_tree or (isinstance(routes, list) and "model_list" not in content)


def carry(source: Source) -> Carried:
    """Carry a file over. Raises CompositionError for what cannot be understood."""
    carried = Carried(source)
    backend = carried.backend("server", {"url": _SERVER})
    message = "semantic-router calls no model: put the address of a server that answers"
    carried.note("to do", (), message, ("backends", backend))
    expert = carried.expert("general", {"backend": backend, "model": "model"}, ())
    message = "put the name of a model; add experts, and name them in the categories"
    carried.note("to do", (), message, ("experts", expert))
    carried.default = expert
    routes = _ListOfRoutes(carried, expert)
    if isinstance(source.content, list):
        for i, row in enumerate(source.content):
            part = Part(source, (i,), row)
            routes.add(part, None)
            carried.leave(part, REASONS)
    else:
        top = Part(source, (), source.content)
        for route, threshold in _routes(top, None):
            routes.add(route, threshold)
        carried.leave(top, REASONS)
    if not carried.categories:
        source.stop((), "no route can be carried over", "add `routes`, each with `utterances`")
    carried.finish()
    return carried


def _routes(part: Part, threshold: Decimal | None) -> Iterator[tuple[Part, Decimal | None]]:
    """Yield every route of a router and of those it is made of, with the probability it needs."""
    part.skip("router_type")
    own = part.number("confidence_threshold")
    threshold = threshold if own is None else own
    for route in part.parts("routes"):
        yield route, threshold
    for router in part.parts("routers"):
        yield from _routes(router, threshold)


class _ListOfRoutes:
    """Adds routes; one that comes again adds its texts, and a text belongs to the first it had."""

    def __init__(self, carried: Carried, expert: str) -> None:
        self._carried = carried
        self._expert = expert
        self._names: dict[str, str] = {}
        self._texts: dict[str, tuple[str, int]] = {}

    def add(self, route: Part, threshold: Decimal | None) -> None:
        carried, wish = self._carried, route.text("name")
        if not wish:
            route.source.stop(route.path, "`name` is missing", "name the route")
        if "utterances" not in route:
            carried.note("left out", route.path, "a route without utterances is never chosen")
            route.close()
            return
        texts = self._own(route, wish)
        if wish in self._names:
            name = self._names[wish]
            message = f"the route `{wish:.60}` comes again: its texts are added to the first"
            carried.note("changed", route.path, message, ("categories", name))
            carried.categories[name]["utterances"] += texts
            return
        keys: dict[str, Any] = {}
        if description := " ".join(route.text("description").split()):
            keys["description"] = description
        keys |= {"utterances": texts, "experts": [self._expert]}
        own = route.number("confidence_threshold")
        needed = threshold if own is None else own
        if needed is not None and needed <= 1:
            keys["threshold"] = float(needed)
        self._names[wish] = carried.category(wish, keys, route.path)

    def _own(self, route: Part, wish: str) -> list[str]:
        """Return the texts that no route had before."""
        found = []
        for path, text in route.texts("utterances"):
            folded = " ".join(text.casefold().split())
            if folded in self._texts:
                owner, line = self._texts[folded]
                of = "" if owner == wish else f", of the route `{owner:.60}`"
                self._carried.note("left out", path, f"the same text as at line {line}{of}")
            else:
                self._texts[folded] = (wish, route.source.line(path))
                found.append(text)
        return found
