"""A fitted map as a file: `experts.map` beside `experts.yaml`, meant to be committed.

JSON, a line for each row of cells, so that a change can be read. The measured prompts of a residual
are in a file beside it (`experts.map.npz`), whose digest it holds. A map is a measurement: one that
does not match its own digest is refused, whoever changed it.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from coe.errors import ConfigError
from coe.history import Kind
from coe.jsonfile import digest, read_object, replace_file
from coe.mapping.fitted import FittedMap, GuardRow, Residual
from coe.mapping.outcomes import NONE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

VERSION = 1
SUFFIX = ".map"
NOTE = "written by `coe map apply`; commit it, do not edit it"
CELLS = ("quality", "lower", "upper", "counts", "cost", "latency_s")
VERDICTS = frozenset({"better", "cheaper", "not better", "dearer"})
_GAPS = frozenset({"cost", "latency_s"})  # which may be unknown
_SHARES = frozenset({"quality", "lower", "upper"})
_DIGITS = 6  # significant ones, of a cell
_ROUNDING = 1e-6


def map_path(composition: Path) -> Path:
    """Return where the map of a composition file is, whether it is there or not."""
    return composition.with_suffix(SUFFIX)


def residual_path(path: Path) -> Path:
    """Return where the measured prompts of a map's residual are."""
    return path.with_name(f"{path.name}.npz")


def read_map(path: Path) -> FittedMap | None:
    """Return the map of a file; None where there is none.

    Raises:
        ConfigError: the file cannot be read, is damaged or changed, or of another version.
    """

    def build(content: dict[str, Any]) -> FittedMap:
        if content.pop("digest") != digest(content):
            raise ConfigError(_fix(path, "does not match its digest: damaged, or changed by hand"))
        return _map(content, path)

    return read_object(path, "map", VERSION, build, _fix)


def write_map(path: Path, fitted: FittedMap) -> None:
    """Write a map in one step: whoever reads sees the old one or the new one. Makes its folder.

    A residual is a file of its own, which is there first. Who reads between the two, or after an
    end between the two, is told that they do not belong together.

    Raises:
        ConfigError: the file cannot be written; it is as it was.
    """
    packed = None if fitted.residual is None else _packed(fitted.residual)
    content = _content(fitted, packed)
    content["digest"] = digest(content)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if packed is not None:
            replace_file(residual_path(path), packed)
        replace_file(path, f"{_text(content)}\n".encode())
        if packed is None:
            residual_path(path).unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None


def remove_map(path: Path) -> None:
    """Remove a map, if it is there, and its measured prompts."""
    path.unlink(missing_ok=True)
    residual_path(path).unlink(missing_ok=True)


KEPT = Kind(
    suffix=SUFFIX,
    none="no map was replaced here, so there is none to go back to",
    read=read_map,
    write=write_map,
    remove=remove_map,
)
"""How a history keeps maps."""


def _content(fitted: FittedMap, packed: bytes | None) -> dict[str, Any]:
    rows = {
        category: {
            "expert": fitted.assignment[i],
            "traffic": float(fitted.traffic[i]),
            **{name: _row(getattr(fitted, name)[i]) for name in CELLS},
        }
        for i, category in enumerate(fitted.categories)
    }
    residual = fitted.residual
    kept = None
    if residual is not None and packed is not None:
        kept = {
            "k": residual.k,
            "weight": residual.weight,
            "encoder": residual.encoder,
            "temperature": residual.temperature,
            "digest": hashlib.sha256(packed).hexdigest(),
        }
    return {
        "version": VERSION,
        "note": NOTE,
        "about": dict(fitted.about),
        "router": fitted.router,
        "verdict": fitted.verdict,
        "best_single": fitted.best_single,
        "price_weight": fitted.price_weight,
        "latency_weight": fitted.latency_weight,
        "experts": list(fitted.experts),
        "used": list(fitted.used),
        "categories": rows,
        "guard": [asdict(row) for row in fitted.guard],
        "residual": kept,
        "parts": dict(sorted(fitted.parts.items())),
    }


def _row(values: Floats) -> list[float | None]:
    return [float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None for value in values]


def _packed(residual: Residual) -> bytes:
    sink = io.BytesIO()
    np.savez(sink, embeddings=residual.embeddings, scores=residual.scores)
    return sink.getvalue()


