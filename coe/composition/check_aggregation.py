"""Checks of panels: who sits on them, who judges and writes, and what they may cost."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import entry_points

from coe.composition.aggregation_keys import PanelKeys
from coe.composition.check_experts import is_lora
from coe.composition.document import KeyPath
from coe.composition.expert_keys import CostKeys
from coe.composition.models import FileKeys
from coe.composition.names import check_known
from coe.composition.report import Report, suggestion
from coe.composition.values import MOST_MEMBERS, NO_PANEL

GROUP = "coe.aggregators"
_ANSWER = frozenset({"live", "canary"})


def check_aggregation(file: FileKeys, report: Report) -> None:
    """Report panels that cannot work, that nobody asks for, and names that lead to none."""
    used = set()
    for path, name in _named(file):
        hint = suggestion(name, file.aggregation, what="panels")
        if name != NO_PANEL and check_known(report, "aggregation", name, path, hint=hint):
            used.add(name)
            _check_seats(path, file, report)
    if not file.aggregation:
        return
    installed = {point.name for point in entry_points(group=GROUP)}
    for name, panel in file.aggregation.items():
        path = ("aggregation", name)
        if name == NO_PANEL:
            message = f"`{NO_PANEL}` is what says that there is no panel"
            report.error(path, message, "rename it", key=True)
        if panel.method not in installed:
            hint = suggestion(panel.method, installed, what="installed")
            message = f"no `{GROUP}` plugin is named `{panel.method:.60}`"
            report.error((*path, "method"), message, hint)
        _check_members(panel, path, file, report)
        _check_numbers(panel, path, file, report)
        _check_prices(panel, path, file, report)
        for key in ("judge", "writer"):
            expert = getattr(panel, key)
            if expert is not None:
                _check_expert(expert, (*path, key), file, report)
        if name not in used:
            message = "nobody asks this panel: no category, route or model names it"
            hint = f"write `aggregate: {name}` where it is to answer, or `models: {{coe/{name}:"
            report.warning(path, message, f"{hint} {{aggregate: {name}}}}}`")


def _named(file: FileKeys) -> Iterator[tuple[KeyPath, str]]:
    """Yield where the file names a panel, and which."""
    sections = (
        (("categories",), file.categories),
        (("routing", "routes"), file.routing.routes),
        (("models",), file.models),
    )
    for path, entries in sections:
        for name, entry in entries.items():
            if entry.aggregate is not None:
                yield (*path, name, "aggregate"), entry.aggregate


def _check_seats(path: KeyPath, file: FileKeys, report: Report) -> None:
    """Report a category whose own experts are too few for its panel, and one that names two."""
    category = str(path[-2])
    entry, route = file.categories.get(category), file.routing.routes.get(category)
    if path[0] == "models" or entry is None:
        return
    if path[0] == "categories" and route is not None and route.aggregate is not None:
        place = report.document.place(("routing", "routes", category, "aggregate"), key=True)
        message = f"its panel is also in `routing.routes` (at {place})"
        report.error(path, message, "keep one of the two", key=True)
    panel = file.aggregation.get((route and route.aggregate) or entry.aggregate or "")
    if panel is None or panel.experts.named or file.routing.choose == "fitted":
        return
    ranked = route.experts if route is not None else entry.experts or ()
    if len(ranked) * panel.experts.samples == 1:
        message = f"one expert is ranked for `{category}`: it answers alone"
        report.warning(path, message, "rank more, or name the panel's members")


def _check_members(panel: PanelKeys, path: KeyPath, file: FileKeys, report: Report) -> None:
    named = panel.experts.named
    if named is None:
        return
    at = _place_of_names(path, report)
    if not named:
        report.error(at, "a panel without members", "name them, or say how many", key=True)
    for i, expert in enumerate(named):
        if expert in named[:i]:
            hint = "remove one of the two; `samples` asks each of them so often"
            report.error((*at, i), f"`{expert}` is in this list twice", hint)
        else:
            _check_expert(expert, (*at, i), file, report)


def _check_expert(name: str, path: KeyPath, file: FileKeys, report: Report) -> None:
    hint = ""
    if name in file.models:
        hint = f"`{name}` is a virtual model: name experts, so that no panel asks a panel"
    if not check_known(report, "experts", name, path, hint=hint):
        return
    expert = file.experts.get(name)
    if expert is not None and expert.status not in _ANSWER:
        message = f"`{name}` may not answer: its status is `{expert.status}`"
        report.error(path, message, "name an expert that is `live`")


def _check_numbers(panel: PanelKeys, path: KeyPath, file: FileKeys, report: Report) -> None:
    members, at = panel.experts, (*path, "experts")
    most = len(members.named) if members.named else members.top or 3
    top = min(most, members.top or most)
    if members.min > top:
        message = f"at least {members.min} members, and at most {top}"
        report.error((*at, "min"), message, f"lower it to {top}, or raise the other")
    if top * members.samples > MOST_MEMBERS:
        message = f"{top} members asked {members.samples} times are {top * members.samples} calls"
        report.error((*at, "samples"), message, f"{MOST_MEMBERS} at most")
    if panel.quorum is not None and panel.quorum > top * members.samples:
        message = f"a quorum of {panel.quorum}, and only {top * members.samples} drafts"
        report.error((*path, "quorum"), message, "lower it, or ask more members")
    if members.distinct_backends and not report.has_broken(("backends",)):
        known = [n for n in members.named or file.experts if n in file.experts]
        backends = {_backend_of(name, file) for name in known}
        if known and len(backends) < members.min:
            message = f"at least {members.min} members on as many backends: they run on"
            listed = ", ".join(f"`{name}`" for name in sorted(backends))
            report.error((*at, "distinct_backends"), f"{message} {listed}", "lower `min`")
    limit, draft = panel.deadline, panel.draft_deadline
    if limit is not None and draft is not None and draft > limit:
        message = "a member may take longer than the whole panel"
        report.warning((*path, "draft_deadline"), message, "lower it, or remove it")


def _check_prices(panel: PanelKeys, path: KeyPath, file: FileKeys, report: Report) -> None:
    """A limit on costs needs the price of everybody who may be asked, in the same currency."""
    if panel.max_cost is None:
        return
    known = {name for name in panel.asked if name in file.experts}
    at = (*path, "max_cost")
    free = sorted(name for name in known if not _is_priced(_cost_of(name, file)))
    if free:
        message = f"nobody knows what {_listed(free)} would cost"
        hint = "give each a price such as `cost: {input: 1 USD/M, output: 4 USD/M}`"
        report.error(at, message, hint)
    elif panel.experts.named is None:
        others = [n for n, e in file.experts.items() if e.status in _ANSWER and n not in known]
        free = [name for name in others if not _is_priced(_cost_of(name, file))]
        if free:
            message = f"without a price, {_listed(free)} cannot be a member"
            report.warning(at, message, "write `cost` for each; 0 USD/M is a price, too")
    for name in known:
        cost = _cost_of(name, file)
        for price in (cost.input, cost.output) if cost is not None else ():
            if price is not None and price[1] != panel.max_cost[1]:
                message = f"the prices of `{name}` are in {price[1]}, not in {panel.max_cost[1]}"
                report.error(at, message, "use one currency")
                return


def _place_of_names(path: KeyPath, report: Report) -> KeyPath:
    """Return where a panel's members are written: their list may stand for the mapping."""
    long = (*path, "experts", "named")
    return long if long in report.document.values else (*path, "experts")


def _backend_of(name: str, file: FileKeys) -> str:
    expert = file.experts[name]
    base = file.experts.get(expert.base or "") if is_lora(expert) else None
    return (base or expert).backend or ""


def _cost_of(name: str, file: FileKeys) -> CostKeys | None:
    expert = file.experts[name]
    base = file.experts.get(expert.base or "") if is_lora(expert) else None
    return expert.cost or (base.cost if base is not None else None)


def _is_priced(cost: CostKeys | None) -> bool:
    return cost is not None and cost.input is not None and cost.output is not None


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
