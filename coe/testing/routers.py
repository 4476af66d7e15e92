"""Contract checks for routers and encoders: every sentence of their protocols, tried out.

    from coe.testing import GivenParts, check_router

    def test_my_router_keeps_the_contract():
        parts = GivenParts(encoders={"small": my_encoder})
        check_router(lambda: build(spec, parts))

A check raises AssertionError with the sentence that does not hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Barrier
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from coe.errors import CoEError, ConfigError
from coe.protocols import AskedExpert, Encoder, Router
from coe.testing.expectation import expect
from coe.types import Embedding, Evidence, Scores

Made = TypeVar("Made")

ORDINARY = (
    "what is 17 * 24?",
    "how many feet are 12 metres",
    "write a bash script that renames all files",
    "hello, who are you?",
    "what is 17 * 24?",  # twice: a batch may repeat itself
)
STRANGE = (
    "",
    " \t\r\n ",
    "?",
    "什么是机器学习",
    "ما هو الطقس اليوم",
    "שלום עולם",
    "नमस्ते दुनिया",
    "👩‍👩‍👧‍👦🇨🇭🙂",
    "e\u0301\u200b\ufeff\u202e",
    "nul \x00 and \x1b[31m escape",
    "lone \ud83d surrogate \udc00",
    "\U0010ffff",
    "[CLS] [MASK] [SEP] <|endoftext|> {{x}} %s $(id)",
)
LONG = ("word " * 40_000, "x" * 200_000, "长" * 200_000, " " * 200_000, "\n" * 200_000)
TOLERANCE = 1e-4  # sums in another order differ in the last bits; a score must not differ in more
THREADS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenParts:
    """The parts of a composition, given as they are: what a router factory asks for by name."""

    encoders: Mapping[str, Encoder] = field(default_factory=dict)
    routers: Mapping[str, Router] = field(default_factory=dict)
    experts: Mapping[str, AskedExpert] = field(default_factory=dict)

    def encoder(self, name: str) -> Encoder:
        """Return the encoder of that name. Raises ConfigError."""
        return _named(name, self.encoders, "encoder")

    def router(self, name: str) -> Router:
        """Return the router of that name. Raises ConfigError."""
        return _named(name, self.routers, "router")

    def expert(self, name: str) -> AskedExpert:
        """Return the expert of that name. Raises ConfigError."""
        return _named(name, self.experts, "expert")


@dataclass(frozen=True, slots=True)
class GivenExpert:
    """An expert that a router may ask: a function from a body to the text of the answer.

    A CoEError that the function raises is what the router gets instead.
    """

    name: str
    says: Callable[[Mapping[str, Any]], str]

    def ask(
        self, bodies: Sequence[Mapping[str, Any]], *, wait_s: float
    ) -> tuple[str | CoEError, ...]:
        """See `coe.protocols.AskedExpert`; answers at once."""
        expect(wait_s > 0, "whoever asks an expert waits for it")
        return tuple(self._answer(body) for body in bodies)

    def _answer(self, body: Mapping[str, Any]) -> str | CoEError:
        try:
            return self.says(body)
        except CoEError as error:
            return error


def check_encoder(make: Callable[[], Encoder]) -> None:
    """Check that what `make` builds keeps the contract of `coe.protocols.Encoder`.

    Args:
        make: builds the same encoder anew at each call.
    """
    encoder, twin = make(), make()
    expect(bool(encoder.name), "an encoder has a name")
    expect(encoder.dim > 0, "dim is the length of a vector")
    expect(bool(encoder.fingerprint), "an encoder has a fingerprint")
    texts = (*ORDINARY, *STRANGE, *LONG)
    vectors = encoder.encode(texts)
    _expect_units(vectors, (len(texts), encoder.dim))
    expect(encoder.encode(()).shape == (0, encoder.dim), "no texts give shape (0, dim)")
    _expect_same(encoder.encode, lambda text: encoder.encode([text])[0], texts)
    expect(twin.fingerprint == encoder.fingerprint, "the same build has the same fingerprint")
    _expect_close(twin.encode(texts), vectors, "two builds give the same vectors")
    mine = encoder.encode(ORDINARY)
    kept = mine.copy()
    mine[:] = 0.0
    _expect_close(encoder.encode(ORDINARY), kept, "a caller may write into what it was given")


def check_router(make: Callable[[], Router]) -> None:
    """Check that what `make` builds keeps the contract of `coe.protocols.Router`.

    Args:
        make: builds the same router anew at each call.
    """
    router = make()
    expect(bool(router.name), "a router has a name")
    expect(len(router.categories) > 0, "a router has categories")
    expect(len(set(router.categories)) == len(router.categories), "categories are unique")
    texts = (*ORDINARY, *STRANGE, *LONG)
    _check_scores(router, router.score(texts), len(texts))
    _check_scores(router, router.score(()), 0)
    _expect_same(
        lambda some: router.score(some).values, lambda t: router.score([t]).values[0], texts
    )
    _check_single_explains_itself(router, texts)
    twin = make().score(texts).values
    _expect_close(twin, router.score(texts).values, "two builds give the same scores")


def _check_scores(router: Router, scores: Scores, count: int) -> None:
    values = scores.values
    expect(values.shape == (count, len(router.categories)), "values are (n_texts, n_categories)")
    expect(values.dtype == np.float32, "values are float32")
    expect(bool(np.isfinite(values).all()), "values are finite")
    if router.calibrated:
        expect(bool(((values >= 0) & (values <= 1)).all()), "probabilities are in [0, 1]")
        sums = values.sum(axis=1, dtype=np.float64)
        expect(bool((sums <= 1 + 1e-6).all()), "a row of probabilities sums to at most 1")
    expect(len(scores.stages) in {0, count}, "stages has one entry per text, or none")
    expect(len(scores.evidence) in {0, count}, "evidence has one entry per text, or none")
    expect(len(scores.failures) in {0, count}, "failures has one entry per text, or none")
    expect(len(scores.embeddings) in {0, count}, "embeddings has one entry per text, or none")
    for embedding in filter(None, scores.embeddings):
        expect(bool(embedding.encoder), "an embedding says whose it is")
        _expect_units(embedding.vector[None], (1, len(embedding.vector)))
    failed = [place for place, failure in enumerate(scores.failures) if failure]
    expect(not values[failed].any(), "a text that has no scores has a row of zeros")
    for row in scores.evidence:
        _check_evidence(router, row)


def _check_evidence(router: Router, row: tuple[Evidence, ...]) -> None:
    known = {*router.categories, ""}
    of_those = all(item.category in known for item in row)
    expect(of_those, "evidence is of one of the router's categories, or of none")
    similarities = [item.similarity for item in row if item.similarity is not None]
    in_range = all(abs(similarity) <= 1 + TOLERANCE for similarity in similarities)
    expect(in_range, "a similarity is in [-1, 1]")
    strongest_first = similarities == sorted(similarities, reverse=True)
    expect(strongest_first, "the strongest evidence stands first")


def _check_single_explains_itself(router: Router, texts: Sequence[str]) -> None:
    batch = router.score(texts)
    for place, text in enumerate(texts):
        alone = router.score([text])
        expect(alone.stages == batch.stages[place : place + 1], "a text's stage is its own")
        found = [(item.kind, item.category) for row in alone.evidence for item in row]
        rows = batch.evidence[place : place + 1]
        expected = [(item.kind, item.category) for row in rows for item in row]
        expect(found == expected, "a text's evidence does not depend on its batch")
        _check_embedding(alone.embeddings, batch.embeddings[place : place + 1])


def _check_embedding(
    alone: tuple[Embedding | None, ...], in_batch: tuple[Embedding | None, ...]
) -> None:
    """A text that was not encoded has None, or is not mentioned at all where none was."""
    mine, other = next(iter(alone), None), next(iter(in_batch), None)
    expect((mine is None) == (other is None), "whether a text is encoded does not depend on others")
    if mine is not None and other is not None:
        expect(mine.encoder == other.encoder, "a text's encoder does not depend on its batch")
        _expect_close(mine.vector, other.vector, "a text's embedding does not depend on its batch")


def _expect_same(
    many: Callable[[Sequence[str]], NDArray[np.float32]],
    one: Callable[[str], NDArray[np.float32]],
    texts: Sequence[str],
) -> None:
    """Expect the same rows in a batch, alone, backwards, again, and from several threads."""
    rows = many(texts)
    _expect_close(many(texts), rows, "the same texts give the same rows")
    alone = np.stack([one(text) for text in texts])
    _expect_close(alone, rows, "a text alone gives the same row as in a batch")
    backwards = many(tuple(reversed(texts)))[::-1]
    _expect_close(backwards, rows, "the order of a batch is irrelevant")
    short = (*ORDINARY, *STRANGE)
    start = Barrier(THREADS)

    def at_once(_: int) -> NDArray[np.float32]:
        start.wait()
        return many(short)

    with ThreadPoolExecutor(THREADS) as pool:
        for concurrent in pool.map(at_once, range(THREADS)):
            _expect_close(concurrent, rows[: len(short)], "concurrent calls give the same rows")


def _expect_units(vectors: NDArray[np.float32], shape: tuple[int, int]) -> None:
    expect(vectors.shape == shape, "vectors are (n_texts, dim)")
    expect(vectors.dtype == np.float32, "vectors are float32")
    expect(bool(np.isfinite(vectors).all()), "vectors are finite")
    lengths = np.linalg.norm(vectors, axis=1)
    _expect_close(lengths, np.ones_like(lengths), "vectors have length 1")


def _expect_close(found: NDArray[np.float32], expected: NDArray[np.float32], sentence: str) -> None:
    far = float(np.abs(found - expected).max(initial=0.0))
    expect(far <= TOLERANCE, f"{sentence} (they differ by {far:.2g})")


def _named(name: str, among: Mapping[str, Made], kind: str) -> Made:
    if name not in among:
        raise ConfigError(f"no {kind} `{name}` (there are: {', '.join(among) or 'none'})")
    return among[name]
