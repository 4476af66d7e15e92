"""The fitted panels that were applied to a composition, as far as they still hold.

They lie beside `experts.yaml` as `experts.panels`, written by `coe panel apply`. Rates of an expert
that answers differently now are another expert's: it sits where the written ranking has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coe.composition.measured import holding

if TYPE_CHECKING:
    from coe.composition import Composition
    from coe.panels.rates import Rates

SUFFIX = ".panels"


def applied_rates(composition: Composition) -> Rates | None:
    """Return the rates by which members are recruited; None where nothing was measured.

    Raises:
        ConfigError: the file cannot be read, or is damaged.
    """
    path = composition.source.with_suffix(SUFFIX)
    if not composition.aggregation or not path.exists():  # numpy need not be there
        return None
    from coe.panels.store import read_panels

    fitted = read_panels(path)
    if fitted is None:
        return None
    rates = fitted.rates.only(holding(fitted.parts, composition).experts)
    return rates if rates.experts else None
