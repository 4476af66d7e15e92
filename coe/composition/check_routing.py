"""Checks of the way from a text to an expert: routers, routes, and names that clients may use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coe.composition.check_experts import is_lora
from coe.composition.check_programs import over_of
from coe.composition.complete import BUILT_IN, stages_of
from coe.composition.conversation_keys import DERIVED
from coe.composition.document import KeyPath
from coe.composition.models import FileKeys
from coe.composition.names import check_known, written
from coe.composition.report import Report

_FRACTIONS = ("threshold", "margin", "confident_at")


def check_routes(file: FileKeys, report: Report) -> None:
    """Routes lead from known categories to known experts, some of which may answer."""
    named = written(report, "routing", "routes")
    routes = file.routing.routes
    for name, route in routes.items():
        path: KeyPath = ("routing", "routes", name)
        hint = ""
        if name == "none":
            hint = "who answers when no category is sure is `routing.none`, one level up"
        check_known(report, "categories", name, path, hint=hint, key=True)
        _check_ranking(route.experts, (*path, "experts"), file, report)
    for name, category in file.categories.items():
        path = ("categories", name)
        if category.experts is None:
            if named is not None and name not in named:
                message = "no route: the default expert answers it"
                report.warning(path, message, "add `experts`")
            continue
        if name in routes:
            place = report.document.place(("routing", "routes", name), key=True)
            message = f"its experts are also in `routing.routes` (at {place})"
            report.error((*path, "experts"), message, "keep one of the two", key=True)
        _check_ranking(category.experts, (*path, "experts"), file, report)
    if file.routing.none is not None:
        _check_ranking(file.routing.none, ("routing", "none"), file, report)
    if file.default is not None:
        _check_ranking([file.default], ("default",), file, report, single=True)
        default = file.experts.get(file.default)
        if default is not None and default.status == "canary":
            message = f"`{file.default}` is a canary: it answers only its share"
            report.error(("default",), message, "name an expert that is `live`")


def check_routers(file: FileKeys, completed: FileKeys, report: Report) -> None:
    """Routers stand on encoders and routers that exist, and one of them is the one that decides."""
    for name in file.routers:
        _check_router(name, file, completed, report)
    wanted = file.routing.router
    if wanted is not None:
        implicit = completed.routers if not file.routers else ()
        check_known(report, "routers", wanted, ("routing", "router"), implicit=implicit)
    elif completed.routing.router is None and file.categories and written(report, "routers"):
        message = "several routers, and nothing says which one decides"
        report.error(("routers",), message, "add `routing: {router: NAME}`", key=True)


def check_sessions(file: FileKeys, report: Report) -> None:
    """A session's key is looked for somewhere, nowhere twice, and not in vain."""
    sources, path = file.routing.sessions.key, ("routing", "sessions", "key")
    if not sources:
        hint = "name one, or write `sessions: never`"
        report.error(path, "a list without sources", hint, key=True)
    for i, source in enumerate(sources):
        if source in sources[:i]:
            report.error((*path, i), f"`{source}` is in this list twice", "remove one of the two")
        elif DERIVED in sources[:i]:
            message = f"`{source}` is never read: `{DERIVED}` before it always gives a key"
            report.error((*path, i), message, f"put `{DERIVED}` last")


def check_models(file: FileKeys, report: Report) -> None:
    """What a virtual model asks for goes together."""
    currencies = {
        price[1]
        for expert in file.experts.values()
        if expert.cost is not None
        for price in (expert.cost.input, expert.cost.output)
        if price is not None
    }
    for name, model in file.models.items():
        path: KeyPath = ("models", name)
        if model.quality_floor is not None and model.willingness_to_pay is not None:
            message = "a floor takes the cheapest above it, and has no use for a price"
            report.error((*path, "willingness_to_pay"), message, "keep one of the two", key=True)
        for key, wanted in (("quality_floor", "cheapest_good"), ("willingness_to_pay", "fitted")):
            if getattr(model, key) is not None and model.choose not in {None, wanted}:
                message = f"`{key}` is for `choose: {wanted}`"
                report.error((*path, key), message, f"remove it or write `{wanted}`", key=True)
        pays = model.willingness_to_pay
        if pays is not None and currencies - {pays[1]}:
            other = ", ".join(sorted(currencies - {pays[1]}))
            message = f"the experts' prices are in {other}, not in {pays[1]}"
            report.error((*path, "willingness_to_pay"), message, "use one currency")


