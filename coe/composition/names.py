"""Names of sections, and references from one section to another."""

from __future__ import annotations

from collections.abc import Iterable

from coe.composition.document import KeyPath
from coe.composition.report import Report, suggestion

_ONE = {
    "aggregation": "panel",
    "backends": "backend",
    "categories": "category",
    "encoders": "encoder",
    "experts": "expert",
    "routers": "router",
}


def written(report: Report, *section: str) -> list[str] | None:
    """Return the names of a section, those of broken entries included.

    None where the section itself is broken: then nothing can be said of its names.
    """
    content = report.document.content
    for key in section:
        if content is None:
            return []
        if not isinstance(content, dict):
            return None
        content = content.get(key)
    if content is None:
        return []
    return list(content) if isinstance(content, dict) else None


def check_known(  # noqa: PLR0913 - the last three are rare and named
    report: Report,
    section: str,
    name: str,
    path: KeyPath,
    *,
    implicit: Iterable[str] = (),
    hint: str = "",
    key: bool = False,
) -> bool:
    """Whether `name` may be used at `path`; where the section has no such name, report it.

    Names in `implicit` are there without being written. `hint` replaces the nearest names, and
    `key` says that the name is the key at `path` and not the value.
    """
    names = written(report, section)
    if names is None:
        return True
    known = {*names, *implicit}
    if name in known:
        return True
    hint = hint or suggestion(name, known, what=section)
    report.error(path, f"there is no {_ONE[section]} `{name:.60}`", hint, key=key)
    return False
