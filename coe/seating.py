"""Which panel answers a request, who sits on it, and why one expert answers alone. Pure.

Hard filters come first: who may not answer is no member either. `coe.panels.recruit` then chooses
among the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from coe.composition import Composition, Expert, Panel
from coe.composition.values import NO_PANEL
from coe.conversation import in_tool_loop
from coe.identity import Permit
from coe.panels.recruit import Candidate, recruit
from coe.types import PART, Choice, Decision, Exclusion, Query

if TYPE_CHECKING:  # numpy is loaded by who reads fitted panels, and by nobody else
    from coe.panels.rates import Rates

TOOLS = "tools: one owner"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seats:
    """Who is asked together; where it is one expert, it answers alone.

    Attributes:
        members: best first; an expert stands there as often as it is asked.
        weights: how often each is expected to be right; as many.
        detail: why these, and why so many.
        excluded: who may answer, but not on this panel.
    """

    members: tuple[str, ...]
    weights: tuple[float, ...] = ()
    detail: str = ""
    excluded: tuple[Exclusion, ...] = ()


def panel_of(composition: Composition, query: Query, decision: Decision) -> Panel | None:
    """Return the panel for a request; None where one expert is to answer.

    What the model's name says goes before what the category says, but for a category that may have
    none. Who names an expert gets that expert, and who asks for the cheapest that is good enough
    gets one.
    """
    if decision.pinned_expert is not None or query.endpoint != "chat/completions":
        return None
    by_category = composition.routing.panels.get(decision.category or "")
    if by_category == NO_PANEL:
        return None
    model = composition.models.get(query.model)
    name = by_category
    if model is not None and (model.panel is not None or model.dial.choose == "cheapest_good"):
        name = model.panel
    return composition.aggregation.get(name or "")


def is_part(query: Query) -> bool:
    """Whether a panel asks: a member may be a gateway, or this very one by a detour."""
    return any(name == PART for name, _ in query.headers)


def why_alone(panel: Panel, query: Query) -> str:
    """Return why a request is for one expert though it has a panel; empty where it is not.

    Tools are called by one owner: what two experts would do to the world cannot be merged.
    """
    body = query.body
    if body.get("tools") or body.get("functions") or in_tool_loop(body["messages"]):
        return TOOLS
    n = _several(query)
    if n and not _gives_choices(panel):
        return f"n: {n} choices are asked of one expert"
    return ""


def why_barred(panel: Panel, permit: Permit) -> str:
    """Return why a panel may not work on a request; empty where it may.

    Whoever judges or writes sees the prompt, too; nobody takes the place of one that was named.
    """
    if not permit.barred:
        return ""
    for role, name in (("judge", panel.judge), ("writer", panel.writer)):
        if name is not None and name in permit.barred:
            return f"the {role} of panel `{panel.name}` may not see it: {permit.barred[name][1]}"
    return ""


def seats(
    panel: Panel,
    candidates: Sequence[Expert],
    query: Query,
    decision: Decision,
    chosen: Choice | None = None,
    rates: Rates | None = None,
) -> Seats:
    """Return who sits on a panel; where each draft is a choice, as many as are asked for.

    Args:
        panel: which.
        candidates: who may answer, best first.
        query: that is answered.
        decision: on the request.
        chosen: what a fitted map expects of them; None where it was not asked.
        rates: what was measured of them; None where nothing was.
    """
    excluded = tuple(_without_price(panel, candidates))
    left_out = {row.expert for row in excluded}
    there = [_candidate(one, chosen) for one in candidates if one.name not in left_out]
    recruits = recruit(
        panel,
        there,
        rates=rates,
        probability=decision.probability if decision.calibrated else None,
        category=decision.category,
    )
    count = len(recruits.members)
    if count < panel.least:
        detail = f"{count} may sit on panel `{panel.name}`, which needs {panel.least}"
        return Seats(members=recruits.members[:1], detail=detail, excluded=excluded)
    n = _several(query)
    times = ceil(n / count) if n else panel.samples
    seated = n or count * times
    return Seats(
        members=(recruits.members * times)[:seated],
        weights=(recruits.weights * times)[:seated],
        detail=recruits.detail if seated == count else f"{recruits.detail}, {seated} drafts",
        excluded=excluded,
    )


def owners(
    panel: Panel, ranked: Sequence[str], experts: Mapping[str, Expert], decision: Decision
) -> tuple[str, ...]:
    """Return who answers alone in the place of a panel, best first.

    Whose tools are under way goes on; otherwise the panel's own members come before others.

    Args:
        panel: that would have answered.
        ranked: who may answer, as ranked without the panel.
        experts: all that may answer, by name.
        decision: on the request.
    """
    session = decision.session
    named = [name for name in panel.experts if name in experts]
    if session is not None and session.is_same_turn and session.expert in experts:
        named.insert(0, session.expert)
    return tuple(dict.fromkeys((*named, *ranked)))


def _several(query: Query) -> int:
    """Return how many choices a request is for; 0 where it is for one."""
    n = query.body.get("n")
    return n if isinstance(n, int) and n > 1 else 0


def _gives_choices(panel: Panel) -> bool:
    """Whether each draft is a choice of the answer; other methods are for one."""
    return panel.method == "concat" and panel.options.get("as") == "choices"


def _candidate(expert: Expert, chosen: Choice | None) -> Candidate:
    prospect = chosen.of(expert.name) if chosen is not None else None
    quality = prospect.quality if prospect is not None else None
    backend = expert.host or expert.backend
    return Candidate(expert=expert.name, backend=backend, quality=quality)


def _without_price(panel: Panel, candidates: Sequence[Expert]) -> list[Exclusion]:
    """Return who cannot be asked because nobody knows what that would cost."""
    if panel.max_cost is None:
        return []
    detail = f"without a price, and panel `{panel.name}` has a `max_cost`"
    return [Exclusion(one.name, "price", detail) for one in candidates if not one.is_priced]
