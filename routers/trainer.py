"""`coe router train`: which router, from which texts, into which file, and how good it became."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from coe.errors import ConfigError
from coe.options import Options, nearest
from coe.protocols import EncoderSpec, RouterSpec
from coe.tools import Progress, TrainedRouter, TrainingOrder
from coe.types import Category
from routers import artefact, distillation, lexical, linear, own_encoder, training
from routers.report.words import columns, number
from routers.rows import read_rows
from routers.store import stored

MODEL = "model"
TYPES = (linear.KIND, lexical.KIND)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lessons:
    """What is learnt from.

    Attributes:
        rows: without repetition, the utterances first.
        utterances: those of the rows that are the composition's: the router is bound to them.
        outside: texts that belong to no category.
    """

    rows: tuple[training.Row, ...]
    utterances: tuple[training.Row, ...]
    outside: tuple[str, ...]

    def described(self, file: Path | None) -> str:
        """Return how many there are, and where they come from."""
        categories = len({name for _, name in self.rows})
        sources = [f"{len(self.utterances)} utterances"] if self.utterances else []
        if file is not None:
            sources.append(f"{len(self.rows) - len(self.utterances)} of {file.name}")
        told = f"{len(self.rows)} rows of {categories} categories ({', '.join(sources)})"
        return f"{told}, {len(self.outside)} outside"


def train(order: TrainingOrder, progress: Progress) -> TrainedRouter:
    """Train a router; see `coe.tools.Trainer`."""
    spec = chosen(order.routers, order.router)
    place = f"routers.{spec.name}"
    keys = linear.KEYS if spec.type == linear.KIND else lexical.KEYS
    options = Options(place, spec.options).allow(*keys)
    path = target(spec, options, order.to)
    artefact.expect_writable(path)
    lessons = gather(spec, order)
    if spec.type == lexical.KIND:
        return _taught(spec, options, path, lessons, order, progress)
    with _placed(place):
        own = _own_encoder(spec, options, path, lessons, order, progress) if order.minutes else None
        encoder = own.encoder if own else order.parts.encoder(options.text("encoder"))
        trained = training.train(
            lessons.rows,
            stored(encoder, spec.cache_folder),
            outside=lessons.outside,
            progress=progress,
            judge=own.judge if own else None,
        )
    if own:
        own.settle()
    training.save(path, trained, utterances=lessons.utterances)
    about = f"router `{spec.name}`: {lessons.described(order.rows)}"
    return TrainedRouter(
        text="\n\n".join([about, *_tuning(own), *_quality(trained.report, own)]),
        files=(path, own.folder) if own else (path,),
        wanted=wanted(spec, options, path, own.spec if own else None),
    )


def chosen(routers: Mapping[str, RouterSpec], name: str | None) -> RouterSpec:
    """Return the router that is to be trained.

    Raises:
        ConfigError: there is none of that name, it is of a type that is not trained, or, without a
            name, there is none or more than one that could be meant.
    """
    able = [key for key, spec in routers.items() if spec.type in TYPES]
    if name is None:
        # A lexical router is a first stage; what it precedes is meant.
        meant = [key for key in able if routers[key].type == linear.KIND] or able
        if len(meant) == 1:
            return routers[meant[0]]
        if able:
            raise ConfigError(
                f"routers: {', '.join(able)} can be trained; add `--router {able[0]}`"
            )
        raise ConfigError(
            f"routers: none is of type {linear.KIND}; add one: "
            f"`routers: {{default: {{type: {linear.KIND}, encoder: minilm, model: router.npz}}}}`"
        )
    if name not in routers:
        raise ConfigError(
            f"--router: no router {name!r} in the composition ({nearest(name, routers)}"
            f"there are: {', '.join(routers)})"
        )
    if name not in able:
        raise ConfigError(
            f"routers.{name}: is of type {routers[name].type}, which is not trained; name one of "
            f"type {' or '.join(TYPES)} (there are: {', '.join(able) or 'none'})"
        )
    return routers[name]


def target(spec: RouterSpec, options: Options, to: Path | None) -> Path:
    """Return where the artefact goes: where it is asked for, the router's `model`, or beside it."""
    if to is not None:
        return to
    return Path(spec.folder, options.text(MODEL, f"{spec.name}.npz"))


def wanted(
    spec: RouterSpec, options: Options, path: Path, encoder: EncoderSpec | None = None
) -> str:
    """Return what the composition must say to use the files; empty where it says it already."""
    lines = []
    if encoder is not None and encoder.name != options.text("encoder"):
        keys = ", ".join(f"{key}: {value}" for key, value in encoder.options.items())
        lines += ["encoders:", f"  {encoder.name}: {{type: {encoder.type}, {keys}}}"]
        lines += ["routers:", f"  {spec.name}:", f"    encoder: {encoder.name}"]
    is_named = MODEL in options.values and _is_same(Path(spec.folder, options.text(MODEL)), path)
    if not is_named:
        if not lines:
            lines += ["routers:", f"  {spec.name}:"]
        lines.append(f"    {MODEL}: {own_encoder.within(spec.folder, path)}")
    return "\n".join(lines)


