"""LiteLLM's `config.yaml`: deployments become experts, groups with a fallback become categories.

A model name with one deployment and no fallback is an expert of that name. Any other is a category
of that name whose ranked experts are its deployments, then those of its fallbacks: a client that
asks for the old name gets them in that order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from coe.composition.document import KeyPath
from coe.composition.units import format_duration
from coe.importing.carried import Carried
from coe.importing.litellm_deployment import (
    Deployment,
    Secret,
    not_an_expert,
    read_deployment,
)
from coe.importing.litellm_tables import REASONS
from coe.importing.part import Part
from coe.importing.providers import LITELLM
from coe.importing.source import Source

_ANY = "*"
_SETTINGS = ("router_settings", "litellm_settings")
_TOLD = ("general_settings", "environment_variables")  # key by key


@dataclass(slots=True)
class _Group:
    """A model name: its deployments, the model names that stand in for it, and our experts."""

    path: KeyPath
    deployments: list[Deployment] = field(default_factory=list)
    then: list[str] = field(default_factory=list)
    experts: list[str] = field(default_factory=list)

    @property
    def is_category(self) -> bool:
        return len(self.deployments) > 1 or bool(self.then)


_Groups = dict[str, _Group]


def recognises(content: Any) -> bool:
    """Whether a file's content looks like LiteLLM's."""
    return isinstance(content, dict) and "model_list" in content


def carry(source: Source) -> Carried:
    """Carry a file over. Raises CompositionError for what cannot be understood."""
    carried = Carried(source)
    _expect_variables(source.content, carried)
    top = Part(source, (), source.content)
    groups = _read_list(top, carried)
    _read_fallbacks(top, groups, carried)
    _add_groups(groups, carried)
    _add_aliases(top, groups, carried)
    _add_timeouts(top, carried)
    chat = [
        name
        for group in groups.values()
        for name, one in zip(group.experts, group.deployments, strict=True)
        if one.is_chat
    ]
    for section in _TOLD:
        top.part(section)
    carried.leave(top, REASONS)
    carried.finish(chat)
    return carried


def _expect_variables(content: Any, carried: Carried) -> None:
    """Keep the names of variables that the file refers to from secrets that are written in it."""
    if isinstance(content, dict | list):
        for value in content.values() if isinstance(content, dict) else content:
            _expect_variables(value, carried)
    elif isinstance(content, str):
        carried.credentials.expect(content)


def _read_list(top: Part, carried: Carried) -> _Groups:
    shared = {part.text("credential_name"): part for part in top.parts("credential_list")}
    groups: _Groups = {}
    for entry in top.parts("model_list"):
        _read_entry(entry, shared, groups, carried)
    if not groups:
        message = "none of its models can be carried over"
        top.source.stop(("model_list",), message, "add one with `model_name` and `litellm_params`")
    for group in groups.values():
        group.deployments.sort(key=lambda one: one.order)
        for one in group.deployments:
            carried.credentials.expect(str(one.backend.get("api_key", "")))
    return groups


def _read_entry(entry: Part, shared: Mapping[str, Part], groups: _Groups, carried: Carried) -> None:
    source = entry.source
    group, params = entry.text("model_name"), entry.part("litellm_params")
    if not group:
        source.stop(entry.path, "`model_name` is missing", "add the name that clients ask for")
    if params is None:
        source.stop(entry.path, "`litellm_params` is missing", "add it, with `model`")
    model = params.text("model")
    if not model:
        source.stop(params.path, "`model` is missing", "such as `openai/gpt-4o-mini`")
    info = entry.part("model_info") or Part(source, entry.path, {})
    if reason := not_an_expert(group, model, info.text("mode")):
        carried.note("left out", entry.path, reason)
        entry.close()
        return
    found = read_deployment(entry, params, info, shared)
    known = groups.setdefault(group, _Group(entry.path))
    for one in known.deployments:
        if (one.backend, one.expert) == (found.backend, found.expert):
            line = source.line(one.entry.path)
            carried.note("left out", entry.path, f"the same model at the same place as line {line}")
            entry.close()
            return
    known.deployments.append(found)


def _read_fallbacks(top: Part, groups: _Groups, carried: Carried) -> None:
    """Note who stands in for whom; a group that names nobody has the default ones."""
    by_default: list[str] = []
    for part in filter(None, map(top.part, _SETTINGS)):
        for kind in ("fallbacks", "context_window_fallbacks"):
            for row in part.parts(kind):
                for name in row.keys:
                    if name in groups:
                        groups[name].then += _known(row.texts(name), groups, carried)
                    elif name == _ANY:
                        by_default += _known(row.texts(name), groups, carried)
        by_default += _known(part.texts("default_fallbacks"), groups, carried)
    for name, group in groups.items():
        group.then = [one for one in dict.fromkeys(group.then or by_default) if one != name]


def _known(
    names: Sequence[tuple[KeyPath, str]], groups: _Groups, carried: Carried
) -> Iterator[str]:
    for path, name in names:
        if name in groups:
            yield name
        else:
            carried.note("left out", path, "falls back to a model that is not carried over")


def _add_groups(groups: _Groups, carried: Carried) -> None:
    """Add experts and categories; names that clients know are given away before ours."""
    categories: dict[str, dict[str, Any]] = {}
    for name, group in groups.items():
        if group.is_category:
            keys: dict[str, Any] = {}
            where = carried.category(name, keys, group.path)
            categories[name] = keys
            message = "its name reaches these experts, in this order; load is not shared out"
            carried.note("changed", group.path, message, ("categories", where))
        else:
            group.experts = [_add_expert(group.deployments[0], name, carried)]
    for name in categories:
        group = groups[name]
        group.experts = [
            _add_expert(one, f"{name}-{number}", carried)
            for number, one in enumerate(group.deployments, start=1)
        ]
    for name, keys in categories.items():
        then = [expert for other in groups[name].then for expert in groups[other].experts]
        keys["experts"] = list(dict.fromkeys([*groups[name].experts, *then]))


def _add_expert(one: Deployment, wish: str, carried: Carried) -> str:
    found: list[Secret] = []
    keys = _referring(one.backend, carried, found)
    known = len(carried.backends)
    backend = carried.backend(one.provider, keys)
    if len(carried.backends) > known:
        for secret in found:
            carried.secret(secret.path, str(secret), secret.wish, ("backends", backend))
        for kind, path, message in one.notes:
            carried.note(kind, path, message, ("backends", backend))
        if keys["type"] == LITELLM:
            message = "called through LiteLLM's library: `pip install 'coe-gateway[litellm]'`"
            carried.note("to do", one.params.at("model"), message, ("backends", backend))
    name = carried.expert(wish, {"backend": backend, **one.expert}, one.entry.path)
    carried.leave(one.entry, REASONS, ("experts", name))
    return name


def _referring(value: Any, carried: Carried, found: list[Secret]) -> Any:
    """Return a value with a reference in the place of each secret, which goes to `found`."""
    if isinstance(value, dict):
        return {key: _referring(entry, carried, found) for key, entry in value.items()}
    if isinstance(value, Secret):
        found.append(value)
        return carried.credentials.reference(str(value), value.wish)[0]
    return value


def _add_aliases(top: Part, groups: _Groups, carried: Carried) -> None:
    """Add a category for each further name of a group."""
    settings = top.part("router_settings")
    aliases = settings.part("model_group_alias") if settings is not None else None
    if aliases is None:
        return
    for alias in aliases.keys:
        part = aliases.part(alias)
        name = part.text("model") if part is not None else aliases.text(alias)
        if name in groups:
            group = groups[name]
            ranked = [*group.experts, *(e for other in group.then for e in groups[other].experts)]
            keys = {"experts": list(dict.fromkeys(ranked))}
            where = carried.category(alias, keys, aliases.at(alias))
            message = f"another name of `{name:.60}`"
            carried.note("changed", aliases.at(alias), message, ("categories", where))
        else:
            message = "another name of a model that is not carried over"
            carried.note("left out", aliases.at(alias), message)


def _add_timeouts(top: Part, carried: Carried) -> None:
    """The limit of a whole call; the router's own goes before the library's."""
    for section, key in (("router_settings", "timeout"), ("litellm_settings", "request_timeout")):
        part = top.part(section)
        seconds = part.number(key) if part is not None else None
        if seconds and "timeouts" not in carried.top:
            carried.top["timeouts"] = {"total": format_duration(float(seconds))}
        elif seconds and part is not None:
            carried.note("left out", part.at(key), "the router's own limit holds")
