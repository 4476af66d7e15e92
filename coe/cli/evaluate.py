"""`coe evaluate`: prompts whose answers can be checked, sent through the gateway as a client would.

Each answered prompt can be kept as a row of recorded traffic, which `coe replay` reads.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import orjson

from coe import pipeline
from coe.api import explain, wire
from coe.applied import expect_map
from coe.asking import Reply, read_reply
from coe.cli.asked import asked
from coe.cli.printed import columns, gained, print_json
from coe.cli.progress import shown
from coe.cli.serve import read_settings
from coe.composition import Composition, load
from coe.errors import CoEError, ConfigError
from coe.mapping.budget import PER
from coe.planner import AUTO
from coe.scoring.checks import Judge, Tests
from coe.scoring.order import AT_ONCE
from coe.scoring.prices import currency_of, price_of
from coe.scoring.routed import Evaluation, Routed, evaluate
from coe.scoring.rows import Row, few_of_each, read_rows
from coe.scoring.sandbox import run_tests
from coe.scoring.session import opened
from coe.settings import Settings

FAILURES = 5
"""So many in a row, and nobody is asked any more."""

_WAIT_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the command line says; see `coe evaluate --help`."""

    files: tuple[Path, ...]
    config: Path | None = None
    model: str = AUTO
    url: str | None = None
    limit: int | None = None
    concurrency: int | None = None
    max_tokens: int | None = None
    run_code: bool = False
    save: Path | None = None
    against: Path | None = None
    keep_prompts: bool = False
    as_json: bool = False


@dataclass(frozen=True, slots=True)
class Said:
    """An answer of the gateway, and what it says of its decision."""

    reply: Reply
    document: Mapping[str, Any]


Ask = Callable[[dict[str, Any]], Awaitable[Said]]