def _text(value: Any, indent: str = "") -> str:
    """Write JSON with a line for each entry, and lists of plain values in one line."""
    inner = f"{indent}  "
    if isinstance(value, dict) and value:
        pairs = (f"{inner}{_plain(key)}: {_text(entry, inner)}" for key, entry in value.items())
        return "{\n" + ",\n".join(pairs) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(entry, dict | list) for entry in value):
        rows = (f"{inner}{_plain(entry)}" for entry in value)
        return "[\n" + ",\n".join(rows) + f"\n{indent}]"
    return _plain(value)


def _plain(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _map(content: Mapping[str, Any], path: Path) -> FittedMap:
    categories, experts = tuple(content["categories"]), _names(content, "experts")
    rows = list(content["categories"].values())
    if not categories or categories[-1] != NONE:
        raise ValueError(f"the last of its categories is not `{NONE}`")
    cells = {name: _cells(rows, name, len(experts)) for name in CELLS}
    used = _names(content, "used")
    assignment = tuple(str(row["expert"]) for row in rows)
    for name in (*used, *assignment):
        if name not in experts:
            raise ValueError(f"`{name}` is none of its experts")
    traffic = np.array([float(row["traffic"]) for row in rows])
    if not (np.isfinite(traffic).all() and (traffic >= 0).all() and _is_one(traffic.sum())):
        raise ValueError("the shares of its traffic do not sum to 1")
    if content["verdict"] not in VERDICTS:
        raise ValueError(f"its verdict is {content['verdict']!r}")
    return FittedMap(
        categories=categories,
        experts=experts,
        **cells,
        traffic=traffic,
        used=used,
        assignment=assignment,
        price_weight=_weight(content, "price_weight"),
        latency_weight=_weight(content, "latency_weight"),
        best_single=str(content["best_single"]),
        guard=tuple(GuardRow(**row) for row in content["guard"]),
        verdict=content["verdict"],
        router=str(content["router"]),
        parts={str(name): str(mark) for name, mark in content["parts"].items()},
        about=dict(content["about"]),
        residual=_residual(content["residual"], path, len(experts)),
    )


def _names(content: Mapping[str, Any], key: str) -> tuple[str, ...]:
    names = content[key]
    if not isinstance(names, list) or len(set(map(str, names))) != len(names):
        raise ValueError(f"{key} is not a list of different names")
    return tuple(map(str, names))


def _cells(rows: Sequence[Mapping[str, Any]], name: str, width: int) -> Floats:
    found = np.array([[np.nan if v is None else float(v) for v in row[name]] for row in rows])
    if found.shape != (len(rows), width):
        raise ValueError(f"{name} does not hold {width} values for each category")
    if name not in _GAPS and not np.isfinite(found).all():
        raise ValueError(f"{name} has a value that is no number")
    most = 1.0 if name in _SHARES else np.inf
    if not (np.isnan(found) | ((found >= 0) & (found <= most))).all():
        raise ValueError(f"{name} has a value that is not in 0 to {most:g}")
    return found


def _weight(content: Mapping[str, Any], key: str) -> float:
    value = float(content[key])
    if not (np.isfinite(value) and value >= 0):
        raise ValueError(f"{key} is {value}")
    return value


def _is_one(total: float) -> bool:
    return abs(total - 1.0) <= _ROUNDING


def _residual(kept: Mapping[str, Any] | None, path: Path, width: int) -> Residual | None:
    if kept is None:
        return None
    beside = residual_path(path)
    try:
        packed = beside.read_bytes()
    except FileNotFoundError:
        raise ConfigError(_fix(beside, f"is missing, and {path.name} needs it")) from None
    if hashlib.sha256(packed).hexdigest() != kept["digest"]:
        raise ConfigError(_fix(beside, f"is not the one that {path.name} was written with"))
    with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
        embeddings, scores = arrays["embeddings"], arrays["scores"]
    if embeddings.ndim != 2 or scores.shape != (len(embeddings), width):  # noqa: PLR2004
        raise ValueError(f"the shapes in {beside.name} do not fit")
    return Residual(
        embeddings=embeddings.astype(np.float32),
        scores=scores.astype(np.float32),
        k=int(kept["k"]),
        weight=float(kept["weight"]),
        encoder=str(kept["encoder"]),
        temperature=float(kept["temperature"]),
    )


def _fix(path: Path, why: str) -> str:
    return (
        f"{path}: {why}; run `coe map fit` and `coe map apply` again, or `coe map rollback`, or "
        "delete the file and say `choose: ranked` under `routing`"
    )