def gather(spec: RouterSpec, order: TrainingOrder) -> Lessons:
    """Return the utterances and the rows of the file that are to be learnt from.

    Raises:
        ConfigError: the file is broken, or a category that has utterances would be left without a
            row: a gateway with such a router would not start.
    """
    utterances = training.rows_of(spec.categories) if order.utterances else []
    rows, outside = list(utterances), []
    if order.rows is not None:
        for row in read_rows(order.rows, [category.name for category in spec.categories]).rows:
            if row.category is None:
                outside.append(row.text)
            else:
                rows.append((row.text, row.category))
    if not rows:
        raise ConfigError(_nothing(order))
    if strangers := list(_without(rows, spec.categories)):
        raise ConfigError(
            f"{order.rows}: no row is of {', '.join(strangers)}, which have utterances; add rows, "
            "or leave out --no-utterances"
        )
    return Lessons(
        rows=tuple(dict.fromkeys(rows)),
        utterances=tuple(dict.fromkeys(utterances)),
        outside=tuple(dict.fromkeys(outside)),
    )


def _nothing(order: TrainingOrder) -> str:
    if order.rows is not None:
        return f"{order.rows}: every row is of no category; add rows of the categories"
    if not order.utterances:
        return "--no-utterances leaves nothing to learn from; add `--on SET.jsonl`"
    return (
        "categories: none has utterances; write some, or name a file of labelled texts with "
        "`--on SET.jsonl`"
    )


def _without(rows: Iterable[training.Row], categories: Sequence[Category]) -> Iterator[str]:
    """Yield the categories that have utterances, but no row."""
    there = {name for _, name in rows}
    return (one.name for one in categories if one.utterances and one.name not in there)


def _taught(
    spec: RouterSpec,
    options: Options,
    path: Path,
    lessons: Lessons,
    order: TrainingOrder,
    progress: Progress,
) -> TrainedRouter:
    """Train a lexical router."""
    if order.minutes:
        raise ConfigError(f"{options.place}: has no encoder to tune; leave out --tune-encoder")
    with _placed(options.place):
        teacher = distillation.teacher_of(options, order.parts)
        trained = distillation.train(lessons.rows, teacher, progress=progress)
    distillation.save(path, trained, utterances=lessons.utterances)
    report = trained.report
    by = f"taught by `{teacher.name}`" if teacher else "without a teacher"
    quality = columns(
        [
            ("accuracy", number(report.accuracy), "of the best category"),
            ("ECE", number(report.ece), "after calibration"),
        ],
        right=(1,),
    )
    return TrainedRouter(
        text=f"router `{spec.name}`: {lessons.described(order.rows)}\n\n"
        f"{report.texts} texts with their variations, {by}\n\n"
        + "\n".join(["on rows that were left out:", *quality]),
        files=(path,),
        wanted=wanted(spec, options, path),
    )


@contextmanager
def _placed(place: str) -> Iterator[None]:
    """Say where the router stands, in errors that name no place of the composition themselves."""
    try:
        yield
    except ConfigError as error:
        if error.message.startswith(("routers.", "encoders.")):
            raise
        raise ConfigError(f"{place}: {error.message}") from error


def _own_encoder(
    spec: RouterSpec,
    options: Options,
    path: Path,
    lessons: Lessons,
    order: TrainingOrder,
    progress: Progress,
) -> own_encoder.OwnEncoder:
    return own_encoder.tune_own(
        own_encoder.own_spec(order.encoders[options.text("encoder")], path, spec.folder),
        path,
        lessons.rows,
        minutes=order.minutes,
        cache_folder=spec.cache_folder,
        progress=progress,
    )


def _tuning(own: own_encoder.OwnEncoder | None) -> Iterator[str]:
    """Yield a paragraph on how the encoder was tuned, if it was."""
    if own is None:
        return
    tuned = own.tuned
    cut = "" if tuned.steps == tuned.planned else f" of {tuned.planned}: the time was up"
    yield f"encoder: tuned in {tuned.steps} steps{cut}, {tuned.seconds / 60:.1f} minutes in all"


def _quality(report: training.FitReport, own: own_encoder.OwnEncoder | None) -> Iterator[str]:
    """Yield paragraphs: what training found out on rows that were left out."""
    which = f"{len(own.judge.unseen)}, by an encoder tuned on the others" if own else "in turn"
    rows = [
        ("accuracy", number(report.accuracy), "of the best category"),
        ("ECE", number(report.ece), f"{number(report.ece_raw)} before calibration"),
    ]
    if math.isfinite(report.outside_auroc):
        auroc, threshold = number(report.outside_auroc), number(report.threshold)
        rows += [
            ("out-of-scope AUROC", auroc, "on categories that were left out"),
            ("threshold", threshold, "at which 95 % of the rows are taken to belong to a category"),
        ]
    yield "\n".join([f"on rows that were left out ({which}):", *columns(rows, right=(1,))])


def _is_same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()
