"""A small multi-layer perceptron in numpy: a second opinion beside the logistic regression.

    logits = gelu(s v U + a) V + b,   s = sqrt(dim), so that the inputs have unit variance

Alone it is no better than the logistic; the two are wrong in different places, and their mean is
better than either. What belongs to no category it knows better than the logistic. What keeps it
from learning the rows by heart is noise (dropout of inputs and hidden units, a Gaussian on the
inputs) and label smoothing.

Reference: Srivastava et al. 2014, Dropout, JMLR 15; Szegedy et al. 2016, Rethinking the Inception
Architecture, arXiv 1512.00567, section 7 (label smoothing); Loshchilov and Hutter 2019, Decoupled
Weight Decay Regularization, arXiv 1711.05101, algorithm 2 (AdamW); Hendrycks and Gimpel 2016,
Gaussian Error Linear Units, arXiv 1606.08415, section 2 (the sigmoid form).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routers.activation import gelu, gelu_and_slope

PARTS = ("inner", "inner_bias", "outer", "outer_bias")
Vectors = NDArray[np.float32]
Columns = NDArray[np.intp]

EPOCHS = 15
# Few rows make few steps; the epochs are repeated until there are so many.
LEAST_STEPS = 300
BATCH = 256
RATE = np.float32(2e-3)
WARM_UP = 0.1  # share of the steps in which the rate rises
DECAY = np.float32(1e-4)
SMOOTHING = np.float32(0.1)
KEEP_INPUT, KEEP_HIDDEN = np.float32(0.9), np.float32(0.5)
NOISE = np.float32(0.3)
MOMENTUM, MEMORY, HAIR = np.float32(0.9), np.float32(0.999), np.float32(1e-8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Perceptron:
    """One hidden layer.

    Attributes:
        inner: shape (dim, hidden); the scale of the inputs is in it.
        inner_bias: shape (hidden,).
        outer: shape (hidden, n_categories).
        outer_bias: shape (n_categories,).
    """

    inner: Vectors
    inner_bias: Vectors
    outer: Vectors
    outer_bias: Vectors

    def logits(self, vectors: Vectors) -> Vectors:
        """Return shape (n, n_categories)."""
        hidden = gelu(vectors @ self.inner + self.inner_bias)
        logits: Vectors = hidden @ self.outer + self.outer_bias
        return logits


def side_by_side(perceptrons: Sequence[Perceptron]) -> Perceptron:
    """Return one wide perceptron whose logits are the sum of theirs; one at least.

    One product that is three times as wide takes half the time of three.
    """
    return Perceptron(
        inner=np.concatenate([one.inner for one in perceptrons], axis=1),
        inner_bias=np.concatenate([one.inner_bias for one in perceptrons]),
        outer=np.concatenate([one.outer for one in perceptrons]),
        outer_bias=np.sum([one.outer_bias for one in perceptrons], axis=0),
    )


def fit(
    vectors: Vectors, labels: Columns, *, hidden: int, generator: np.random.Generator
) -> Perceptron:
    """Return a perceptron fitted by AdamW; the same generator gives the same one.

    Args:
        vectors: shape (n, dim), unit vectors.
        labels: shape (n,), columns; each has a row.
        hidden: units of the hidden layer.
        generator: of the first weights, the noise and the order of the rows.
    """
    count, dim = vectors.shape
    categories = int(labels.max()) + 1
    inputs = vectors * np.float32(np.sqrt(dim))
    targets = np.full((categories, categories), SMOOTHING / categories, dtype=np.float32)
    targets[np.diag_indices(categories)] += 1 - SMOOTHING
    weights = [
        _uniform(generator, dim, hidden),
        np.zeros(hidden, dtype=np.float32),
        _uniform(generator, hidden, categories),
        np.zeros(categories, dtype=np.float32),
    ]
    first, second = ([np.zeros_like(part) for part in weights] for _ in range(2))
    per_epoch = -(-count // BATCH)
    steps = max(EPOCHS * per_epoch, LEAST_STEPS)
    order = np.empty(0, dtype=np.intp)
    for step in range(1, steps + 1):
        if not len(order):
            order = generator.permutation(count)
        batch, order = order[:BATCH], order[BATCH:]
        gradients = _gradients(weights, inputs[batch], targets[labels[batch]], generator)
        rate = RATE * np.float32(_schedule(step / steps))
        for moved in zip(weights, gradients, first, second, strict=True):
            _move(*moved, rate, step)
    inner, inner_bias, outer, outer_bias = weights
    return Perceptron(
        inner=inner * np.float32(np.sqrt(dim)),
        inner_bias=inner_bias,
        outer=outer,
        outer_bias=outer_bias,
    )


def _move(
    part: Vectors, gradient: Vectors, mean: Vectors, square: Vectors, rate: np.float32, step: int
) -> None:
    """Move a part of the weights, and its running means, in place."""
    mean += (1 - MOMENTUM) * (gradient - mean)
    square += (1 - MEMORY) * (gradient**2 - square)
    slope = mean / (1 - MOMENTUM**step)
    slope /= np.sqrt(square / (1 - MEMORY**step)) + HAIR
    part -= rate * (slope + DECAY * part)


def _gradients(
    weights: list[Vectors], inputs: Vectors, targets: Vectors, generator: np.random.Generator
) -> list[Vectors]:
    """Return the gradients of the mean cross-entropy under fresh noise."""
    inner, inner_bias, outer, outer_bias = weights
    noisy = inputs + NOISE * generator.standard_normal(inputs.shape, dtype=np.float32)
    noisy *= _mask(generator, inputs.shape, KEEP_INPUT)
    active, derivative = gelu_and_slope(noisy @ inner + inner_bias)
    mask = _mask(generator, active.shape, KEEP_HIDDEN)
    active = active * mask
    logits = active @ outer + outer_bias
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    errors = (shares - targets) / np.float32(len(inputs))
    back = (errors @ outer.T) * mask * derivative
    return [noisy.T @ back, back.sum(axis=0), active.T @ errors, errors.sum(axis=0)]


def _mask(generator: np.random.Generator, shape: tuple[int, ...], keep: np.float32) -> Vectors:
    kept = generator.random(shape, dtype=np.float32) < keep
    return kept.astype(np.float32) / keep


def _uniform(generator: np.random.Generator, rows: int, columns: int) -> Vectors:
    bound = 1 / np.sqrt(rows)
    return generator.uniform(-bound, bound, (rows, columns)).astype(np.float32)


def _schedule(share: float) -> float:
    """Return the rate's factor: a short rise, then half a cosine down to nothing."""
    if share < WARM_UP:
        return share / WARM_UP
    return float(0.5 + 0.5 * np.cos(np.pi * (share - WARM_UP) / (1 - WARM_UP)))