def check_names(file: FileKeys, report: Report) -> None:
    """A name that a client asks for means one thing, and every expert is there for something.

    A category may be called like an expert: the bare name is then the expert's, and `coe/NAME`
    the category's.
    """
    owners: dict[str, KeyPath] = {name: ("models", name) for name in BUILT_IN}
    sections = (("experts", ""), ("categories", ""), ("categories", "coe/"), ("models", ""))
    for section, prefix in sections:
        for name in getattr(file, section):
            path: KeyPath = (section, name)
            owner = owners.setdefault(prefix + name, path)
            is_shared = section == "categories" and owner[0] == "experts" and not prefix
            if owner != path and not is_shared:
                first = report.document.place(owner, key=True)
                is_built_in = owner[0] == "models" and owner[1] in BUILT_IN
                also = "is always there" if is_built_in else f"at {first}"
                message = f"the name `{prefix + name}` is already that of {_what(owner)} ({also})"
                report.error(path, message, "rename one of the two", key=True)
    for name in file.categories:
        parent = name.rpartition(".")[0]
        if parent and parent in file.categories:
            message = f"a child of the category `{parent}` is not supported yet"
            report.error(("categories", name), message, "use a name without the dot", key=True)
    _check_unused(file, report)


def _check_router(name: str, file: FileKeys, completed: FileKeys, report: Report) -> None:
    router, path = file.routers[name], ("routers", name)
    for synonym in ("embedder", "embedders"):
        if synonym in router.options:
            hint = "did you mean `encoder`?"
            report.error((*path, synonym), f"unknown key `{synonym}`", hint, key=True)
    encoder = router.options.get("encoder")
    if isinstance(encoder, str):
        at = (*path, "encoder")
        check_known(report, "encoders", encoder, at, implicit=completed.encoders)
    for key, expert in router.asked.items():
        _check_ranking([expert], (*path, key), file, report, single=True)
    if router.max_wait is not None and not router.asked:
        message = "this router asks no expert that it could wait for"
        report.error((*path, "max_wait"), message, "remove it", key=True)
    for i, stage in enumerate(stages_of(router.options)):
        check_known(report, "routers", stage, (*path, "stages", i))
    for key in _FRACTIONS:
        _check_fraction(router.options.get(key), (*path, key), report)
    if _is_cyclic(name, file):
        message = f"the stages of `{name}` lead back to itself"
        report.error((*path, "stages"), message, "remove the stage that closes the circle")


def _what(owner: KeyPath) -> str:
    what = {"experts": "an expert", "categories": "a category", "models": "a virtual model"}
    return what[str(owner[0])]


def _check_ranking(
    ranking: Sequence[str], path: KeyPath, file: FileKeys, report: Report, *, single: bool = False
) -> None:
    for i, name in enumerate(ranking):
        at = path if single else (*path, i)
        if check_known(report, "experts", name, at) and name in ranking[:i]:
            report.error(at, f"`{name}` is in this list twice", "remove one of the two")
    if not ranking:
        report.error(path, "a list without experts", "name at least one", key=True)
    known = [file.experts[name] for name in ranking if name in file.experts]
    idle = [expert for expert in known if expert.status not in {"live", "canary"}]
    if ranking and len(idle) == len(ranking):
        states = ", ".join(f"`{name}` is {file.experts[name].status}" for name in ranking)
        message, hint = f"nobody here may answer: {states}", "add one that is `live`"
        report.error(path, message, hint, key=not single)


def _check_fraction(value: Any, path: KeyPath, report: Report) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if is_number and not 0 <= value <= 1:
        report.error(path, f"{value} is out of range: a probability is from 0 to 1")


def _is_cyclic(name: str, file: FileKeys) -> bool:
    """Whether the stages of a router, or theirs in turn, name the router itself."""
    seen: set[str] = set()
    pending = stages_of(file.routers[name].options)
    while pending:
        stage = pending.pop()
        if stage == name:
            return True
        if stage in file.routers and stage not in seen:
            seen.add(stage)
            pending += stages_of(file.routers[stage].options)
    return False


def _check_unused(file: FileKeys, report: Report) -> None:
    if file.routing.choose == "fitted":  # a map leads to whoever it ranks
        return
    used = {file.default, *(file.routing.none or ())}
    used.update(*(route.experts for route in file.routing.routes.values()))
    used.update(*(category.experts or () for category in file.categories.values()))
    used.update(expert.base for expert in file.experts.values() if is_lora(expert))
    used.update(over_of(expert) for expert in file.experts.values())
    used.update(*(router.asked.values() for router in file.routers.values()))
    used.update(*(panel.asked for panel in file.aggregation.values()))
    for name, expert in file.experts.items():
        if name not in used and expert.status in {"live", "canary"}:
            message = "no route leads to it: only a client that names it gets it"
            report.warning(("experts", name), message, "add it to a category's `experts`")
