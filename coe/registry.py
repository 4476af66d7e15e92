"""Plugins, found through entry points; built-ins come through the same door as third parties'."""

from __future__ import annotations

from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from coe.errors import PluginError

Group = Literal[
    "coe.routers",
    "coe.encoders",
    "coe.backends",
    "coe.aggregators",
    "coe.orderings",
    "coe.evictions",
    "coe.tools",
]


class Registry:
    """What is installed, by group and name. Loads a plugin only when it is asked for."""

    def __init__(self) -> None:
        self._points: dict[str, dict[str, EntryPoint]] = {}

    def names(self, group: Group) -> tuple[str, ...]:
        """Return the installed names of a group, sorted."""
        return tuple(sorted(self._group(group)))

    def load(self, group: Group, name: str) -> Any:
        """Return the factory that a plugin registered.

        Raises:
            PluginError: nothing has that name, or its import failed.
        """
        points = self._group(group)
        if name not in points:
            close = get_close_matches(name, points, n=1)
            hint = f"; did you mean `{close[0]}`?" if close else ""
            known = ", ".join(sorted(points)) or "none: is coe-gateway installed?"
            raise PluginError(f"no `{group}` plugin `{name}` (installed: {known}){hint}")
        try:
            return points[name].load()
        except (ImportError, AttributeError) as error:
            raise PluginError(f"plugin `{name}` of `{group}` failed to load: {error}") from error

    def _group(self, group: str) -> dict[str, EntryPoint]:
        if group not in self._points:
            self._points[group] = {point.name: point for point in entry_points(group=group)}
        return self._points[group]
