"""The category-to-expert map: what is known of every (category, expert) cell, and what follows.

The second of the two steps of two-step routing (Composition of Experts, arXiv 2412.01868) as an
object of its own. All of it is arithmetic on values: no files but the map's own, no clock, no
network, and no composition, so that a bench can feed it anybody's outcome matrix.

outcomes -> estimates (shrunken cells with intervals) -> solve (subset and assignment under a
budget) -> guard (is it better than one expert for everything?) -> FittedMap -> choose (live)
"""

from coe.mapping.fitted import FittedMap, GuardRow, Residual
from coe.mapping.outcomes import NONE, Outcome, OutcomeMatrix, Source

__all__ = [
    "NONE",
    "FittedMap",
    "GuardRow",
    "Outcome",
    "OutcomeMatrix",
    "Residual",
    "Source",
]
