"""CUPED: what was known of units before the experiment, taken out of what is measured.

A user who always wrote long prompts writes long ones in either arm. What a covariate x explains of
the values y is noise to the comparison, and goes:

    y' = y - theta (x - mean of x),   theta = cov(x, y) / var(x) within arms

The expected difference stays the same, because x cannot depend on the arm; the variance shrinks by
the square of the correlation.

Reference: Deng, Xu, Kohavi, Walker (2013), Improving the sensitivity of online controlled
    experiments by utilizing pre-experiment data, WSDM, eq. 4 and 5.
"""

from __future__ import annotations

import math
from dataclasses import replace

from coe.experiments.summary import Moments


def adjusted(control: Moments, arm: Moments) -> tuple[Moments, Moments]:
    """Return both arms with the covariate taken out, by one theta for both.

    Arms whose covariate does not vary (they have none) come back as they are. Each unit needs a
    covariate; one without history may have any constant, as long as it is the same in both arms.
    """
    spread = control.x_squares + arm.x_squares
    if spread <= 0.0 or not control.n or not arm.n:
        return control, arm
    theta = (control.products + arm.products) / spread
    middle = (control + arm).x_mean
    return _without(control, theta, middle), _without(arm, theta, middle)


def correlation(control: Moments, arm: Moments) -> float:
    """Return the correlation of covariate and values within arms; 0 where one does not vary.

    Its square is the share of the variance that `adjusted` takes out.
    """
    spread = (control.x_squares + arm.x_squares) * (control.squares + arm.squares)
    return (control.products + arm.products) / math.sqrt(spread) if spread > 0.0 else 0.0


def _without(moments: Moments, theta: float, middle: float) -> Moments:
    # Not theta squared: of a covariate that hardly varies that is beyond what a float can hold.
    squares = moments.squares + theta * (theta * moments.x_squares - 2.0 * moments.products)
    return replace(
        moments,
        mean=moments.mean - theta * (moments.x_mean - middle),
        squares=max(0.0, squares),
        x_mean=0.0,
        x_squares=0.0,
        products=0.0,
    )
