"""What is kept of an arm's values: counts, means and squares, which add up.

Of replicas, of days, of categories: the sum of two summaries is the summary of both. One value
stands for one unit: where a session is what was assigned, its requests are averaged first. Requests
of one session resemble each other, and as values of their own they would promise more certainty
than there is.

Reference: Chan, Golub, LeVeque (1979), Updating formulae and a pairwise algorithm for computing
sample variances, eq. 2.1; Pebay (2008), Sandia SAND2008-6212, eq. 2.1 and 3.6 (with co-moments).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType

ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """n values y, perhaps each with a covariate x, which was known before the experiment.

    Attributes:
        n: how many.
        mean: of y.
        squares: the sum of (y - mean)^2.
        x_mean: of x; 0 without a covariate.
        x_squares: the sum of (x - x_mean)^2; 0 without a covariate.
        products: the sum of (x - x_mean)(y - mean).

    Raises:
        ValueError: a number is not finite, n or a sum of squares is negative, or the products are
            more than the squares allow.
    """

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0
    x_mean: float = 0.0
    x_squares: float = 0.0
    products: float = 0.0

    def __post_init__(self) -> None:
        """Check what can be checked of numbers that may come from a file."""
        for name in (each.name for each in fields(self)):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"`{name}` of a summary is {getattr(self, name)}, not a number")
        if min(self.n, self.squares, self.x_squares) < 0:
            raise ValueError(f"a count or a sum of squares is negative: {self}")
        most = math.sqrt(self.squares) * math.sqrt(self.x_squares)
        if abs(self.products) > most * (1.0 + ROUNDING) + ROUNDING:
            raise ValueError(f"the products are more than the squares allow: {self}")

    @classmethod
    def of(cls, values: Iterable[float], covariate: Iterable[float] | None = None) -> Moments:
        """Return the moments of values, and of their covariate in the same order.

        Raises:
            ValueError: a value is not finite, or there are not as many of one as of the other.
        """
        y = _finite(values, "value")
        n = len(y)
        if not n:
            return cls()
        mean = math.fsum(y) / n
        squares = math.fsum((value - mean) ** 2 for value in y)
        if covariate is None:
            return cls(n=n, mean=mean, squares=squares)
        x = _finite(covariate, "covariate")
        if len(x) != n:
            raise ValueError(f"there are {n} values and {len(x)} covariates")
        x_mean = math.fsum(x) / n
        return cls(
            n=n,
            mean=mean,
            squares=squares,
            x_mean=x_mean,
            x_squares=math.fsum((value - x_mean) ** 2 for value in x),
            products=math.fsum((a - x_mean) * (b - mean) for a, b in zip(x, y, strict=True)),
        )

    @classmethod
    def counted(cls, n: int, successes: int) -> Moments:
        """Return the moments of n values of which so many are 1 and the others 0.

        Raises:
            ValueError: there are more successes than values, or fewer than none.
        """
        if not 0 <= successes <= n:
            raise ValueError(f"{successes} successes of {n} is impossible")
        share = successes / n if n else 0.0
        return cls(n=n, mean=share, squares=n * share * (1.0 - share))

    @property
    def variance(self) -> float:
        """Of a value: the squares over n - 1; 0 of fewer than two."""
        return self.squares / (self.n - 1) if self.n > 1 else 0.0

    @property
    def variance_of_mean(self) -> float:
        """The square of the standard error; 0 of fewer than two."""
        return self.variance / self.n if self.n else 0.0

    def __add__(self, other: Moments) -> Moments:
        """Return the moments of both together."""
        n = self.n + other.n
        if not self.n or not other.n:
            return self if self.n else other
        weight = self.n * other.n / n
        y, x = other.mean - self.mean, other.x_mean - self.x_mean
        return Moments(
            n=n,
            mean=self.mean + y * other.n / n,
            squares=self.squares + other.squares + y * y * weight,
            x_mean=self.x_mean + x * other.n / n,
            x_squares=self.x_squares + other.x_squares + x * x * weight,
            products=self.products + other.products + x * y * weight,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One metric of one arm.

    Attributes:
        whole: of all units.
        categories: category -> of the units (or of what units did) in it. They need not add up to
            the whole: a session may be in several.
    """

    whole: Moments = Moments()
    categories: Mapping[str, Moments] = field(default_factory=lambda: MappingProxyType({}))

    def __add__(self, other: Summary) -> Summary:
        """Return the summary of both together."""
        names = [
            *self.categories,
            *(name for name in other.categories if name not in self.categories),
        ]
        none = Moments()
        return Summary(
            whole=self.whole + other.whole,
            categories=MappingProxyType(
                {
                    name: self.categories.get(name, none) + other.categories.get(name, none)
                    for name in names
                }
            ),
        )


def _finite(values: Iterable[float], what: str) -> list[float]:
    found = [float(value) for value in values]
    for place, value in enumerate(found):
        if not math.isfinite(value):
            raise ValueError(f"{what} {place} is {value}, not a number")
    return found
