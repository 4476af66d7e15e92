"""What a decision costs, what an early exit saves, and what typing errors change, on CLINC150.

Part of `python -m benches.routing`. The encoder is the built-in one on one thread, and the process
is held to one core. Every prompt is decided for the first time; nothing is remembered but
utterances. The router is `linear`, trained on all of `train`.

    decide      through the gateway's classifier: its thread, repair of typing errors, encoder,
                router, choice; prompts of 30 tokens made of rows of `test`
    steps       the router alone, vectors being there: `embedding` over 10,000 utterances
    early exit  `lexical`, taught by `linear` on all of `train` (minutes; the artefact is kept and
                loaded the next time), then `linear`; exits fitted on `val`, reported on `test`
    typing      the share of choices on `test` that stay when 2 % of the characters are mistyped
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from benches.report import Goal, Metric
from coe.classify import Classifier, Policy
from coe.errors import ArtefactError
from coe.protocols import Encoder, Router, RouterSpec
from coe.testing.routers import GivenParts
from coe.types import Category
from routers import chain, distillation, embedding
from routers import lexical as first_look
from routers.encoders.onnx import OnnxEncoder
from routers.linear import LinearModel, LinearRouter
from routers.perturbation import typing_noise
from routers.words import vocabulary

TOKENS = 30
PROMPTS = 300
UTTERANCES = 10_000
STREAM = 1000  # prompts of `test` that are timed
TAUGHT = "clinc150-lexical.npz"
# What may be lost, at 95 % certainty. Of 3100 rows 0.003 is hardly proven even where nothing is
# lost, so this is the loosest at which less than that is lost on `test`; the others are printed.
MOST_LOST = 0.008
OTHERS_LOST = (0.003, 0.005, 0.006, 0.01)
ROUNDS = 5
BLOCK = 256
OUTSIDE = "oos"
FIRST, LAST = "words", "meaning"

DECIDE = Goal(metric="decide_p50_ms_30tok", unit="ms", better="lower", goal=3.5)
EXIT_MEAN = Goal(metric="early_exit_mean_ms", unit="ms", better="lower", goal=0.5)
EXIT_DROP = Goal(metric="early_exit_accuracy_drop", unit="share", better="lower", goal=0.003)
STEPS = Goal(metric="steps_p50_ms_10k", unit="ms", better="lower", goal=1.0)
TYPO = Goal(metric="typo_stability", unit="share", better="higher", goal=0.99)

Vectors = NDArray[np.float32]
Rows = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """What is measured.

    Attributes:
        rows: (text, label) by split; the label of a text outside is OUTSIDE.
        names: the model's columns.
        model: trained on all of `train`.
        encoder: at work.
        memory: the same encoder, what it encoded before being kept on disk.
        folder: for files that a router reads.
    """

    rows: dict[str, Rows]
    names: tuple[str, ...]
    model: LinearModel
    encoder: OnnxEncoder
    memory: Encoder
    folder: Path

    def inside(self, split: str) -> tuple[list[str], list[str]]:
        """Return the texts that belong to a category, and their categories."""
        kept = [row for row in self.rows[split] if row[1] != OUTSIDE]
        return [text for text, _ in kept], [label for _, label in kept]

    def categories(self, most: int | None = None) -> tuple[Category, ...]:
        """Return the categories with so many utterances in all, about the same number each."""
        groups: dict[str, list[str]] = {name: [] for name in self.names}
        for text, label in zip(*self.inside("train"), strict=True):
            groups[label].append(text)
        each = None if most is None else -(-most // len(groups))
        return tuple(
            Category(name=name, utterances=tuple(group[:each])) for name, group in groups.items()
        )

    def router(self, encoder: Encoder, *, repairs: bool = True) -> LinearRouter:
        """Return the trained router as a composition would build it, without a cache."""
        words = self.encoder.words()
        return LinearRouter(
            name=LAST,
            categories=self.names,
            encoder=encoder,
            model=self.model,
            trained=self.names,
            known=vocabulary(self.model.pairs, words) if repairs else None,
        )


class Fixed:
    """An encoder that takes no time: each text is the number of its vector."""

    name, fingerprint = "fixed", "fixed"

    def __init__(self, vectors: Vectors) -> None:
        self.dim = vectors.shape[1]
        self._vectors = vectors

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors of the numbers."""
        return self._vectors[[int(text) for text in texts]]


def speed(stand: Stand, console: Console) -> list[Metric]:
    """Return the metrics in milliseconds, and what the early exit loses."""
    with one_core():
        return [*decide(stand, console), *steps(stand, console), *early_exit(stand, console)]


