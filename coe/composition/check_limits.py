"""Checks of limits and budgets: each says something, once, in the currency of the prices."""

from __future__ import annotations

from coe.composition.check_programs import program_keys
from coe.composition.expert_keys import ExpertKeys
from coe.composition.models import FileKeys
from coe.composition.report import Report
from coe.limits.scopes import Scope


def check_limits(file: FileKeys, report: Report) -> None:
    """Report limits of nothing, limits that stand twice, and budgets that cannot be kept."""
    seen: set[tuple[Scope, str, str | None]] = set()
    for place, keys in enumerate(file.limits):
        path = ("limits", place)
        rules = [rule for rule in (keys.requests, keys.tokens) if rule is not None]
        if not rules and keys.at_once is None:
            message = "it limits nothing"
            report.error(path, message, "write `requests: 60/min`, `tokens: 100k/min` or `at_once`")
        named = [(rule.what, rule.period) for rule in rules]
        if keys.at_once is not None:
            named.append(("at_once", None))
        for what, period in named:
            if (keys.scope, what, period) in seen:
                message = f"`{what}` of `{keys.scope}` is limited twice for the same time"
                report.error((*path, what), message, "keep one of the two")
            seen.add((keys.scope, what, period))
    _check_budgets(file, report)


def _check_budgets(file: FileKeys, report: Report) -> None:
    currencies = {
        price[1]: name for name, expert in file.experts.items() for price in _prices(expert)
    }
    unpriced = sorted(name for name, expert in file.experts.items() if _is_unpriced(expert, file))
    seen: set[tuple[Scope, str | None]] = set()
    for place, keys in enumerate(file.budgets):
        path = ("budgets", place)
        rule = keys.limit
        if (keys.scope, rule.period) in seen:
            message = f"`{keys.scope}` has two budgets for the same time"
            report.error((*path, "limit"), message, "keep one of the two")
        seen.add((keys.scope, rule.period))
        others = sorted(set(currencies) - {rule.currency})
        if others:
            message = (
                f"the prices of `{currencies[others[0]]}` are in {others[0]}, not in"
                f" {rule.currency}"
            )
            report.error((*path, "limit"), message, "use one currency")
        if unpriced and "unpriced" not in keys.model_fields_set:
            listed = ", ".join(f"`{name}`" for name in unpriced[:5])
            more = f" and {len(unpriced) - 5} more" if len(unpriced) > 5 else ""  # noqa: PLR2004
            report.warning(
                path,
                f"without a price, {listed}{more} cost nothing of it",
                "write `cost` for each, or say so: `unpriced: free`, or `unpriced: refuse`",
            )


def _prices(expert: ExpertKeys) -> list[tuple[float, str]]:
    cost = expert.cost
    return [price for price in (cost.input, cost.output) if price is not None] if cost else []


def _is_unpriced(expert: ExpertKeys, file: FileKeys) -> bool:
    """Whether nobody knows what an expert's calls cost; programs cost what stands under them."""
    if program_keys(expert):
        return False
    base = file.experts.get(expert.base or "")
    inherited = _prices(base) if base is not None else []
    return len(_prices(expert) or inherited) < 2  # noqa: PLR2004 - of the prompt, of the answer
