"""What a permit forbids: asked before an answer is reused, and before any call is made. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from coe.errors import Forbidden
from coe.identity import Permit
from coe.types import Decision

POLICY, KEY, OPT_OUT = "policy", "key", "opt-out"
"""What bars an expert: a rule of the file, the key's own list, the client itself."""

BARRING = frozenset({POLICY, KEY, OPT_OUT})


def bars(permit: Permit, experts: Iterable[str]) -> bool:
    """Whether a permit forbids one of some experts: what they made may not be reused, either."""
    return bool(permit.barred) and any(name in permit.barred for name in experts)


def refused(permit: Permit, expert: str) -> Forbidden:
    """Return the error for a call of an expert that a permit forbids."""
    _, words = permit.barred[expert]
    _, _, encoder = expert.partition(" ")  # as in `encoder NAME`
    called = f"encoder `{encoder}`" if encoder else f"expert `{expert}`"
    return Forbidden(f"{called} may not answer this request: {words}", param="model")


def beneath(permit: Permit) -> Permit:
    """Return the permit of a call that a program makes of what it stands on.

    Who is on a list of those that are allowed is allowed with what is under it.
    """
    if not permit.unlisted:
        return permit
    barred = {name: why for name, why in permit.barred.items() if name not in permit.unlisted}
    return replace(permit, barred=barred, unlisted=frozenset())


def allowed(permit: Permit, names: Iterable[str]) -> tuple[str, ...]:
    """Return those of some experts that a permit does not forbid."""
    return tuple(name for name in names if name not in permit.barred)


def words_of(barred: Mapping[str, tuple[str, str]], names: Collection[str]) -> str:
    """Return why the first of some names is barred; empty where none is."""
    return next((barred[name][1] for name in names if name in barred), "")


def told_of(decision: Decision, permit: Permit) -> Decision:
    """Return a decision that names nobody whom the request may not reach as its evidence."""
    if not permit.barred or not decision.evidence:
        return decision
    rows = tuple(
        row for row in decision.evidence if row.kind != "expert" or row.text not in permit.barred
    )
    return decision if len(rows) == len(decision.evidence) else replace(decision, evidence=rows)
