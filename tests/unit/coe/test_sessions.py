from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coe.sessions import Session, Sessions


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def session(category: str | None = "sql") -> Session:
    return Session(category, "coder", b"turn")


def sessions(clock: Clock, most: int = 100) -> Sessions:
    return Sessions(ttl_s=60, most=most, clock=clock)


def test_remembers_the_last_decision() -> None:
    kept = sessions(Clock())
    kept.remember(b"a", session("sql"))
    kept.remember(b"a", session("json"))

    assert kept.recall(b"a") == session("json")
    assert kept.recall(b"b") is None


def test_forgets_after_its_time() -> None:
    kept = sessions(clock := Clock())
    kept.remember(b"a", session())
    clock.now_s += 59.9
    assert kept.recall(b"a") is not None

    clock.now_s += 0.1

    assert kept.recall(b"a") is None
    assert len(kept) == 0


def test_a_decision_renews_the_time() -> None:
    kept = sessions(clock := Clock())
    kept.remember(b"a", session())
    clock.now_s += 50
    kept.remember(b"a", session())
    clock.now_s += 50

    assert kept.recall(b"a") is not None


def test_what_is_over_makes_room_by_itself() -> None:
    kept = sessions(clock := Clock())
    for number in range(50):
        kept.remember(bytes([number]), session())
    clock.now_s += 60

    kept.remember(b"new", session())

    assert len(kept) == 1


def test_the_oldest_makes_room() -> None:
    kept = sessions(Clock(), most=2)
    for name in (b"a", b"b", b"a", b"c"):
        kept.remember(name, session())

    assert kept.recall(b"b") is None
    assert kept.recall(b"a") is not None


events = st.lists(st.tuples(st.integers(0, 5), st.floats(0, 40), st.booleans()), max_size=40)


@given(events)
def test_is_a_dictionary_whose_entries_end(happened: list[tuple[int, float, bool]]) -> None:
    clock, model = Clock(), dict[bytes, tuple[float, Session]]()
    kept = sessions(clock)
    for name, pause_s, writes in happened:
        clock.now_s += pause_s
        key = bytes([name])
        if writes:
            entry = session(f"{clock.now_s}")
            kept.remember(key, entry)
            model[key] = (clock.now_s + 60, entry)
        else:
            ends_s, expected = model.get(key, (0.0, None))
            assert kept.recall(key) == (expected if clock.now_s < ends_s else None)
        assert len(kept) <= 6
