"""Which keys may reach which endpoint: a table, and what is not in it is for admins alone. Pure.

It is looked up by the method and the path that the server parsed, never by a URL that is made of
what a client says its host is.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from coe.identity import Scope

DATA: frozenset[Scope] = frozenset({"data"})
ADMIN: frozenset[Scope] = frozenset({"admin"})
METRICS: frozenset[Scope] = frozenset({"metrics"})
EXPERIMENTS: frozenset[Scope] = frozenset({"experiments"})
OPERATIONS: frozenset[Scope] = frozenset({"admin", "metrics"})
DATA_OR_ADMIN: frozenset[Scope] = frozenset({"data", "admin"})
OWN_OR_ALL: frozenset[Scope] = frozenset({"data", "experiments"})
ANYBODY: frozenset[Scope] = frozenset()
"""No key is asked for."""


class Rule(NamedTuple):
    """Who may reach an endpoint.

    Attributes:
        method: `*` for any.
        path: `{}` stands for one part of it, `{*}` at the end for all that follows.
        scopes: a key needs one of them.
    """

    method: str
    path: str
    scopes: frozenset[Scope]


RULES = (
    Rule("GET", "/health/live", ANYBODY),
    Rule("GET", "/health/ready", ANYBODY),
    Rule("GET", "/", ANYBODY),
    Rule("HEAD", "/", ANYBODY),
    Rule("*", "/v1/chat/completions", DATA),
    Rule("*", "/v1/completions", DATA),
    Rule("*", "/v1/responses", DATA),
    Rule("*", "/v1/messages", DATA),
    Rule("*", "/v1/messages/count_tokens", DATA),
    Rule("*", "/v1/embeddings", DATA),
    Rule("GET", "/v1/models", DATA),
    Rule("GET", "/v1/models/{*}", DATA),
    Rule("POST", "/v1/route", DATA),
    Rule("*", "/v1/files", DATA),
    Rule("*", "/v1/files/{*}", DATA),
    Rule("GET", "/v1/limits", DATA),
    Rule("GET", "/v1/limits/all", ADMIN),
    Rule("*", "/v1/cache", DATA_OR_ADMIN),
    Rule("*", "/v1/cache/{}", DATA),
    Rule("*", "/v1/batches", DATA),
    Rule("*", "/v1/batches/{*}", DATA),
    Rule("GET", "/v1/decisions/{}", OWN_OR_ALL),
    Rule("GET", "/v1/experiments", EXPERIMENTS),
    Rule("GET", "/v1/experiments/{}", EXPERIMENTS),
    Rule("POST", "/v1/experiments/{}/pause", EXPERIMENTS),
    Rule("POST", "/v1/feedback", DATA),
    Rule("GET", "/v1/scheduling", OPERATIONS),
    Rule("GET", "/metrics", METRICS),
    # Of these the table says what holds for all the rest, too: it is what people look for here.
    Rule("GET", "/docs", ADMIN),
    Rule("GET", "/openapi.json", ADMIN),
    Rule("GET", "/v1/replicas", ADMIN),
    Rule("*", "/v1/composition", ADMIN),
    Rule("*", "/v1/composition/{*}", ADMIN),
    Rule("*", "/v1/experts", ADMIN),
    Rule("*", "/v1/experts/{*}", ADMIN),
    Rule("*", "/v1/keys", ADMIN),
    Rule("*", "/v1/keys/{*}", ADMIN),
)


NOWHERE = Rule("*", "{*}", ADMIN)
"""What is in no row."""


def rule_of(method: str, path: str) -> Rule:
    """Return the rule of an endpoint; `NOWHERE` where it is in no row.

    Example:
        >>> rule_of("POST", "/v1/chat/completions").scopes, rule_of("GET", "/new") is NOWHERE
        (frozenset({'data'}), True)
    """
    found = _EXACT.get((method, path)) or _EXACT.get(("*", path))
    if found is not None:
        return found
    for rule, pattern in _PATTERNS:
        if rule.method in {"*", method} and pattern.fullmatch(path):
            return rule
    return NOWHERE


def _pattern(path: str) -> re.Pattern[str]:
    text = re.escape(path).replace(r"\{\*\}", ".+").replace(r"\{\}", "[^/]+")
    return re.compile(text, re.DOTALL)


_EXACT = {(rule.method, rule.path): rule for rule in RULES if "{" not in rule.path}
_PATTERNS = tuple((rule, _pattern(rule.path)) for rule in RULES if "{" in rule.path)
