"""Which panel answers a category, read from a composition and written into its file."""

from __future__ import annotations

from collections.abc import Mapping

from coe.composition import Composition
from coe.composition.document import KeyPath
from coe.composition.draft import Draft
from coe.composition.edit import Change
from coe.composition.values import NO_PANEL


def answered(composition: Composition) -> dict[str, str]:
    """Return the panel that answers each category now; those that one expert answers are not in it.

    A category that may have no panel is not: nothing that is fitted overrules that.
    """
    return {name: panel for name, panel in composition.routing.panels.items() if panel != NO_PANEL}


def with_panels(wanted: Mapping[str, str | None]) -> Change:
    """Return the edit that has panels answer categories; None has one expert answer."""

    def change(draft: Draft) -> Draft:
        for category, panel in wanted.items():
            draft = _with_panel(draft, category, panel)
        return draft

    return change


def _with_panel(draft: Draft, category: str, panel: str | None) -> Draft:
    route: KeyPath = ("routing", "routes", category)
    at: KeyPath = ("categories", category)
    if isinstance(draft.get(route), dict) and draft.get((*at, "aggregate")) is None:
        at = route
    if panel is None:
        is_there = draft.get((*at, "aggregate")) is not None
        return draft.remove((*at, "aggregate")) if is_there else draft
    written = draft.get(at)
    if not isinstance(written, dict):
        draft = draft.put(at, {"utterances": written})
    return draft.put((*at, "aggregate"), panel)