def decide(stand: Stand, console: Console) -> list[Metric]:
    """Time whole decisions."""
    prompts = of_length(stand.encoder, stand.inside("test")[0], count=PROMPTS + BLOCK)
    took = asyncio.run(_through_the_gateway(stand.router(stand.encoder), prompts))
    _say(console, f"decide, {TOKENS} tokens, linear", took)
    bare = asyncio.run(
        _through_the_gateway(stand.router(stand.encoder, repairs=False), prompts[::-1])
    )
    _say(console, "  without the repair of typing errors", bare)
    return [_p50(DECIDE, took)]


def steps(stand: Stand, console: Console) -> list[Metric]:
    """Time what follows the embedding."""
    texts = stand.inside("test")[0][:: -(-len(stand.inside("test")[0]) // STREAM)]
    ready = Fixed(stand.memory.encode(texts))
    numbers = [str(number) for number in range(len(texts))]
    over_utterances = embedding.EmbeddingRouter(
        name="utterances",
        categories=stand.categories(UTTERANCES),
        encoder=ready,
        utterance_encoder=stand.memory,
    )
    took = _times(over_utterances, numbers)
    _say(console, f"steps after the embedding, embedding, {UTTERANCES} utterances", took)
    _say(console, "  linear", _times(stand.router(ready, repairs=False), numbers))
    return [_p50(STEPS, took)]


def early_exit(stand: Stand, console: Console) -> list[Metric]:
    """Fit the exits of a chain on `val`; say what it costs and what it loses on `test`."""
    first = taught(stand, console)
    remembering = stand.router(stand.memory)
    working = stand.router(stand.encoder)
    texts, labels = stand.inside("test")
    alone, _ = _accuracy(remembering, texts, labels)
    stream = [text for text, _ in stand.rows["test"]]
    every = len(stream)
    for most_lost in OTHERS_LOST:
        fitted = _fitted(stand, first, remembering, most_lost)
        _exits(console, fitted, stand, alone, f"  at most {most_lost:g} lost")
    fitted = _fitted(stand, first, remembering, MOST_LOST)
    together = _exits(console, fitted, stand, alone, f"early exit, at most {MOST_LOST:g} lost")
    timed = chain.ChainRouter(
        name="chain", categories=stand.names, stages=(first, working), exits=fitted.exits
    )
    stream = stream[:: -(-every // STREAM)]
    took = _times(timed, stream)
    _say(console, "early exit, prompts of `test`", took)
    _say(console, "  those inside alone", _times(timed, texts[:: -(-len(texts) // STREAM)]))
    _say(console, "  the last stage alone", _times(working, stream))
    _say(console, "  the first stage alone", _times(first, stream))
    means = [mean(part) * 1e3 for part in _rounds(took)]
    return [EXIT_MEAN.measured(means), EXIT_DROP.measured([round(alone - together, 6)])]


def taught(stand: Stand, console: Console) -> first_look.LexicalRouter:
    """Return the first stage: the one that was kept, or one that is taught now and kept."""
    path = stand.folder / TAUGHT
    rows = list(zip(*stand.inside("train"), strict=True))
    try:
        names, model = first_look.load(path, stand.categories(), place="benches")
    except ArtefactError:
        console.print(f"teaching the first stage, kept as {path.name} ...")
        start = time.perf_counter()
        found = distillation.train(rows, stand.router(stand.encoder))
        console.print(f"  {time.perf_counter() - start:.0f} s; {found.report}")
        distillation.save(path, found, utterances=rows)
        names, model = first_look.load(path, stand.categories(), place="benches")
    return first_look.LexicalRouter(name=FIRST, categories=stand.names, model=model, trained=names)


def _fitted(stand: Stand, first: Router, last: Router, most_lost: float) -> chain.ChainRouter:
    """Return the chain with its exit fitted on `val`."""
    return chain.build(
        RouterSpec(
            name="chain",
            type="chain",
            options={
                "stages": [FIRST, LAST],
                "confident_at": chain.FITTED,
                "held_out": str(_held_out(stand)),
                "most_lost": most_lost,
            },
            categories=stand.categories(),
        ),
        GivenParts(routers={FIRST: first, LAST: last}),
    )


def _exits(
    console: Console, router: chain.ChainRouter, stand: Stand, alone: float, what: str
) -> float:
    """Say how many prompts of `test` exit, and what that loses; return the accuracy inside."""
    together, inside = _accuracy(router, *stand.inside("test"))
    _, every = _accuracy(router, *map(list, zip(*stand.rows["test"], strict=True)))
    console.print(
        f"{what}: {every:.1%} of all prompts exit, {inside:.1%} of those inside; "
        f"accuracy {together:.4f} of {alone:.4f}, {alone - together:+.4f} lost"
    )
    return together


def typing(stand: Stand, seeds: int, console: Console) -> list[Metric]:
    """Say how many choices stay under typing noise, with and without repair."""
    texts, truth = stand.inside("test")
    labels = np.array([stand.names.index(label) for label in truth])
    noisy = [[typing_noise(text, seed=seed) for text in texts] for seed in range(seeds)]
    stays: dict[bool, list[float]] = {}
    for repairs in (True, False):
        router = stand.router(stand.memory, repairs=repairs)
        before = _chosen(router, texts)
        after = [_chosen(router, part) for part in noisy]
        stays[repairs] = [float((before == part).mean()) for part in after]
        console.print(
            f"typing noise, {'with' if repairs else 'without'} repair: accuracy "
            f"{(before == labels).mean():.4f}, of noisy texts "
            f"{mean((labels == part).mean() for part in after):.4f}; "
            f"{mean(stays[repairs]):.4f} of choices stay"
        )
    return [TYPO.measured(stays[True])]


def of_length(encoder: OnnxEncoder, texts: Sequence[str], *, count: int) -> list[str]:
    """Return at most so many prompts that are TOKENS long, each another one, made of the texts."""
    found: list[str] = []
    words: list[str] = []
    for text in texts:
        words += text.split()
        while words and len(encoder.tokens(" ".join(words))) > TOKENS:
            words.pop()
        if len(encoder.tokens(" ".join(words))) == TOKENS:
            found.append(" ".join(words))
            words = []
        if len(found) == count:
            break
    return found


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Hold the process to one core, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


async def _through_the_gateway(router: Router, prompts: Sequence[str]) -> list[float]:
    """Return the seconds that each decision took; the first prompts find cold caches."""
    classifier = Classifier(lambda: router, Policy(wait_s=60.0))
    await classifier.load(patient=False)
    took = []
    for prompt in prompts:
        start = time.perf_counter()
        await classifier.classify(prompt)
        took.append(time.perf_counter() - start)
    classifier.close()
    return took[len(took) // 10 :]


def _times(router: Router, texts: Sequence[str]) -> list[float]:
    """Return the seconds that scoring each text took, one at a time."""
    for text in texts[:20]:
        router.score([text])
    return [_timed(lambda text=text: router.score([text])) for text in texts]  # type: ignore[misc]


def _timed(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def _rounds(seconds: Sequence[float]) -> list[Sequence[float]]:
    return [seconds[start::ROUNDS] for start in range(ROUNDS)]


def _p50(goal: Goal, seconds: Sequence[float]) -> Metric:
    return goal.measured([median(part) * 1e3 for part in _rounds(seconds)])


def _say(console: Console, name: str, seconds: Sequence[float]) -> None:
    console.print(
        f"{name}: p50 {median(seconds) * 1e3:.3f}, mean {mean(seconds) * 1e3:.3f}, "
        f"least {min(seconds) * 1e3:.3f} ms"
    )


def _chosen(router: Router, texts: Sequence[str]) -> NDArray[np.intp]:
    parts = [router.score(texts[at : at + BLOCK]).values for at in range(0, len(texts), BLOCK)]
    chosen: NDArray[np.intp] = np.concatenate(parts).argmax(axis=1)
    return chosen


def _accuracy(router: Router, texts: Sequence[str], labels: Sequence[str]) -> tuple[float, float]:
    """Return the share of right choices, and of those that the first stage made."""
    hits, early = 0, 0
    for at in range(0, len(texts), BLOCK):
        scores = router.score(texts[at : at + BLOCK])
        chosen = [router.categories[column] for column in scores.values.argmax(axis=1)]
        hits += sum(a == b for a, b in zip(chosen, labels[at : at + BLOCK], strict=True))
        early += sum(stage == FIRST for stage in scores.stages)
    return hits / len(texts), early / len(texts)


def _held_out(stand: Stand) -> Path:
    path = stand.folder / "clinc150-val.jsonl"
    lines = (
        json.dumps({"text": text, "category": None if label == OUTSIDE else label})
        for text, label in stand.rows["val"]
    )
    path.write_text("\n".join(lines), encoding="utf-8")
    return path
