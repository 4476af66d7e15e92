"""How often experts are right: alone, and where others are wrong."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What was measured of E experts.

    Attributes:
        experts: E names.
    """

    experts: tuple[str, ...]
