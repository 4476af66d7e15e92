from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from coe.errors import RouterUnavailable
from coe.testing.routers import check_encoder
from routers.cache import CachedEncoder
from routers.encoders.hashed import HashedEncoder


class Counting(HashedEncoder):
    """Notes every text that it encodes."""

    def __init__(self) -> None:
        super().__init__(name="counting", dim=64)
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked += texts
        return super().encode(texts)


class Absent(HashedEncoder):
    """A remote encoder that does not answer."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        raise RouterUnavailable(f"no answer for {len(texts)} texts")


def test_the_cache_keeps_the_contract_of_an_encoder() -> None:
    check_encoder(lambda: CachedEncoder(HashedEncoder(name="h", dim=64), entries=8))


def test_a_text_that_was_seen_is_not_encoded_again() -> None:
    inner = Counting()
    cached = CachedEncoder(inner)

    first = cached.encode(["a", "b", "a"])
    again = cached.encode(["b", "c", "a"])

    assert inner.asked == ["a", "b", "c"]
    assert (first[1] == again[0]).all()
    assert (again == inner.encode(["b", "c", "a"])).all()


def test_the_least_recently_used_entry_goes_first() -> None:
    inner = Counting()
    cached = CachedEncoder(inner, entries=2)
    cached.encode(["a", "b"])
    cached.encode(["a"])

    cached.encode(["c"])
    inner.asked.clear()
    cached.encode(["a", "b"])

    assert inner.asked == ["b"]


def test_the_cache_never_grows_over_its_bound() -> None:
    cached = CachedEncoder(Counting(), entries=10)

    vectors = cached.encode([str(number) for number in range(100)])

    assert len(cached) == 10
    assert (vectors == Counting().encode([str(number) for number in range(100)])).all()


def test_what_a_caller_writes_does_not_reach_the_cache() -> None:
    cached = CachedEncoder(Counting())
    cached.encode(["a"])[:] = 0.0

    assert np.linalg.norm(cached.encode(["a"])) == pytest.approx(1.0)


def test_concurrent_calls_all_get_their_own_texts() -> None:
    cached = CachedEncoder(Counting(), entries=16)
    expected = HashedEncoder(name="h", dim=64)

    def work(seed: int) -> bool:
        texts = [str((seed * 7 + step) % 40) for step in range(50)]
        return all((cached.encode([text]) == expected.encode([text])).all() for text in texts)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(32)))
    assert len(cached) <= 16


def test_a_failure_is_passed_on_and_not_kept() -> None:
    cached = CachedEncoder(Absent(name="absent"))

    with pytest.raises(RouterUnavailable):
        cached.encode(["a"])
    assert len(cached) == 0


def test_a_seen_text_costs_less_than_50_microseconds() -> None:
    cached = CachedEncoder(HashedEncoder(name="h"))
    text = "write a bash script that renames all files in a folder " * 3
    cached.encode([text])
    took = []

    for _ in range(300):
        start = time.perf_counter()
        cached.encode([text])
        took.append(time.perf_counter() - start)

    assert min(took) < 50e-6
