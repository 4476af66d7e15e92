"""Edits of experts.yaml by a program: an expert more or less, a key set; comments stay.

    rewrite(path, partial(add_expert, name="coder", keys="ollama/coder:7b", categories=["code"]))

The edited text is read and checked as any other before it replaces the file, in one step: a bad
edit leaves the file as it was.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from coe.composition import loading
from coe.composition.document import KeyPath, decode
from coe.composition.draft import Draft
from coe.composition.expert_keys import ExpertKeys
from coe.composition.report import suggestion
from coe.composition.routing_keys import RouterKeys
from coe.composition.values import Composition
from coe.errors import CompositionError, Conflict, InvalidRequest, Problem, UnknownModel

Change = Callable[[Draft], Draft]


class Rewrite:
    """An edit that is checked and not written yet.

    Attributes:
        composition: what the file will hold.
    """

    def __init__(self, file: Path, before: str, after: str, composition: Composition) -> None:
        """Store what is to be written where, and what it means."""
        self.composition = composition
        self._file = file
        self._text = after
        self._is_change = after != before

    def commit(self) -> None:
        """Write the file. Raises CompositionError where it cannot be written: it is as it was."""
        if self._is_change:
            _replace(self._file, self._text)


def rewrite(path: Path, change: Change, env: Mapping[str, str] | None = None) -> Composition:
    """Edit a composition file, as `rewriting` does, and write it; return what it holds now."""
    with rewriting(path, change, env) as edit:
        edit.commit()
        return edit.composition


@contextlib.contextmanager
def rewriting(
    path: Path, change: Change, env: Mapping[str, str] | None = None
) -> Iterator[Rewrite]:
    """Edit a composition file; what is yielded is to be committed.

    Edits of several processes follow each other: the next one begins where this block ends. A
    symbolic link stays one; the file's permissions stay, too.

    Args:
        path: the file.
        change: from the file's draft to the one that is to take its place.
        env: where references are looked up, as for `load`.

    Raises:
        CompositionError: the file cannot be read, or would not be one that can be served; it is as
            it was.
        RequestError: as `change` raises.
    """
    real = path.resolve()
    with _alone(real.parent):
        before = _read(path)
        draft = change(Draft(before, str(path)))
        yield Rewrite(real, before, draft.text, loading.load(path, env, text=draft.text))


def unchanged(draft: Draft) -> Draft:
    """Return the draft as it is: no edit, for who only wants the file to be read."""
    return draft


def set_key(draft: Draft, path: KeyPath, value: Any) -> Draft:
    """Return the draft with a key set, such as `("routing", "choose")`."""
    return draft.put(path, value)


def add_expert(
    draft: Draft,
    *,
    name: str,
    keys: Mapping[str, Any] | str,
    categories: Sequence[str] = (),
    first: bool = True,
) -> Draft:
    """Return the draft with one more expert, ranked in some categories.

    Args:
        draft: of a composition.
        name: of the expert, not in the file yet.
        keys: as in the file: a mapping, or `backend/model`.
        categories: of the file.
        first: rank it before the others: a canary then has its share, and they answer the rest;
            else behind them, where it is a fallback.

    Raises:
        Conflict: there is an expert of that name.
        InvalidRequest: there is no such category.
    """
    if name in _section(draft, "experts"):
        raise Conflict(f"there is an expert `{name}` already; remove it first, or choose another")
    draft = draft.put(("experts", name), dict(keys) if isinstance(keys, Mapping) else keys)
    for category in categories:
        draft = rank(draft, name, category, first=first)
    return draft


def set_expert(draft: Draft, *, name: str, keys: Mapping[str, Any]) -> Draft:
    """Return the draft with some keys of an expert set, None removing one; the others stay.

    Raises:
        UnknownModel: there is no expert of that name.
    """
    _known_expert(draft, name)
    at: KeyPath = ("experts", name)
    written = draft.get(at)
    if not isinstance(written, dict):
        draft = draft.put(at, {**ExpertKeys.from_short(written), **_given(keys)})
    for key, value in keys.items():
        if value is not None:
            draft = draft.put((*at, key), value)
        elif key in draft.get(at):
            draft = draft.remove((*at, key))
    return draft


def rank(draft: Draft, name: str, category: str, *, first: bool = True) -> Draft:
    """Return the draft with an expert ranked in a category, or as it is where it is ranked.

    Raises:
        InvalidRequest: there is no such category.
    """
    categories = _section(draft, "categories")
    if category not in categories:
        hint = suggestion(category, categories, what="categories")
        raise InvalidRequest(f"no category `{category}` ({hint})", param="categories")
    path = _ranking(draft, category)
    if isinstance(draft.get(("categories", category)), list) and path[0] == "categories":
        utterances = draft.get(("categories", category))
        draft = draft.put(("categories", category), {"utterances": utterances})
    return draft if name in _listed(draft.get(path)) else draft.add(path, name, first=first)


def remove_expert(draft: Draft, *, name: str) -> Draft:
    """Return the draft without an expert, and without it in any ranking.

    Raises:
        UnknownModel: there is no expert of that name.
        Conflict: others stand on it; the message names each.
    """
    _known_expert(draft, name)
    if reasons := list(_needed_by(draft, name)):
        raise Conflict(f"`{name}` cannot be removed: {'; '.join(reasons)}")
    for path in _rankings(draft):
        ranked = draft.get(path)
        while isinstance(ranked, list) and name in ranked:
            draft = draft.remove((*path, ranked.index(name)))
            ranked = draft.get(path)
    return draft.remove(("experts", name))


def _needed_by(draft: Draft, name: str) -> Iterator[str]:
    """Yield why an expert has to stay, in clauses."""
    if draft.get(("default",)) == name:
        yield "it is the `default`"
    for other, keys in _section(draft, "experts").items():
        if isinstance(keys, dict) and keys.get("base") == name:
            yield f"it is the base of `{other}`"
        if _stands_on(keys) == name:
            yield f"`{other}` stands on it"
    for path in _rankings(draft):
        ranked = _listed(draft.get(path))
        if ranked and set(ranked) == {name}:
            where = "where no category is sure" if path[-1] == "none" else f"of `{_category(path)}`"
            yield f"it is the only expert {where}"
    for router, keys in _section(draft, "routers").items():
        asked = [key for key in RouterKeys.ASKS if isinstance(keys, dict) and keys.get(key) == name]
        if asked:
            yield f"the router `{router}` asks it"


def _stands_on(keys: Any) -> str | None:
    """Return the expert that a prompt program of the file stands on."""
    if not isinstance(keys, dict):
        return None
    program = keys.get("recipe") or keys.get("cached")
    over = program.get("over") if isinstance(program, dict) else program
    return over if isinstance(over, str) else None


def _rankings(draft: Draft) -> Iterator[KeyPath]:
    """Yield where experts are ranked."""
    for category in _section(draft, "categories"):
        path: KeyPath = ("categories", category, "experts")
        if draft.get(path) is not None:
            yield path
    for category, route in _section(draft, "routing.routes").items():
        at: KeyPath = ("routing", "routes", category)
        yield (*at, "experts") if isinstance(route, dict) else at
    if draft.get(("routing", "none")) is not None:
        yield ("routing", "none")


def _ranking(draft: Draft, category: str) -> KeyPath:
    """Return where a category's experts are ranked, or would be."""
    route = draft.get(("routing", "routes", category))
    if route is None:
        return ("categories", category, "experts")
    at: KeyPath = ("routing", "routes", category)
    return (*at, "experts") if isinstance(route, dict) else at


