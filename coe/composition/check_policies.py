"""Checks of policies: names lead somewhere, and no rule leaves a request nobody by mistake."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.util import find_spec

from coe.composition.barring import Bar, Sites, barred_by, encoder_key
from coe.composition.complete import stages_of
from coe.composition.document import KeyPath
from coe.composition.models import FileKeys
from coe.composition.names import check_known
from coe.composition.policies import rule_of
from coe.composition.policy_keys import GroupKeys, PolicyKeys, RuleKeys
from coe.composition.policy_values import PERSONAL, Rule
from coe.composition.report import Report, suggestion
from coe.composition.sites import Resolve, sites_of
from coe.composition.values import NO_PANEL

LIBRARIES = {
    "secrets": "detect_secrets",
    "email": "email_validator",
    "phone": "phonenumbers",
    "card": "stdnum",
    "iban": "stdnum",
}
"""The module that each detector stands on."""

_ANSWER = frozenset({"live", "canary"})


def check_policies(file: FileKeys, completed: FileKeys, report: Report, resolve: Resolve) -> None:
    """Report what is wrong with policies, and with the data classes of categories.

    Args:
        file: as it was written.
        completed: with what it leaves to us.
        report: told what is wrong.
        resolve: replaces the references in the value at a key path.
    """
    classes = file.policies.data_classes if file.policies is not None else []
    for name, category in file.categories.items():
        if category.data is not None:
            _check_class(category.data, ("categories", name, "data"), classes, report)
    policies = file.policies
    if policies is None:
        return
    _check_classes(policies, report)
    _check_detectors(policies, report)
    sites = sites_of(completed, resolve)
    for place, rule in enumerate(policies.rules):
        path: KeyPath = ("policies", "rules", place)
        _check_rule(rule, path, policies, file, report)
        if any(rule.name == other.name for other in policies.rules[:place]):
            message = f"there are two rules `{rule.name:.60}`"
            report.error((*path, "name"), message, "rename one: refusals name the rule")
        if not report.has_broken(path):
            _Effect(rule, path, completed, report, sites).check()


def _check_classes(policies: PolicyKeys, report: Report) -> None:
    path: KeyPath = ("policies", "data_classes")
    for place, name in enumerate(policies.data_classes):
        if name in policies.data_classes[:place]:
            report.error((*path, place), f"`{name}` is in this list twice", "remove one of the two")


def _check_class(name: str, path: KeyPath, classes: list[str], report: Report) -> None:
    if name in classes or report.has_broken(("policies", "data_classes")):
        return
    hint = suggestion(name, classes, what="data_classes")
    if not classes:
        hint = "list them under `policies: {data_classes: [...]}`, the least sensitive first"
    report.error(path, f"there is no data class `{name:.60}`", hint)


def _check_detectors(policies: PolicyKeys, report: Report) -> None:
    path: KeyPath = ("policies", "detect")
    for detector, name in policies.detect.items():
        _check_class(name, (*path, detector), policies.data_classes, report)
        parts = PERSONAL if detector == "pii" else (detector,)
        missing = sorted({LIBRARIES[part] for part in parts if not find_spec(LIBRARIES[part])})
        if missing:
            message = f"it needs {', '.join(f'`{name}`' for name in missing)}, not installed here"
            hint = "pip install 'coe-gateway[policies]'"
            report.error((*path, detector), message, hint, key=True)
    if policies.phone_countries and not {"phone", "pii"}.intersection(policies.detect):
        message = "nothing looks for phone numbers"
        hint = "add `detect: {phone: CLASS}`, or remove it"
        report.error(("policies", "phone_countries"), message, hint, key=True)
    elif policies.phone_countries and find_spec(LIBRARIES["phone"]):
        from phonenumbers import SUPPORTED_REGIONS

        for place, country in enumerate(policies.phone_countries):
            if country not in SUPPORTED_REGIONS:
                at = ("policies", "phone_countries", place)
                report.error(at, f"`{country}` is no country", "write a code such as `CH`")


def _check_rule(
    rule: RuleKeys, path: KeyPath, policies: PolicyKeys, file: FileKeys, report: Report
) -> None:
    condition = rule.condition
    if condition.data is not None:
        _check_class(condition.data, (*path, "if", "data"), policies.data_classes, report)
    for place, name in enumerate(condition.category or ()):
        check_known(report, "categories", name, _at((*path, "if", "category"), place, report))
    given = [rule.require, rule.allow, rule.deny, rule.max_cost]
    if all(one is None for one in given) and not report.has_broken(path):
        hint = "add `require`, `allow`, `deny` or `max_cost`"
        report.error(path, "this rule takes nothing away", hint)
    for key, group in (("allow", rule.allow), ("deny", rule.deny)):
        if group is not None:
            _check_group(group, (*path, key), file, report)
    _check_currency(rule, path, file, report)


def _check_group(group: GroupKeys, path: KeyPath, file: FileKeys, report: Report) -> None:
    if not group.experts and not group.tags:
        report.error(path, "nobody is named", "add `experts` or `tags`", key=True)
    for place, name in enumerate(group.experts):
        check_known(report, "experts", name, _at((*path, "experts"), place, report))
    tags = {tag for expert in file.experts.values() for tag in expert.tags}
    for place, tag in enumerate(group.tags):
        if tag not in tags and not report.has_broken(("experts",)):
            hint = suggestion(tag, tags, what="tags")
            at = _at((*path, "tags"), place, report)
            report.error(at, f"no expert has the tag `{tag:.60}`", hint)


def _check_currency(rule: RuleKeys, path: KeyPath, file: FileKeys, report: Report) -> None:
    if rule.max_cost is None:
        return
    for name, expert in file.experts.items():
        cost = expert.cost
        for price in (cost.input, cost.output) if cost is not None else ():
            if price is not None and price[1] != rule.max_cost[1]:
                message = f"the prices of `{name}` are in {price[1]}, not in {rule.max_cost[1]}"
                report.error((*path, "max_cost"), message, "use one currency")
                return


class _Effect:
    """What a rule leaves of routes, panels and routers."""

    def __init__(
        self, rule: RuleKeys, path: KeyPath, file: FileKeys, report: Report, sites: Sites
    ) -> None:
        self._keys = rule
        self._path = path
        self._file = file
        self._report = report
        self._rule: Rule = rule_of(rule)
        self._barred: dict[str, Bar] = barred_by(self._rule, sites)
        self._is_meant = rule.otherwise == "refuse"

    def check(self) -> None:
        """Report where it leaves nobody, and where it cannot be kept."""
        self._check_router()
        if self._is_meant or not self._barred:
            return
        for what, names in self._lists():
            able = [name for name in names if self._may_answer(name)]
            left = [name for name in able if name not in self._barred]
            if able and not left:
                why = self._barred[able[0]].words.partition(": ")[2]
                message = f"it leaves nobody for {what} (`{able[0]}`: {why})"
                hint = "add an expert that it lets through, or write `else: refuse`"
                self._report.error(self._path, message, hint)
                return

    def _lists(self) -> Iterator[tuple[str, Iterable[str]]]:
        """Yield who answers what, of requests that the rule may be about."""
        file, categories = self._file, self._rule.categories
        for name, route in file.routing.routes.items():
            if categories is None or name in categories:
                yield f"the category `{name}`", route.experts
        if categories is None:
            yield "requests of no category", [*(file.routing.none or ()), file.default or ""]
        for name, panel in file.aggregation.items():
            if name != NO_PANEL and panel.experts.named:
                yield f"the panel `{name}`", panel.experts.named
            for role, expert in (("judge", panel.judge), ("writer", panel.writer)):
                if expert is not None:
                    yield f"the {role} of the panel `{name}`", [expert]
        for name, one in file.experiments.items():
            if one.judge is not None:
                yield f"the judge of the experiment `{name}`", [one.judge.expert]

    def _may_answer(self, name: str) -> bool:
        expert = self._file.experts.get(name)
        return expert is not None and expert.status in _ANSWER

    def _check_router(self) -> None:
        """Report a router that sends a prompt on before it is known that it may not be sent.

        That is so where a category makes the rule hold, and the category is what the router finds.
        """
        by_category = self._rule.categories is not None or self._is_of_class()
        decides = self._file.routing.router
        if not by_category or decides is None or not self._file.categories:
            return
        for router, asked in self._asked(decides, set()):
            if asked in self._barred:
                kind, _, encoder = asked.partition(" ")
                called = f"the encoder `{encoder}`" if encoder else f"`{kind}`"
                message = f"it comes too late: the router `{router}` sends each request to {called}"
                hint = "have a router that asks nobody there, or make the rule hold for all"
                self._report.error(self._path, f"{message} to learn its category", hint)
                return

    def _is_of_class(self) -> bool:
        """Whether a category alone can make the rule hold: by the data class of its requests."""
        least = self._rule.data
        classes = self._file.policies.data_classes if self._file.policies is not None else []
        if least is None or least not in classes:
            return False
        sensitive = set(classes[max(classes.index(least), 1) :])
        return any(entry.data in sensitive for entry in self._file.categories.values())

    def _asked(self, name: str, seen: set[str]) -> Iterator[tuple[str, str]]:
        """Yield the routers that a router is made of, each with what it sends texts to."""
        router = self._file.routers.get(name)
        if router is None or name in seen:
            return
        seen.add(name)
        for expert in router.asked.values():
            yield name, expert
        if isinstance(encoder := router.options.get("encoder"), str):
            yield name, encoder_key(encoder)
        for stage in stages_of(router.options):
            yield from self._asked(stage, seen)


def _at(path: KeyPath, place: int, report: Report) -> KeyPath:
    """Return where a name stands: a single one may stand for the list."""
    long = (*path, place)
    return long if long in report.document.values else path
