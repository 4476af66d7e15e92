"""Outcomes as files: JSON lines, and matrices as Parquet; both can be read back.

A line is `{"prompt": ..., "expert": ..., "score": ...}` and what else is known of the outcome. A
matrix has a row for each prompt, with the columns `prompt`, `category`, `probability:CATEGORY`,
`score:EXPERT`, `cost:EXPERT` and `latency:EXPERT`; only `prompt` and a score must be there.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import orjson

from coe.composition import Composition
from coe.composition.revisions import revision
from coe.errors import ConfigError
from coe.mapping.outcomes import Outcome, Source
from coe.scoring.keys import Keys, WrongKey, is_number, listed, placed, refuse, shown

SOURCES: tuple[Source, ...] = get_args(Source)

_SUM = 1.0 + 1e-6


def source_of(name: str) -> Source | None:
    """Return the source of that name; None where there is none."""
    return next((source for source in SOURCES if source == name), None)


def write(path: Path, outcomes: Iterable[Outcome]) -> int:
    """Write outcomes, by the file's ending: `.parquet`, or lines. Return how many there are.

    Raises:
        ConfigError: the file cannot be written, or pyarrow is not installed.
    """
    rows = list(outcomes)
    content = _parquet(rows) if path.suffix == ".parquet" else b"".join(map(_line, rows))
    try:
        path.write_bytes(content)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None
    return len(rows)


def read(path: Path, composition: Composition, source: Source) -> list[Outcome]:
    """Return the outcomes of a file, by its ending: `.parquet`, or lines.

    An outcome that names no revision is taken for one of the expert as it is now.

    Args:
        path: the file.
        composition: whose experts and categories may be named.
        source: of outcomes that name none.

    Raises:
        ConfigError: the file cannot be read, or rows are wrong: each with its place and key.
    """
    reader = _Reader(composition, source)
    places = _cells(path, composition) if path.suffix == ".parquet" else _lines(path)
    found: list[Outcome] = []
    problems: list[str] = []
    for place, raw in places:
        try:
            found.append(reader.outcome(raw() if callable(raw) else raw))
        except WrongKey as error:
            problems.append(placed(place, error))
    refuse(problems)
    if not found:
        raise ConfigError(f"{path}: holds no outcomes")
    return found


class _Reader:
    def __init__(self, composition: Composition, source: Source) -> None:
        self._composition = composition
        self._source = source
        self._revisions: dict[str, str] = {}

    def outcome(self, raw: Any) -> Outcome:
        keys = Keys(raw)
        expert = self._known(keys, "expert", self._composition.experts)
        score = keys.any("score", "a number from 0 to 1")
        if not is_number(score) or not 0 <= score <= 1:
            raise keys.wrong("score", f"expected a number from 0 to 1, not {shown(score)}")
        said = keys.text_or_none("source", f"one of {listed(SOURCES)}") or self._source
        source = source_of(said)
        if source is None:
            raise keys.wrong("source", f"expected one of {listed(SOURCES)}, not {shown(said)}")
        outcome = Outcome(
            prompt=keys.text("prompt", "a prompt's digest or id"),
            expert=expert,
            score=float(score),
            probabilities=self._probabilities(keys),
            category=self._category(keys),
            cost=_amount(keys, "cost"),
            latency_s=_amount(keys, "latency_s"),
            source=source,
            revision=keys.text_or_none("revision") or self._revision(expert),
            at=_amount(keys, "at") or 0.0,
        )
        keys.done()
        return outcome

    def _category(self, keys: Keys) -> str | None:
        if keys.raw("category") is None:
            return None
        return self._known(keys, "category", self._composition.categories)

    def _known(self, keys: Keys, key: str, known: Iterable[str]) -> str:
        name, names = keys.text(key, f"the name of {_a(key)}"), list(known)
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"there are: {listed(names)}"
            raise keys.wrong(key, f"no {key} `{name}` in the composition ({hint})")
        return name

    def _probabilities(self, keys: Keys) -> Mapping[str, float]:
        raw = keys.raw("probabilities")
        if raw is None:
            return {}
        if not isinstance(raw, dict):
            raise keys.wrong("probabilities", f"expected an object, not {shown(raw)}")
        for name, share in raw.items():
            if name not in self._composition.categories:
                raise keys.wrong(f"probabilities.{name}", "no such category in the composition")
            if not is_number(share) or not 0 <= share <= 1:
                expected = f"expected a number from 0 to 1, not {shown(share)}"
                raise keys.wrong(f"probabilities.{name}", expected)
        if math.fsum(raw.values()) > _SUM:
            raise keys.wrong("probabilities", "their sum is more than 1")
        return raw

    def _revision(self, expert: str) -> str:
        if expert not in self._revisions:
            self._revisions[expert] = revision(self._composition, expert)
        return self._revisions[expert]


def _a(key: str) -> str:
    return f"an {key}" if key[0] in "aeiou" else f"a {key}"


def _amount(keys: Keys, key: str) -> float | None:
    if keys.raw(key) is None:
        return None
    value = keys.number(key, "a number that is at least 0")
    if value < 0:
        raise keys.wrong(key, f"expected a number that is at least 0, not {value:g}")
    return value


def _line(row: Outcome) -> bytes:
    known: dict[str, Any] = {"prompt": row.prompt, "expert": row.expert, "score": row.score}
    for name in ("probabilities", "category", "cost", "latency_s", "source", "revision", "at"):
        if (value := getattr(row, name)) not in (None, {}, ""):
            known[name] = value
    return orjson.dumps(known, option=orjson.OPT_APPEND_NEWLINE)


def _lines(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield f"{path}:{number}", _parsed(line)


def _parsed(line: bytes) -> Any:
    def parse() -> Any:
        try:
            return orjson.loads(line)
        except orjson.JSONDecodeError as error:
            # A score of NaN ends here.
            is_odd = b"NaN" in line or b"Infinity" in line
            hint = "; NaN and Infinity are no numbers there" if is_odd else ""
            raise WrongKey("", f"not JSON: {error}{hint}") from None

    return parse


def _parquet(rows: Sequence[Outcome]) -> bytes:
    """Return the matrix of outcomes; of several of one prompt and expert the last."""
    pa, parquet = _arrow()
    experts = list(dict.fromkeys(row.expert for row in rows))
    categories = list(dict.fromkeys(name for row in rows for name in row.probabilities))
    prompts: dict[str, dict[str, Any]] = {}
    for row in rows:
        line = prompts.setdefault(row.prompt, {"prompt": row.prompt, "category": row.category})
        for name, share in row.probabilities.items():
            line[f"probability:{name}"] = share
        line[f"score:{row.expert}"] = row.score
        line[f"cost:{row.expert}"] = row.cost
        line[f"latency:{row.expert}"] = row.latency_s
    columns = [(f"probability:{name}", pa.float64()) for name in categories]
    for kind in ("score", "cost", "latency"):
        columns += [(f"{kind}:{name}", pa.float64()) for name in experts]
    schema = pa.schema([("prompt", pa.string()), ("category", pa.string()), *columns])
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.Table.from_pylist(list(prompts.values()), schema=schema), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _cells(path: Path, composition: Composition) -> Iterator[tuple[str, Any]]:
    """Yield the cells of a matrix that hold a score, as lines would have them."""
    pa, parquet = _arrow()
    try:
        table = parquet.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    names = table.column_names
    experts = [name.removeprefix("score:") for name in names if name.startswith("score:")]
    if "prompt" not in names or not experts:
        raise ConfigError(f"{path}: a matrix has a column `prompt` and one `score:EXPERT` at least")
    for expert in experts:
        if expert not in composition.experts:
            known = listed(composition.experts)
            raise ConfigError(
                f"{path}: column `score:{expert}`: no expert `{expert}` in the composition "
                f"(there are: {known})"
            )
    shares = [name for name in names if name.startswith("probability:")]
    for number, row in enumerate(table.to_pylist(), start=1):
        own = {
            "prompt": row["prompt"],
            "category": row.get("category"),
            "probabilities": {
                name.removeprefix("probability:"): row[name]
                for name in shares
                if row[name] is not None
            },
        }
        for expert in experts:
            if row[f"score:{expert}"] is not None:
                cell = {
                    **own,
                    "expert": expert,
                    "score": row[f"score:{expert}"],
                    "cost": row.get(f"cost:{expert}"),
                    "latency_s": row.get(f"latency:{expert}"),
                }
                yield f"{path}: row {number}, column score:{expert}", cell


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise ConfigError(
            "Parquet needs pyarrow: install the extra with `pip install 'coe-gateway[score]'`, "
            "or use a file that ends in .jsonl"
        ) from None
    return pa, parquet