@dataclass(slots=True, kw_only=True)
class Found:
    """What came of the prompts.

    Attributes:
        failures: why prompts have no answer, with their places.
        streak: how many failed in a row, at the end.
    """

    answered: list[Routed] = field(default_factory=list)
    kept: list[dict[str, Any]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    streak: int = 0


def run(wish: Wish) -> None:
    """Send the prompts, check the answers, print how right they are.

    Raises:
        ConfigError: a file, a row or an option is wrong.
        CoEError: some prompts were not answered.
    """
    settings = read_settings(wish.config, None, None)
    composition = load(settings.config)
    rows = _rows(wish, composition)
    before = None if wish.against is None else _read(wish.against)
    if wish.save is not None and not wish.save.absolute().parent.is_dir():
        raise ConfigError(f"{wish.save}: there is no folder {wish.save.absolute().parent}")
    with shown("nothing is kept") as progress:
        found = asyncio.run(_send(wish, settings, composition, rows, progress))
    if not found.answered:
        raise CoEError(f"no prompt was answered ({found.failures[0]})")
    if wish.save is not None:
        _write(wish.save, found.kept)
    evaluation = evaluate(found.answered, before, categories=tuple(composition.categories))
    if wish.as_json:
        print_json({**asdict(evaluation), "failures": found.failures})
    else:
        print(text(evaluation, currency_of(composition.experts.values())))
    if wish.against is not None and evaluation.compared < len(found.answered):
        print(
            f"note: {len(found.answered) - evaluation.compared} of the prompts are not in "
            f"{wish.against}",
            file=sys.stderr,
        )
    if found.failures:
        missing = len(rows) - len(found.answered)
        raise CoEError(f"{missing} prompts were not answered ({found.failures[0]})")


def _rows(wish: Wish, composition: Composition) -> tuple[Row, ...]:
    experts, categories = tuple(composition.experts), tuple(composition.categories)
    found: dict[str, Row] = {}
    for file in wish.files:
        for row in read_rows(file, categories=categories, experts=experts):
            if isinstance(row.check, Judge):
                raise ConfigError(
                    f"{row.place}: `check`: nobody judges here; `coe score` has answers judged, "
                    "and `coe replay` says what the gateway would do on those scores"
                )
            if isinstance(row.check, Tests) and not wish.run_code:
                raise ConfigError(
                    f"{row.place}: `check`: tests run code that an expert wrote, on this machine; "
                    "allow it with --run-code"
                )
            found.setdefault(row.digest, row)
    rows = tuple(found.values())
    return rows if wish.limit is None else few_of_each(rows, wish.limit)


async def _send(
    wish: Wish,
    settings: Settings,
    composition: Composition,
    rows: Sequence[Row],
    progress: Callable[[str, int, int], None],
) -> Found:
    """Send the rows, a few at a time; give up where one after the other fails."""
    found = Found()
    left = iter(rows)
    gateway = _here(settings, composition) if wish.url is None else _there(wish.url)

    async def worker(ask: Ask) -> None:
        for row in left:
            if found.streak >= FAILURES:
                return
            await _one(wish, composition, row, ask, found)
            progress(f"asking {wish.model}", len(found.answered), len(rows))

    async with gateway as ask, asyncio.TaskGroup() as tasks:
        for _ in range(wish.concurrency or AT_ONCE):
            tasks.create_task(worker(ask))
    return found


async def _one(wish: Wish, composition: Composition, row: Row, ask: Ask, found: Found) -> None:
    limit = {} if wish.max_tokens is None else {"max_tokens": wish.max_tokens}
    started = perf_counter()
    try:
        said = await ask({"model": wish.model, **limit, **row.request})
    except CoEError as error:
        found.failures.append(f"{row.place}: {error.message}")
        found.streak += 1
        return
    found.streak = 0
    expert = str(said.document["expert"])
    answer = said.reply.text or ""
    if isinstance(row.check, Tests):
        score = float((await run_tests(row.check, answer)).passed)
    else:
        score = row.check.grade(answer)  # type: ignore[union-attr]  # no judges, see `_rows`
    known = composition.experts.get(expert)
    routed = Routed(
        digest=row.digest,
        category=row.category,
        expert=expert,
        score=score,
        cost=None if known is None else price_of(known, said.reply),
        latency_s=perf_counter() - started,
    )
    found.answered.append(routed)
    found.kept.append(_kept(routed, row, said.document, keep_prompt=wish.keep_prompts))


def _kept(
    routed: Routed, row: Row, document: Mapping[str, Any], *, keep_prompt: bool
) -> dict[str, Any]:
    """Return a row of recorded traffic: the decision, and what came of it."""
    return {
        **document,
        "digest": routed.digest,
        "label": routed.category,
        "score": routed.score,
        "cost": routed.cost,
        "latency_s": round(routed.latency_s, 4),
        **({"messages": list(row.messages)} if keep_prompt else {}),
    }


@asynccontextmanager
async def _here(settings: Settings, composition: Composition) -> AsyncIterator[Ask]:
    """Answer in this process."""
    async with opened(composition, settings) as gateway:

        async def ask(body: dict[str, Any]) -> Said:
            query = wire.parse_chat(body, wire.new_id(), settings)
            answer = await pipeline.answer(gateway, query)
            async with aclosing(answer.frames):
                reply = read_reply(answer.first, answer.call.expert)
            document = explain.document(gateway, query, answer.decision, answer.plan)
            del document["evidence"]  # texts of the composition, not of the traffic
            return Said(reply, {**document, "expert": answer.call.expert})

        expect_map(composition, gateway.applied)
        for note in gateway.notes:
            print(f"note: {note}", file=sys.stderr)
        for name, load_part in gateway.loads().items():  # the first prompt would wait for it
            if name != "router":
                await load_part()
        if gateway.classifier is not None:
            await gateway.classifier.load(patient=False)
        yield ask


@asynccontextmanager
async def _there(url: str) -> AsyncIterator[Ask]:
    """Have a gateway answer that is running."""

    async def ask(body: dict[str, Any]) -> Said:
        return await asyncio.to_thread(_post, url.rstrip("/"), body)

    yield ask


def _post(url: str, body: Mapping[str, Any]) -> Said:
    """Ask a gateway once.

    Raises:
        CoEError: it did not answer, or said no.
    """
    with asked(url, body, wait_s=_WAIT_S) as response:
        whole, said = response.read(), response.headers
    expert = said.get("x-coe-expert", "")
    if not expert:
        raise CoEError(f"what answers at {url} is no gateway of ours: it names no expert")
    document = {
        "object": "coe.decision",
        "id": said.get("x-coe-decision-id", ""),
        "model": body["model"],
        "category": said.get("x-coe-category"),
        "reason": said.get("x-coe-reason", ""),
        "expert": expert,
    }
    return Said(read_reply(whole, expert), document)


def _write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    try:
        with path.open("wb") as file:
            for row in rows:
                file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None
    print(f"wrote {path}", file=sys.stderr)


def _read(path: Path) -> dict[str, tuple[str, float]]:
    """Return expert and score by digest, of what `--save` wrote."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    found = {}
    for number, line in enumerate(lines, start=1):
        try:
            row = orjson.loads(line)
            found[str(row["digest"])] = (str(row["expert"]), float(row["score"]))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            raise ConfigError(
                f"{path}:{number}: expected a row that `coe evaluate --save` wrote, with `digest`, "
                "`expert` and `score`"
            ) from None
    return found


def text(evaluation: Evaluation, currency: str) -> str:
    """Return an evaluation for a terminal."""
    is_compared = evaluation.parts[-1].gain is not None
    gain = ("gain, points", "moved") if is_compared else ()
    rows = []
    for part in evaluation.parts:
        mean, low, high = part.right
        shown_gain = (gained(part.gain), str(part.moved)) if is_compared else ()
        cells = (str(part.count), f"{mean:.3f}", f"{low:.3f} to {high:.3f}")
        rows.append((part.category, *cells, *shown_gain, _experts(part.experts)))
    table = columns(("category", "prompts", "right", "95 %", *gain, "answered by"), rows)
    if evaluation.cost is not None:
        table.append(f"{PER * evaluation.cost:.4g} {currency} per 1,000 answers")
    table.append(f"{evaluation.latency_s:.2f} s an answer")
    return "\n".join(table)


def _experts(counts: Mapping[str, int], most: int = 3) -> str:
    some = list(counts.items())[:most]
    more = len(counts) - len(some)
    return ", ".join(f"{name} {count}" for name, count in some) + (f" +{more}" if more else "")
