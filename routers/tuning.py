"""Tune the sentence encoder on labelled texts, in torch; what is served stays an int8 ONNX file.

    tuned = tune(rows, Path("router-encoder"), minutes=10)

Every text of a batch is drawn to the centre of its own category and pushed from those of all the
others at once,

    loss = -log softmax(v . c / temperature)[its category],

where v is the text's unit vector and the c are the categories' unit centres, which start as the
means of their vectors and are learnt too. The word table stays as it is, so that words that no row
has keep their meaning. Few rows are learnt several times over, each time from the start and in
another order, and the mean of the weights is what serves: it is right more often than any of them,
and loses less in int8. Whoever judges or calibrates by rows that the encoder was tuned on finds
them easier than others of their kind: leave some out of it (see `split`).

Reference: Wang et al. 2017, NormFace, arXiv 1704.06369, equation 6: softmax over cosines with
learnt centres. It stands in the place of the pairs of SetFit (Tunstall et al. 2022, arXiv
2209.11055): every step contrasts all categories, where a batch of pairs contrasts a few. Wortsman
et al. 2022, Model soups, arXiv 2203.05482, section 2: the mean of what was tuned from one start.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from coe.errors import ArtefactError, ConfigError
from routers.encoders import export
from routers.encoders.onnx import CARD, CHARS_PER_TOKEN, OnnxEncoder
from routers.encoders.texts import clean, clip
from routers.training import Progress, Row, words

if TYPE_CHECKING:
    from routers.encoders.graph import Weights
    from routers.encoders.network import Student

VERSION = 1
ABOUT = "tuning"  # key of the card of an encoder that was tuned
CENTRES = "centres.npz"  # in its folder: the categories' centres, in the order of the card
INSTALL = "pip install 'coe-gateway[tune]'"
# What an interruption may cost; writing takes a tenth of a second.
SAVE_EVERY_S = 30.0
WARM_UP = 0.1
# Fields of the recipe that matter only for how many steps there are.
PLANS = ("courses", "epochs", "most_steps")
JUDGED_OF = 5  # one row of so many
TEXTS_PER_ENCODE = 256

Vectors = NDArray[np.float32]
Columns = NDArray[np.intp]
Clock = Callable[[], float]

# What the file of an interrupted tuning holds beside the student: counts, and arrays by name.
COUNTS = {"course": int, "step": int, "earlier": int, "seconds": float, "since": float}
MEAN = "mean:"


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningRecipe:
    """How to tune.

    Attributes:
        courses: times that the encoder is tuned from the start; their mean is what serves.
        epochs: of a course: times that every row is seen, if there is time for it.
        most_steps: of all courses together; fewer courses, and then fewer epochs, where these are
            reached first.
        batch: rows of a step.
        rate: of the encoder's weights, at full speed.
        centre_rate: of the centres.
        decay: see `network.Pace`.
        temperature: that the cosines are divided by.
        dropout: share of the activations that is left out.
        most_tokens: of a text; what follows is cut off while tuning.
    """

    courses: int = 4
    epochs: int = 8
    most_steps: int = 2000
    batch: int = 64
    rate: float = 1e-4
    centre_rate: float = 1e-2
    decay: float = 0.01
    temperature: float = 0.07
    dropout: float = 0.1
    most_tokens: int = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """An encoder that was tuned.

    Attributes:
        folder: of type `onnx`; see `encoders.onnx`.
        centres: of each category, over the temperature: its product with a text's vector is the
            logit by which the encoder learnt.
        steps: that were taken, of `planned`: fewer where the time was up.
        seconds: spent, those before an interruption too.
    """

    folder: Path
    centres: Mapping[str, Vectors] = field(compare=False)  # arrays are not equal, but alike
    steps: int
    planned: int
    seconds: float


def tune(  # noqa: PLR0913 - what is learnt, where it goes, and how it is done
    rows: Sequence[Row],
    folder: Path,
    *,
    minutes: float = 15.0,
    seed: int = 0,
    progress: Progress = lambda *_: None,
    recipe: TuningRecipe | None = None,
    base: export.Checkpoint | None = None,
    clock: Clock = time.monotonic,
) -> Tuned:
    """Tune an encoder on the rows and write it; the same rows and seed give the same encoder.

    An encoder that the same call wrote is not made again, and one that it had begun is finished: as
    it learns, it is kept in a file beside the folder, whose name ends in `.partial`.

    Args:
        rows: (text, category); a row that stands twice counts once. The categories' names are
            learnt from, too.
        folder: is made, or replaced.
        minutes: most that are spent on learning. The pace slows down towards the end, whether
            that is the last step or the last minute.
        seed: of the order of the rows and of what is left out.
        progress: see `training.Progress`.
        recipe: None for the defaults.
        base: what is tuned; None for all-MiniLM-L6-v2.
        clock: seconds.

    Raises:
        ConfigError: torch is not installed, or there are fewer than two categories.
        ArtefactError: the weights are not there, or the folder cannot be written.
    """
    network = _network()
    recipe = recipe or TuningRecipe()
    base = base or export.published(export.source_folder())
    lesson = _lesson(rows, base, recipe)
    plan = _plan(lesson, recipe, minutes)
    key = _key(lesson, base, recipe, plan, seed=seed)
    if (found := _finished(folder, key)) is not None:
        return found
    centres = lesson.centres(_encoded(base, lesson, progress))
    pace = network.Pace(rate=recipe.rate, centre_rate=recipe.centre_rate, decay=recipe.decay)

    def fresh() -> Student:
        student: Student = network.Student(base.weights, centres, shape=base.shape, pace=pace)
        return student

    partial = _Partial(folder.with_name(f"{folder.name}.partial"), key)
    student = fresh()
    so_far = partial.restore(student)
    begun = saved = clock()
    before = so_far.seconds
    while True:
        part = plan.part(so_far)
        if part >= 1:
            so_far = so_far.after_course(student.learnt())
            if so_far.course == plan.courses:
                break
            student = fresh()
            continue
        progress("tune the encoder", *_shown(so_far, plan))
        # Every course has an order and gaps of its own.
        of_course = seed + (so_far.course << 32)
        chosen = lesson.batch(so_far.step, of_course)
        student.learn(
            [lesson.tokens[row] for row in chosen],
            lesson.labels[chosen],
            temperature=recipe.temperature,
            dropout=recipe.dropout,
            speed=_speed(part),
            seed=so_far.step + (of_course << 16),
        )
        now = clock()
        so_far = replace(so_far, step=so_far.step + 1, seconds=before + now - begun)
        if now - saved >= SAVE_EVERY_S:
            partial.keep(student, so_far)
            saved = now
    progress("tune the encoder", plan.planned, plan.planned)
    tuned = Tuned(
        folder=folder,
        centres=lesson.directions(so_far.mean[network.CENTRES], recipe.temperature),
        steps=so_far.earlier,
        planned=plan.planned,
        seconds=round(so_far.seconds, 1),
    )
    _write(base, {**base.weights, **so_far.mean}, tuned, key)
    partial.forget()
    return tuned


def split(rows: Sequence[Row], *, seed: int) -> tuple[list[Row], list[Row]]:
    """Return rows to tune on, and about a fifth of each category to judge by.

    Args:
        rows: each once.
        seed: of the choice.
    """
    generator = np.random.default_rng(seed)
    places: dict[str, list[int]] = {}
    for place, (_, name) in enumerate(rows):
        places.setdefault(name, []).append(place)
    left: set[int] = set()
    for several in places.values():
        # Of seven rows one or two, so that it is a fifth on average; of one row none.
        count = max(1, int(len(several) / JUDGED_OF + generator.random()))
        count = min(count, len(several) - 1)
        left.update(generator.permutation(several)[:count].tolist())
    seen = [row for place, row in enumerate(rows) if place not in left]
    return seen, [row for place, row in enumerate(rows) if place in left]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lesson:
    """Texts as ids and their categories; the last rows are the categories' names."""

    names: tuple[str, ...]
    texts: tuple[str, ...]
    tokens: tuple[tuple[int, ...], ...]
    labels: Columns
    batch_size: int

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.texts) // self.batch_size)

    def batch(self, step: int, seed: int) -> Columns:
        """Return the rows of a step: every epoch shows each row once, in another order."""
        epoch, place = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng([seed, epoch]).permutation(len(self.texts))
        return order[place * self.batch_size : (place + 1) * self.batch_size]

    def centres(self, vectors: Vectors) -> Vectors:
        """Return the unit mean of each category's vectors, shape (n_categories, dim)."""
        sums = np.zeros((int(self.labels.max()) + 1, vectors.shape[1]), dtype=np.float32)
        np.add.at(sums, self.labels, vectors)
        return _unit(sums)

    def directions(self, centres: Vectors, temperature: float) -> dict[str, Vectors]:
        """Return unit centres over the temperature, by category."""
        scaled: Vectors = _unit(centres) / np.float32(temperature)
        return dict(zip(self.names, scaled, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class _SoFar:
    """How far the tuning is.

    Attributes:
        course: the one that is under way, from 0.
        step: of this course.
        earlier: steps of the courses before.
        seconds: spent in all.
        since: what they were when the course began.
        mean: of the weights that the courses before ended with.
    """

    course: int = 0
    step: int = 0
    earlier: int = 0
    seconds: float = 0.0
    since: float = 0.0
    mean: Mapping[str, Vectors] = field(default_factory=dict)

    def after_course(self, learnt: Mapping[str, Vectors]) -> _SoFar:
        """Return how far it is when the course has ended with these weights."""
        # The first course is counted from itself, so that a single one keeps every bit.
        start = self.mean or learnt
        share = np.float32(1 / (self.course + 1))
        return replace(
            self,
            course=self.course + 1,
            step=0,
            earlier=self.earlier + self.step,
            since=self.seconds,
            mean={name: start[name] + share * (learnt[name] - start[name]) for name in learnt},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What is to be done: so many courses of so many steps, in so many minutes at most."""

    courses: int
    steps: int
    minutes: float

    @property
    def planned(self) -> int:
        return self.courses * self.steps

    def part(self, so_far: _SoFar) -> float:
        """Return the share of the course that is done; each has as much time as the others."""
        time_up = 60 * self.minutes / self.courses
        return max(so_far.step / self.steps, (so_far.seconds - so_far.since) / time_up)


def _plan(lesson: _Lesson, recipe: TuningRecipe, minutes: float) -> _Plan:
    steps = min(recipe.epochs * lesson.steps_per_epoch, recipe.most_steps)
    courses = min(recipe.courses, recipe.most_steps // steps)
    return _Plan(courses=courses, steps=steps, minutes=minutes)


def _lesson(rows: Sequence[Row], base: export.Checkpoint, recipe: TuningRecipe) -> _Lesson:
    names = tuple(dict.fromkeys(name for _, name in rows))
    if len(names) < 2:  # noqa: PLR2004 - one category leaves nothing to tell apart
        raise ConfigError(
            f"tuning an encoder needs rows of two categories at least, found {len(names)}; add some"
        )
    pairs = [*dict.fromkeys(rows), *((words(name), name) for name in names)]
    texts = tuple(text for text, _ in pairs)
    columns = {name: column for column, name in enumerate(names)}
    return _Lesson(
        names=names,
        texts=texts,
        tokens=_tokens(texts, base.tokenizer, recipe.most_tokens),
        labels=np.array([columns[name] for _, name in pairs], dtype=np.intp),
        batch_size=recipe.batch,
    )


def _tokens(texts: Sequence[str], path: Path, most: int) -> tuple[tuple[int, ...], ...]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.enable_truncation(most)
    clipped = [clean(clip(text, most * CHARS_PER_TOKEN)) for text in texts]
    return tuple(tuple(found.ids) for found in tokenizer.encode_batch(clipped))


def _encoded(base: export.Checkpoint, lesson: _Lesson, progress: Progress) -> Vectors:
    network, count = _network(), len(lesson.tokens)
    blocks = []
    for start in range(0, count, TEXTS_PER_ENCODE):
        progress("encode rows", start, count)
        part = lesson.tokens[start : start + TEXTS_PER_ENCODE]
        blocks.append(network.encode(base.weights, part, shape=base.shape))
    progress("encode rows", count, count)
    return np.concatenate(blocks)


def _unit(rows: Vectors) -> Vectors:
    unit: Vectors = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return unit


def _speed(part: float) -> float:
    """Return the share of the full pace when that part of the way is done: up, then down to 0."""
    return part / WARM_UP if part < WARM_UP else (1 - part) / (1 - WARM_UP)


def _shown(so_far: _SoFar, plan: _Plan) -> tuple[int, int]:
    """Return steps done and steps in all, as far as there will be time for them."""
    done, planned = so_far.earlier + so_far.step, plan.planned
    expected = int(60 * plan.minutes * done / so_far.seconds) if so_far.seconds else planned
    return done, max(done, min(planned, expected))


def _key(
    lesson: _Lesson, base: export.Checkpoint, recipe: TuningRecipe, plan: _Plan, *, seed: int
) -> str:
    """Return a digest of all that the encoder comes from."""
    how = {name: value for name, value in asdict(recipe).items() if name not in PLANS}
    steps = (plan.steps,) * plan.courses
    digest = hashlib.sha256(repr((VERSION, how, steps, plan.minutes, seed)).encode())
    digest.update(repr((base.shape, base.max_length, lesson.texts)).encode("utf-8", "replace"))
    digest.update(lesson.labels.tobytes())
    digest.update(base.tokenizer.read_bytes())
    for name in sorted(base.weights):
        digest.update(name.encode() + base.weights[name].tobytes())
    return digest.hexdigest()[:32]


def _finished(folder: Path, key: str) -> Tuned | None:
    """Return what the folder holds, if the same call wrote it."""
    try:
        found = json.loads((folder / CARD).read_text("utf-8"))[ABOUT]
        if found["key"] != key:
            return None
        OnnxEncoder(name=folder.name, folder=folder)  # a damaged one is made again
        with np.load(folder / CENTRES, allow_pickle=False) as file:
            centres = dict(zip(found["categories"], file["centres"], strict=True))
        return Tuned(
            folder=folder,
            centres=centres,
            steps=found["steps"],
            planned=found["planned"],
            seconds=found["seconds"],
        )
    except (OSError, ValueError, KeyError, TypeError, BadZipFile, ArtefactError):
        return None


def _write(base: export.Checkpoint, weights: Weights, tuned: Tuned, key: str) -> None:
    about = {
        "key": key,
        "steps": tuned.steps,
        "planned": tuned.planned,
        "seconds": tuned.seconds,
        "categories": list(tuned.centres),
    }
    checkpoint = replace(
        base,
        weights=weights,
        about={**base.about, "model": f"{base.about['model']}, tuned", ABOUT: about},
    )
    try:
        export.write(checkpoint, tuned.folder)
        np.savez(tuned.folder / CENTRES, centres=np.stack(list(tuned.centres.values())))
    except OSError as error:
        raise ArtefactError(f"{tuned.folder}: cannot be written: {error.strerror}") from error


class _Partial:
    """The file that outlives an interruption. A file of another tuning is begun anew."""

    def __init__(self, path: Path, key: str) -> None:
        self._path = path
        self._key = key

    def keep(self, student: Student, so_far: _SoFar) -> None:
        """Write the student as it is; the file is whole or as it was before."""
        from safetensors.numpy import save_file

        about = {name: repr(getattr(so_far, name)) for name in COUNTS} | {"key": self._key}
        arrays = student.state() | {f"{MEAN}{name}": mean for name, mean in so_far.mean.items()}
        fresh = self._path.with_name(f"{self._path.name}.new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            save_file(arrays, fresh, metadata=about)
            fresh.replace(self._path)
        except OSError as error:
            raise ArtefactError(f"{self._path}: cannot be written: {error.strerror}") from error

    def restore(self, student: Student) -> _SoFar:
        """Give the student what the file holds; return how far it was."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self._path, framework="numpy") as file:
                about: dict[str, Any] = file.metadata() or {}
                if about.get("key") != self._key:
                    return _SoFar()
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            counts = {name: kind(about[name]) for name, kind in COUNTS.items()}
            student.restore(arrays, steps=counts["step"])
        except (OSError, SafetensorError, KeyError, ValueError):
            return _SoFar()
        means = {name: array for name, array in arrays.items() if name.startswith(MEAN)}
        return _SoFar(
            **counts, mean={name.removeprefix(MEAN): array for name, array in means.items()}
        )

    def forget(self) -> None:
        """Delete the file: everything is done."""
        self._path.unlink(missing_ok=True)


def _network() -> Any:
    """Return the module that imports torch. Raises ConfigError."""
    try:
        from routers.encoders import network
    except ImportError as error:
        raise ConfigError(
            f"tuning an encoder needs torch, which is not installed; run: {INSTALL}"
        ) from error
    return network
