"""Tune the sentence encoder on labelled texts, in torch; what is served stays an int8 ONNX file.

    tuned = tune(rows, Path("router-encoder"), minutes=10)

Every text of a batch is drawn to the centre of its own category and pushed from those of all the
others at once,

    loss = -log softmax(v . c / temperature)[its category],

where v is the text's unit vector and the c are the categories' unit centres, which start as the
means of their vectors and are learnt too. The word table stays as it is, so that words that no row
has keep their meaning. Whoever judges or calibrates by rows that the encoder was tuned on finds
them easier than others of their kind: leave some out of it (see `split`).

Reference: Wang et al. 2017, NormFace, arXiv 1704.06369, equation 6: softmax over cosines with
learnt centres. It stands in the place of the pairs of SetFit (Tunstall et al. 2022, arXiv
2209.11055): every step contrasts all categories, where a batch of pairs contrasts a few.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from coe.errors import ArtefactError, ConfigError
from routers.encoders import export
from routers.encoders.onnx import CARD, CHARS_PER_TOKEN, OnnxEncoder
from routers.encoders.texts import clean, clip
from routers.training import Progress, Row, words

if TYPE_CHECKING:
    from routers.encoders.network import Student

VERSION = 1
ABOUT = "tuning"  # key of the card of an encoder that was tuned
INSTALL = "pip install 'coe-gateway[tune]'"
# What an interruption may cost; writing takes a tenth of a second.
SAVE_EVERY_S = 30.0
WARM_UP = 0.1
JUDGED_OF = 5  # one row of so many
TEXTS_PER_ENCODE = 256

Vectors = NDArray[np.float32]
Columns = NDArray[np.intp]
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningRecipe:
    """How to tune.

    Attributes:
        epochs: times that every row is seen, if there is time for it.
        most_steps: fewer epochs where these are reached first.
        batch: rows of a step.
        rate: of the encoder's weights, at full speed.
        centre_rate: of the centres.
        decay: see `network.Pace`.
        temperature: that the cosines are divided by.
        dropout: share of the activations that is left out.
        most_tokens: of a text; what follows is cut off while tuning.
    """

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
        steps: that were taken, of `planned`: fewer where the time was up.
        seconds: spent, those before an interruption too.
    """

    folder: Path
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
    key = _key(lesson, base, recipe, minutes=minutes, seed=seed)
    if (found := _finished(folder, key)) is not None:
        return found
    planned = min(recipe.epochs * lesson.steps_per_epoch, recipe.most_steps)
    partial = _Partial(folder.with_name(f"{folder.name}.partial"), key)
    student = network.Student(
        base.weights,
        lesson.centres(_encoded(base, lesson, progress)),
        shape=base.shape,
        pace=network.Pace(rate=recipe.rate, centre_rate=recipe.centre_rate, decay=recipe.decay),
    )
    done, spent = partial.restore(student)
    begun = saved = clock()
    before = spent
    while done < planned and spent < 60 * minutes:
        progress("tune the encoder", *_shown(done, planned, spent, minutes))
        part = max(done / planned, spent / (60 * minutes))
        chosen = lesson.batch(done, seed)
        student.learn(
            [lesson.tokens[row] for row in chosen],
            lesson.labels[chosen],
            temperature=recipe.temperature,
            dropout=recipe.dropout,
            speed=_speed(part),
            seed=done + (seed << 32),
        )
        done += 1
        now = clock()
        spent = before + now - begun
        if now - saved >= SAVE_EVERY_S:
            partial.keep(student, done, spent)
            saved = now
    progress("tune the encoder", planned, planned)
    tuned = Tuned(folder=folder, steps=done, planned=planned, seconds=round(spent, 1))
    _write(base, student, tuned, key)
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
        unit: Vectors = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
        return unit


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


def _speed(part: float) -> float:
    """Return the share of the full pace when that part of the way is done: up, then down to 0."""
    return part / WARM_UP if part < WARM_UP else (1 - part) / (1 - WARM_UP)


def _shown(done: int, planned: int, spent: float, minutes: float) -> tuple[int, int]:
    """Return steps done and steps in all, as far as there will be time for them."""
    expected = planned if not spent else int(60 * minutes * done / spent)
    return done, max(done, min(planned, expected))


def _key(
    lesson: _Lesson, base: export.Checkpoint, recipe: TuningRecipe, *, minutes: float, seed: int
) -> str:
    """Return a digest of all that the encoder comes from."""
    digest = hashlib.sha256(repr((VERSION, asdict(recipe), minutes, seed)).encode())
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
        return Tuned(
            folder=folder,
            steps=found["steps"],
            planned=found["planned"],
            seconds=found["seconds"],
        )
    except (OSError, ValueError, KeyError, TypeError, ArtefactError):
        return None


def _write(base: export.Checkpoint, student: Student, tuned: Tuned, key: str) -> None:
    about = {
        "key": key,
        "steps": tuned.steps,
        "planned": tuned.planned,
        "seconds": tuned.seconds,
    }
    checkpoint = replace(
        base,
        weights=student.weights(),
        about={**base.about, "model": f"{base.about['model']}, tuned", ABOUT: about},
    )
    try:
        export.write(checkpoint, tuned.folder)
    except OSError as error:
        raise ArtefactError(f"{tuned.folder}: cannot be written: {error.strerror}") from error


class _Partial:
    """The file that outlives an interruption. A file of another tuning is begun anew."""

    def __init__(self, path: Path, key: str) -> None:
        self._path = path
        self._key = key

    def keep(self, student: Student, steps: int, seconds: float) -> None:
        """Write the student as it is; the file is whole or as it was before."""
        from safetensors.numpy import save_file

        about = {"key": self._key, "steps": str(steps), "seconds": repr(seconds)}
        fresh = self._path.with_name(f"{self._path.name}.new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            save_file(student.state(), fresh, metadata=about)
            fresh.replace(self._path)
        except OSError as error:
            raise ArtefactError(f"{self._path}: cannot be written: {error.strerror}") from error

    def restore(self, student: Student) -> tuple[int, float]:
        """Give the student what the file holds; return the steps and seconds that it took."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self._path, framework="numpy") as file:
                about: dict[str, Any] = file.metadata() or {}
                if about.get("key") != self._key:
                    return 0, 0.0
                steps, seconds = int(about["steps"]), float(about["seconds"])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            student.restore(arrays, steps=steps)
        except (OSError, SafetensorError, KeyError, ValueError):
            return 0, 0.0
        return steps, seconds

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
