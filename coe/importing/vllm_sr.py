"""vLLM Semantic Router's `config.yaml`: categories with scores, or decisions, become categories.

The scores of a category rank its experts and become their skills. Its own classifier is not used
here, so that a category without keywords or example texts needs `utterances` before it is chosen.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

from coe.composition.document import KeyPath
from coe.importing.carried import Carried
from coe.importing.part import Part
from coe.importing.source import Source
from coe.importing.vllm_sr_models import REASONS, Models

_SIGNS = frozenset({"vllm_endpoints", "model_config", "providers"})
# The kinds of conditions whose texts a category can have.
_KEYWORD, _EMBEDDING, _DOMAIN = "keyword", "embedding", "domain"
_RULES = MappingProxyType({_KEYWORD: "keyword_rules", _EMBEDDING: "embedding_rules"})
_SIGNALS = MappingProxyType({_KEYWORD: "keywords", _EMBEDDING: "embeddings", _DOMAIN: "domains"})


def recognises(content: Any) -> bool:
    """Whether a file's content looks like vLLM Semantic Router's."""
    if not isinstance(content, dict) or "model_list" in content:
        return False
    has_decisions = isinstance(content.get("categories"), list) and "default_model" in content
    return bool(_SIGNS & set(content)) or has_decisions


def carry(source: Source) -> Carried:
    """Carry a file over. Raises CompositionError for what cannot be understood."""
    carried = Carried(source)
    top = Part(source, (), source.content)
    models = Models(carried)
    models.read(top)
    top.skip("version")
    if not carried.backends:
        source.stop((), "no server is named", "add `vllm_endpoints` or `providers`")
    routes = _Routes(carried, models)
    for part in top.parts("categories"):
        routes.add_scored(part)
    routing = top.part("routing") or Part(source, (), {})
    signals = routing.part("signals") or Part(source, (), {})
    for place, names in ((top, _RULES), (signals, _SIGNALS)):
        for kind, key in names.items():
            routes.learn(kind, place.parts(key))
    for part in (*top.parts("decisions"), *routing.parts("decisions")):
        routes.add_decision(part)
    routes.close_rules()
    _name_default(top, models, carried)
    if not carried.experts:
        source.stop((), "no model can be carried over", "add `model_config` or `providers.models`")
    carried.leave(top, REASONS)
    carried.finish()
    return carried


def _name_default(top: Part, models: Models, carried: Carried) -> None:
    providers = top.part("providers")
    defaults = providers.part("defaults") if providers is not None else None
    places = [(top, "default_model")]
    places += (
        [(defaults, key) for key in ("model", "default_model")] if defaults is not None else []
    )
    for part, key in places:
        if name := part.text(key):
            experts = models.experts(name)
            if experts:
                carried.default = experts[0]
                return
            carried.note("left out", part.at(key), "there is no model of that name")


class _Routes:
    """Adds categories, and knows the rules that decisions name."""

    def __init__(self, carried: Carried, models: Models) -> None:
        self._carried = carried
        self._models = models
        self._rules: dict[tuple[str, str], Part] = {}
        self._used: set[tuple[str, str]] = set()
        self._owners: dict[str, str] = {}

    def learn(self, kind: str, parts: list[Part]) -> None:
        """Remember rules by the kind of the conditions that name them."""
        for part in parts:
            self._rules[kind, part.text("name")] = part

    def close_rules(self) -> None:
        """Say which rules no decision names."""
        for key, part in self._rules.items():
            if key not in self._used:
                message = "nothing that is carried over leads from it to a model"
                self._carried.note("left out", part.path, message)
                part.close()

    def add_scored(self, part: Part) -> None:
        """Add a category whose models have scores; one without is a domain that decisions name."""
        wish = part.text("name")
        if not wish:
            part.source.stop(part.path, "`name` is missing", "name the category")
        if "model_scores" not in part:
            self._rules[_DOMAIN, wish] = part
            return
        keys: dict[str, Any] = {}
        if description := " ".join(part.text("description").split()):
            keys["description"] = description
        name = self._carried.category(wish, keys, part.path)
        rows = sorted(part.parts("model_scores"), key=lambda row: -_score(row))
        ranked = [e for row in rows for e in self._experts(row, name, score=_score(row))]
        if any(_score(row) >= 0 for row in rows):
            keys["skills"] = {name: 1.0}
        self._finish(part, name, keys, ranked)

    def add_decision(self, part: Part) -> None:
        """Add a category for a decision that one condition, or any one of several, leads to."""
        wish = part.text("name")
        if not wish:
            part.source.stop(part.path, "`name` is missing", "name the decision")
        keys: dict[str, Any] = {}
        if description := " ".join(part.text("description").split()):
            keys["description"] = description
        name = self._carried.category(wish, keys, part.path)
        self._add_conditions(part, name, keys)
        rows = part.parts("modelRefs")
        self._finish(part, name, keys, [e for row in rows for e in self._experts(row, name)])

    def _finish(self, part: Part, name: str, keys: dict[str, Any], ranked: list[str]) -> None:
        carried = self._carried
        if ranked:
            keys["experts"] = list(dict.fromkeys(ranked))
            carried.leave(part, REASONS, ("categories", name))
            return
        carried.categories.pop(name)
        carried.notes = [note for note in carried.notes if note.where != ("categories", name)]
        carried.note("left out", part.path, "none of its models is carried over")
        part.close()

    def _experts(self, row: Part, category: str, score: float = -1.0) -> list[str]:
        """Return the experts that a row names, and give them its score as a skill."""
        model, lora = row.text("model"), row.text("lora_name")
        experts = self._models.experts(model, lora)
        if not experts:
            self._carried.note("left out", row.path, "there is no model of that name")
            row.close()
        for expert in experts if 0 <= score <= 1 else ():
            self._carried.experts[expert].setdefault("skills", {})[category] = score
        return experts

    def _add_conditions(self, part: Part, name: str, keys: dict[str, Any]) -> None:
        """Add the texts of the rules that lead here, where any one of them is enough."""
        carried, rules = self._carried, part.part("rules")
        if rules is None:
            return
        rows = [rules] if "type" in rules else rules.parts("conditions")
        if rules.text("operator").upper() == "AND" and len(rows) > 1:
            message = "several conditions at once, and a category has one kind of text"
            carried.note("left out", rules.path, message, ("categories", name))
            rules.close()
            return
        for row in rows:
            kind, of = row.text("type"), row.text("name")
            rule = self._rules.get((kind, of))
            if rule is None:
                reason = "a condition that nothing here looks at"
                carried.note("left out", row.path, reason, ("categories", name))
                row.close()
                continue
            self._used.add((kind, of))
            if not self._add_texts(kind, rule, name, keys):
                message = f"found by a classifier there: add `utterances` for `{of:.60}`"
                carried.note("to do", row.path, message, ("categories", name))

    def _add_texts(self, kind: str, rule: Part, name: str, keys: dict[str, Any]) -> bool:
        """Whether a rule has texts; they are added to those of the category `name`."""
        found = list(_texts(kind, rule))
        if kind == _DOMAIN and (description := " ".join(rule.text("description").split())):
            keys.setdefault("description", description)
        for path, text in found:
            folded = f"{kind} {' '.join(text.casefold().split())}"
            owner = self._owners.setdefault(folded, name)
            known = keys.setdefault("keywords" if kind == _KEYWORD else "utterances", [])
            if owner != name:
                message = f"the same text leads to `{owner}` already"
                self._carried.note("left out", path, message, ("categories", name))
            elif text not in known:
                known.append(text)
        return bool(found)


def _texts(kind: str, rule: Part) -> Iterator[tuple[KeyPath, str]]:
    """Yield the texts of a rule of which any is enough."""
    key = {_KEYWORD: "keywords", _EMBEDDING: "candidates"}.get(kind)
    if key is None or (kind == _KEYWORD and rule.text("operator").upper() not in {"", "OR"}):
        return
    yield from rule.texts(key)


def _score(row: Part) -> float:
    """Return a model's score; -1 where it has none."""
    score = row.number("score")
    return -1.0 if score is None else float(score)
