"""The decision log, as commands read it."""

from __future__ import annotations

from coe.errors import NotFound
from coe.settings import Settings
from coe.stores.decisions import FILE, DecisionStore


def open_log(settings: Settings) -> DecisionStore:
    """Return the decision log. Raises NotFound where there is none."""
    path = settings.state_folder / FILE
    if not path.exists():
        raise NotFound(f"{path}: no decisions were written here; serve some, or set COE_STATE_DIR")
    return DecisionStore.open(path)
