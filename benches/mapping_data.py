"""Recorded outcomes for `benches.mapping`: who scored what on which prompt, at what cost."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

import numpy as np
from numpy.typing import NDArray

from coe.intervals import paired_gain
from coe.mapping import OutcomeMatrix

Floats = NDArray[np.float64]
Columns = NDArray[np.intp]
Encode = Callable[[Sequence[str]], NDArray[np.float32]]

TEST_SHARE = 0.3
FOLDS = 5
STRENGTH = 3.0  # one over the ridge penalty of the categories' classifier (scikit-learn's C)
TEMPERATURES = np.geomspace(0.3, 2.0, 40)
CHARACTERS_PER_UNIT = 1e6

# Billions of parameters, of a mixture those that answer. The last two are not public: they are in
# the ratio of their list prices, and with 200 the greater one's cost is about what the study has
# that the goals come from.
PARAMETERS = {
    "Llama-2-7b-hf": 7,
    "Llama-2-13b-hf": 13,
    "Llama-2-70b-hf": 70,
    "Meta-Llama-3-8B": 8,
    "Meta-Llama-3-70B": 70,
    "Meta-Llama-3_1-8B": 8,
    "Meta-Llama-3_1-8B-Instruct": 8,
    "Meta-Llama-3_1-70B": 70,
    "Meta-Llama-3_1-70B-Instruct": 70,
    "Mistral-7B-v0.1": 7,
    "Mistral-7B-v0.2-hf": 7,
    "Mistral-7B-Instruct-v0.1": 7,
    "Mistral-7B-Instruct-v0.2": 7,
    "Mixtral-8x7B-v0.1": 13,
    "Mixtral-8x7B-Instruct-v0.1": 13,
    "mathstral-7B": 7,
    "Phi-3-mini-4k-instruct": 3.8,
    "Qwen1.5-7B-Chat": 7,
    "Qwen1.5-72B-Chat": 72,
    "Qwen1.5-110B": 110,
    "Yi-6B": 6,
    "Yi-6b-Chat": 6,
    "Yi-34B": 34,
    "c4ai-command-r-v01": 35,
    "gemma-7b": 7,
    "jamba-1.5-large": 94,
    "gemini-1.5-flash-002": 12,
    "gemini-1.5-pro-002": 200,
}
# The eight of about equal strength, found again from the study's figures: of all sets of eight with
# the same best expert only this one has its mean score, its oracle and its category oracle.
MIDDLE = (
    "Meta-Llama-3_1-8B-Instruct",
    "Yi-34B",
    "mathstral-7B",
    "Mixtral-8x7B-Instruct-v0.1",
    "Phi-3-mini-4k-instruct",
    "c4ai-command-r-v01",
    "Llama-2-70b-hf",
    "gemma-7b",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """n prompts, C categories, E experts.

    Attributes:
        vectors: shape (n, dim), unit rows.
        labels: shape (n,), places in `categories`.
        scores: shape (n, E), in [0, 1].
        costs: shape (n, E), money or what stands for it.
    """

    name: str
    categories: tuple[str, ...]
    experts: tuple[str, ...]
    vectors: Floats
    labels: Columns
    scores: Floats
    costs: Floats

    def of(self, experts: Sequence[str], name: str) -> Recorded:
        """Return the outcomes of some experts."""
        columns = [self.experts.index(expert) for expert in experts]
        return replace(
            self,
            name=name,
            experts=tuple(experts),
            scores=self.scores[:, columns],
            costs=self.costs[:, columns],
        )

    def matrix(self, rows: Columns, probabilities: Floats) -> OutcomeMatrix:
        """Return the outcomes of some prompts, with a router's probabilities."""
        return OutcomeMatrix(
            prompts=tuple(map(str, rows)),
            experts=self.experts,
            categories=self.categories,
            probabilities=probabilities,
            scores=self.scores[rows],
            costs=self.costs[rows],
            latencies=np.full((len(rows), len(self.experts)), np.nan),
            embeddings=self.vectors[rows],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """What to fit on and what to report on, with a category classifier's probabilities.

    Attributes:
        train, test: rows.
        learnt: shape (n_train, C), each by a classifier that has not seen the row.
        given: shape (n_test, C), by a classifier of all training rows.
    """

    train: Columns
    test: Columns
    learnt: Floats
    given: Floats


def mmlu_pro(folder: Path, encode: Encode) -> Recorded:
    """Read MMLU-Pro's outcomes; questions that some expert was not asked are left out.

    The prompt is the question with its options, as the experts got it.
    """
    from pyarrow import parquet

    table = parquet.read_table(folder / "mmlu_pro.parquet").to_pydict()
    lengths = parquet.read_table(folder / "genlen.parquet").to_pydict()
    experts = tuple(PARAMETERS)
    scores = np.array([table[f"score:{name}"] for name in experts], dtype=np.float64).T
    characters = np.array([lengths[f"len:{name}"] for name in experts], dtype=np.float64).T
    whole = ~np.isnan(scores).any(axis=1)
    texts = [
        f"{question}\n{options}"
        for question, options in zip(table["question"], table["options"], strict=True)
    ]
    categories, labels = np.unique(np.array(table["category"])[whole], return_inverse=True)
    return Recorded(
        name="MMLU-Pro, 28 models",
        categories=tuple(map(str, categories)),
        experts=experts,
        vectors=encode([text for text, keep in zip(texts, whole, strict=True) if keep]).astype(
            np.float64
        ),
        labels=labels,
        scores=scores[whole],
        costs=characters[whole] * np.array(list(PARAMETERS.values())) / CHARACTERS_PER_UNIT,
    )


def paretobandit(folder: Path, encode: Encode) -> tuple[Recorded, Columns, Columns]:
    """Read ParetoBandit's rewards, and the rows to fit on (`val`) and to report on (`test`).

    Costs are dollars per 1,000 prompts; categories are the prompts' sources, those of BIG-bench
    hard as one.
    """
    rows = {
        part: [json.loads(line) for line in (folder / f"{part}.jsonl").open(encoding="utf-8")]
        for part in ("val", "test")
    }
    every = [*rows["val"], *rows["test"]]
    experts = tuple(every[0]["arms"])
    sources = [row["source"].split("/", 1)[0] for row in every]
    categories, labels = np.unique(sources, return_inverse=True)

    def of(what: str) -> Floats:
        return np.array([[row["arms"][name][what] for name in experts] for row in every])

    recorded = Recorded(
        name="ParetoBandit",
        categories=tuple(map(str, categories)),
        experts=experts,
        vectors=encode([row["prompt"] for row in every]).astype(np.float64),
        labels=labels,
        scores=of("reward"),
        costs=of("cost") * 1000,
    )
    first = np.arange(len(every)) < len(rows["val"])
    return recorded, np.flatnonzero(first), np.flatnonzero(~first)


def drawn(recorded: Recorded, seed: int) -> Split:
    """Return the split of a seed: the same rows as in the study that the goals come from."""
    order = np.random.RandomState(seed).permutation(len(recorded.labels))
    size = int(TEST_SHARE * len(order))
    return split(recorded, order[size:], order[:size])


def split(recorded: Recorded, train: Columns, test: Columns) -> Split:
    """Return a split with the probabilities of a calibrated logistic classifier."""
    vectors, labels, count = recorded.vectors, recorded.labels, len(recorded.categories)
    fold = np.random.default_rng(0).permutation(len(train)) % FOLDS
    learnt = np.empty((len(train), count))
    for number in range(FOLDS):
        seen = train[fold != number]
        learnt[fold == number] = _classify(
            vectors[seen], labels[seen], vectors[train[fold == number]], count
        )
    given = _classify(vectors[train], labels[train], vectors[test], count)
    warmth = min(TEMPERATURES, key=lambda t: _surprise(_tempered(learnt, t), labels[train]))
    return Split(
        train=train, test=test, learnt=_tempered(learnt, warmth), given=_tempered(given, warmth)
    )


def gain(rounds: Iterable[tuple[Iterable[Hashable], Floats]]) -> tuple[float, float, float]:
    """Return the mean gain over prompts, and its 95 % interval, of several splits together.

    Args:
        rounds: of each split, its prompts and what was gained on each; a prompt that is in several
            counts once, with its mean.
    """
    total: dict[Hashable, list[float]] = {}
    for prompts, differences in rounds:
        for prompt, gained in zip(prompts, differences, strict=True):
            total.setdefault(prompt, []).append(float(gained))
    gained = np.array([mean(gains) for gains in total.values()])
    return paired_gain(gained, np.zeros(len(gained)))


def _classify(vectors: Floats, labels: Columns, asked: Floats, count: int) -> Floats:
    """Return probabilities, shape (n_asked, count); a category without a row has none."""
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=STRENGTH, max_iter=300).fit(vectors, labels)
    found = np.zeros((len(asked), count))
    found[:, fitted.classes_] = fitted.predict_proba(asked)
    return found


def _tempered(probabilities: Floats, temperature: float) -> Floats:
    """Return the softmax of the logits over the temperature (Guo et al. 2017)."""
    powers = probabilities ** (1.0 / temperature)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _surprise(probabilities: Floats, labels: Columns) -> float:
    given = probabilities[np.arange(len(labels)), labels]
    return -float(np.log(np.maximum(given, 1e-12)).mean())
