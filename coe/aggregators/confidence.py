"""From a draft's mean log-probability to how probably it is right, by curves that were fitted.

How sure a model is of its tokens says something of whether it is right, in units of its own. So
each expert has a curve: knots (mean log-probability, probability), between which it is straight,
and flat beyond them. The file is JSON, an object with the knots of each expert:

    {"small": [[-1.2, 0.31], [-0.4, 0.62], [-0.02, 0.94]]}

Reference: Zadrozny, B. and Elkan, C. (2002). Transforming classifier scores into accurate
multiclass probability estimates. KDD, section 3 (isotonic regression).
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coe.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Curve:
    """What one expert's log-probabilities mean.

    Attributes:
        logprobs: ascending, none twice, in (-inf, 0].
        probabilities: at each of them that an answer is right; they do not fall.
    """

    logprobs: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check the knots. Raises ValueError with what is wrong."""
        if not self.logprobs or len(self.logprobs) != len(self.probabilities):
            raise ValueError("expected at least one knot [log-probability, probability]")
        if not all(math.isfinite(x) and x <= 0 for x in self.logprobs):
            raise ValueError("a log-probability is a number that is at most 0")
        if not all(0 <= y <= 1 for y in self.probabilities):
            raise ValueError("a probability lies between 0 and 1")
        if not all(a < b for a, b in zip(self.logprobs, self.logprobs[1:], strict=False)):
            raise ValueError("log-probabilities ascend, and none stands twice")
        if list(self.probabilities) != sorted(self.probabilities):
            raise ValueError("probabilities do not fall where log-probabilities rise")

    def at(self, logprob: float) -> float:
        """Return how probably a draft is right."""
        right = bisect_right(self.logprobs, logprob)
        if right in {0, len(self.logprobs)}:
            return self.probabilities[max(0, right - 1)]
        x0, x1 = self.logprobs[right - 1], self.logprobs[right]
        y0, y1 = self.probabilities[right - 1], self.probabilities[right]
        return y0 + (y1 - y0) * (logprob - x0) / (x1 - x0)


def read(path: Path) -> dict[str, Curve]:
    """Return the curves of a file, by expert.

    Raises:
        ConfigError: it cannot be read, or does not hold curves.
    """
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, Mapping) or not content:
            raise ValueError("expected an object with the knots of each expert")
        return {str(expert): _curve(expert, knots) for expert, knots in content.items()}
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None


def _curve(expert: str, knots: Any) -> Curve:
    try:
        pairs = [(float(x), float(y)) for x, y in knots]
        return Curve(tuple(x for x, _ in pairs), tuple(y for _, y in pairs))
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{expert}`: {error}") from None