def _category(path: KeyPath) -> str:
    return str(path[1] if path[0] == "categories" else path[2])


def _known_expert(draft: Draft, name: str) -> None:
    experts = _section(draft, "experts")
    if name not in experts:
        hint = suggestion(name, experts, what="experts")
        raise UnknownModel(f"no expert `{name}` ({hint})", param="name")


def _section(draft: Draft, dotted: str) -> dict[str, Any]:
    found = draft.get(tuple(dotted.split(".")))
    return found if isinstance(found, dict) else {}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _given(keys: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in keys.items() if value is not None}


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock: the file itself is replaced, so that its own would be lost."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise _failed(folder, "cannot be read", error) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _read(path: Path) -> str:
    try:
        return decode(path.read_bytes(), str(path))
    except OSError as error:
        raise _failed(path, "cannot be read", error) from error


def _replace(path: Path, text: str) -> None:
    """Replace a file's text in one step: whoever reads it sees the old one or the new one."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(name, mode)  # noqa: PTH101 - a name, not a path
            os.replace(name, path)  # noqa: PTH105
        except BaseException:
            os.unlink(name)  # noqa: PTH108
            raise
    except OSError as error:
        raise _failed(path, "cannot be written", error) from error


def _failed(path: Path, what: str, error: OSError) -> CompositionError:
    message = f"{what}: {error.strerror or error}"
    return CompositionError((Problem(file=str(path), line=0, column=0, path="", message=message),))
