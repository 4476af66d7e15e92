"""Answers in memory: bounded, forgotten in time, and found by vectors as by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.cache.entry import Entry
from coe.cache.memory import MemoryShelf
from coe.cache.shelf import Near
from coe.cache.vectors import Vectors

pytestmark = pytest.mark.anyio


def entry(name: str, size: int = 10, until: float = 100.0, partition: str = "p") -> Entry:
    return Entry(
        partition=partition,
        id=name,
        expert="e",
        backend="b",
        experts=("e", "j"),
        category="code",
        at=0.0,
        until=until,
        body=b"{" + b" " * (size - 2) + b"}",
    )


def unit(*numbers: float) -> np.ndarray:
    vector = np.array(numbers, dtype=np.float32)
    return vector / np.linalg.norm(vector)


def test_an_entry_survives_its_bytes() -> None:
    whole = entry("a")

    assert Entry.unpacked(whole.packed()) == whole
    for raw in (b"", b"[]\n{}", b"garbage", b'["p"]\n{}'):
        assert Entry.unpacked(raw) is None


async def test_the_least_recently_used_go_first() -> None:
    shelf = MemoryShelf(lambda: 1.0)
    room = 3 * entry("a").size
    for name in "abc":
        await shelf.put(entry(name), room, None)
    await shelf.get("p", "a")

    await shelf.put(entry("d"), room, None)

    assert [name for name in "abcd" if await shelf.get("p", name)] == ["a", "c", "d"]
    await shelf.put(entry("huge", size=10_000), room, None)
    assert await shelf.stock(None) == (0, 0)


async def test_an_old_entry_is_gone_and_takes_no_room() -> None:
    now = [0.0]
    shelf = MemoryShelf(lambda: now[0])
    await shelf.put(entry("a", until=5.0), 10**6, Near("s", unit(1, 0)))
    now[0] = 5.0

    assert await shelf.nearest("p", Near("s", unit(1, 0)), 0.5, lambda _: True) is None
    assert await shelf.stock(None) == (0, 0)


async def test_another_partition_or_scope_is_never_looked_into() -> None:
    shelf = MemoryShelf(lambda: 1.0)
    near = Near("s", unit(1, 0))
    await shelf.put(entry("a"), 10**6, near)

    assert await shelf.get("q", "a") is None
    assert await shelf.nearest("q", near, 0.1, lambda _: True) is None
    assert await shelf.nearest("p", Near("t", unit(1, 0)), 0.1, lambda _: True) is None
    assert not await shelf.remove("q", "a")
    assert await shelf.clear("q") == 0
    assert (await shelf.stock("p")).entries == 1


async def test_the_nearest_that_fits_is_given() -> None:
    shelf = MemoryShelf(lambda: 1.0)
    for name, vector in (("near", unit(1, 0.1)), ("nearer", unit(1, 0)), ("far", unit(0, 1))):
        await shelf.put(entry(name), 10**6, Near("s", vector))
    look = Near("s", unit(1, 0))

    best = await shelf.nearest("p", look, 0.9, lambda _: True)
    second = await shelf.nearest("p", look, 0.9, lambda one: one.id != "nearer")
    nothing = await shelf.nearest("p", look, 0.9, lambda one: one.id == "far")

    assert best is not None
    assert second is not None
    assert (best[0].id, second[0].id, nothing) == ("nearer", "near", None)


STEPS = st.lists(
    st.tuples(st.booleans(), st.sampled_from("abcdefgh"), st.integers(0, 7)), max_size=40
)


@given(steps=STEPS)
def test_vectors_are_found_as_by_looking_at_each(steps: list[tuple[bool, str, int]]) -> None:
    vectors, known = Vectors(3), {}
    corners = [unit(a + 0.1, b + 0.2, c + 0.3) for a in (0, 1) for b in (0, 1) for c in (0, 1)]
    for is_put, name, corner in steps:
        if is_put:
            vectors.put(name, corners[corner])
            known[name] = corners[corner]
        else:
            vectors.remove(name)
            known.pop(name, None)

    found = vectors.nearest(corners[0], 0.9)

    near = {name: float(vector @ corners[0]) for name, vector in known.items()}
    assert dict(found) == pytest.approx({n: s for n, s in near.items() if s >= 0.9}, abs=1e-6)
    assert [s for _, s in found] == sorted((s for _, s in found), reverse=True)
    assert len(vectors) == len(known)
