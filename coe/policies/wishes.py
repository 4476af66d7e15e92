"""What a request's headers say of who may answer it, and of how sensitive it is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from coe.composition.policy_values import Group
from coe.errors import InvalidRequest

EXCLUDE, DATA_CLASS = b"x-coe-exclude", b"x-coe-data-class"
EXPERIMENT = b"x-coe-experiment"
"""`x-coe-experiment: off` keeps a request out of all experiments."""

TAG = "tag:"

Headers = Sequence[tuple[bytes, bytes]]
_NAMES = frozenset({EXCLUDE, DATA_CLASS, EXPERIMENT})
_MOST = 64


class Wishes(NamedTuple):
    """What a client wants of one request.

    Attributes:
        exclude: who is kept out; None for nobody.
        data: its data class, at least; empty for what we find.
        stays_out: whether it is to be in no experiment.
    """

    exclude: Group | None = None
    data: str = ""
    stays_out: bool = False


NONE = Wishes()


def wishes_of(headers: Headers) -> Wishes:
    """Return what headers say.

    Args:
        headers: as ASGI has them, names in lower case.

    Raises:
        InvalidRequest: they name more than is looked at, or two data classes.
    """
    for name, _ in headers:  # of most requests none is, and every microsecond counts
        if name in _NAMES:
            break
    else:
        return NONE
    given = [(name, value) for name, value in headers if name in _NAMES]
    names: list[str] = []
    classes: set[str] = set()
    stays_out = False
    for name, value in given:
        text = value.decode("latin-1").strip()
        if name == EXCLUDE:
            names += [part.strip() for part in text.split(",") if part.strip()]
        elif name == DATA_CLASS:
            classes.add(text)
        else:
            stays_out = stays_out or text == "off"
    if len(names) > _MOST:
        raise InvalidRequest(f"x-coe-exclude names at most {_MOST}", param="x-coe-exclude")
    if len(classes) > 1:
        raise InvalidRequest("x-coe-data-class stands there twice", param="x-coe-data-class")
    return Wishes(group_of(names) if names else None, next(iter(classes), ""), stays_out)


def group_of(names: Iterable[str]) -> Group:
    """Return the experts that are named: by their names, or all with a tag as `tag:NAME`."""
    listed = list(names)
    return Group(
        experts=frozenset(name for name in listed if not name.startswith(TAG)),
        tags=frozenset(name.removeprefix(TAG) for name in listed if name.startswith(TAG)),
    )


def told_in(headers: Headers) -> dict[str, str]:
    """Return what the headers of a batch say of its requests, to be kept with it by name."""
    return {
        name.decode(): value.decode("latin-1")
        for name, value in headers
        if name in {EXCLUDE, DATA_CLASS}
    }


def headers_of(kept: Mapping[str, str]) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers that the requests of a batch have by what was kept with it."""
    return tuple(
        (name, kept[name.decode()].encode("latin-1", "replace"))
        for name in (EXCLUDE, DATA_CLASS)
        if name.decode() in kept
    )
