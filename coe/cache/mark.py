"""What of a composition an answer depends on, as one digest. Pure."""

from __future__ import annotations

from typing import Any

from coe.composition import Composition
from coe.composition.check_programs import content
from coe.jsonfile import digest

# Parts that change how a request is served and what is remembered of it, never what is answered.
_SILENT = frozenset(
    {
        "batching",
        "budgets",
        "cache",
        "experiments",
        "learning",
        "limits",
        "observe",
        "policies",
        "server",
        "timeouts",
    }
)


def mark_of(composition: Composition) -> str:
    """Return what is equal of two compositions whose answers may stand for each other's.

    Each arm of an experiment is a composition of its own here. Policies do not count: who may not
    be asked is part of every key.
    """
    meaning: dict[str, Any] = {
        "file": {
            section: keys
            for section, keys in composition.canonical.items()
            if section not in _SILENT
        },
        "texts": {
            name: [entry.category.utterances, entry.category.negatives]
            for name, entry in composition.categories.items()
        },
        # References are not resolved in the file: where they lead may differ between processes.
        "sites": {
            name: [expert.model, expert.adapter_source, composition.backends[expert.backend].url]
            for name, expert in composition.experts.items()
        },
        "programs": content(
            {
                name: expert.program
                for name, expert in composition.experts.items()
                if expert.program is not None
            }
        ),
    }
    return digest(meaning)
