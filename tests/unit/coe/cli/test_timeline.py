"""Pictures and pages of who was in memory when."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.cli.cases import Numbers, of_numbers
from coe.cli.plan import compare, make_trace
from coe.cli.scheduling import Member, Memory, page
from coe.cli.timeline import MOST_LANES, NAME, PLOT, Window, busiest_first, lasting, picture
from coe.errors import ConfigError
from coe.scheduler.chronicle import Depth, Mark, Record, Spell
from coe.scheduler.traces import Arrival

HOSTILE = "</svg><script>alert(1)</script>\x00\ud800"


def record(**changes: object) -> Record:
    known: dict[str, object] = {
        "since_s": 0.0,
        "until_s": 100.0,
        "before": {},
        "marks": (),
        "spells": (),
        "depths": (),
    }
    return Record(**(known | changes))  # type: ignore[arg-type]


def drawn(of: Record, experts: list[str] | None = None, window: Window | None = None) -> ET.Element:
    names = busiest_first(of) if experts is None else experts
    return ET.fromstring(picture(of, names, window or Window(0.0, 100.0), "t"))  # noqa: S314


def lines(svg: ET.Element, kind: str) -> list[tuple[float, float]]:
    """Return where marks of a kind begin, and how wide they are."""
    paths = [path.get("d") or "" for path in svg.iter("path") if path.get("class") == kind]
    found = re.findall(r"M([\d.]+),[\d.]+h([\d.]+)", "".join(paths))
    return [(float(x), float(width)) for x, width in found]


def at(second: float) -> float:
    return pytest.approx(NAME + PLOT * second / 100.0, abs=0.06)  # type: ignore[return-value]


def wide(seconds: float) -> float:
    return pytest.approx(PLOT * seconds / 100.0, abs=0.11)  # type: ignore[return-value]


def test_a_stay_is_drawn_from_its_load_to_its_end() -> None:
    marks = (
        Mark(10.0, "a", "loading", 2),
        Mark(20.0, "a", "ready", 2),
        Mark(60.0, "a", "leaving", 0, "b"),
        Mark(60.0, "a", "left", 0),
    )

    svg = drawn(record(marks=marks, spells=(Spell("a", 30.0, 50.0, 3),)))

    assert lines(svg, "load") == [(at(10), wide(10))]
    assert lines(svg, "held") == [(at(20), wide(40))]
    assert lines(svg, "served") == [(at(30), wide(20))]
    assert sum(path.get("class") == "out" for path in svg.iter("path")) == 1
    assert "a: loads 1, in memory 50% of the time, spells of work 1" in ET.tostring(svg).decode()


def test_who_was_there_before_and_stays_is_drawn_throughout() -> None:
    svg = drawn(record(before={"a": "ready"}))

    assert lines(svg, "held") == [(at(0), wide(100))]
    assert lines(svg, "load") == []


@pytest.mark.parametrize("what", ["failed", "lost"])
def test_what_went_wrong_is_crossed(what: str) -> None:
    svg = drawn(record(marks=(Mark(10.0, "a", "loading", 1), Mark(30.0, "a", what, 1))))  # type: ignore[arg-type]

    assert lines(svg, "load") == [(at(10), wide(20))]
    assert sum(path.get("class") == "failed" for path in svg.iter("path")) == 1


def test_what_is_outside_of_the_window_is_not_drawn() -> None:
    marks = (
        *(Mark(1.0, "a", "loading", 0), Mark(2.0, "a", "ready", 0), Mark(5.0, "a", "left", 0)),
        *(Mark(90.0, "b", "loading", 0), Mark(95.0, "b", "ready", 0)),
    )

    svg = drawn(record(marks=marks), window=Window(20.0, 80.0))

    assert lines(svg, "held") == lines(svg, "load") == lines(svg, "thin") == []


def test_a_thousand_stays_within_a_pixel_are_one_mark() -> None:
    marks = []
    for number in range(1000):
        at_s = 50.0 + number / 20000
        marks += [Mark(at_s, "a", "loading", 0), Mark(at_s, "a", "ready", 0)]
        marks.append(Mark(at_s, "a", "left", 0))

    svg = drawn(record(marks=tuple(marks), spells=tuple(Spell("a", m[0], m[0], 1) for m in marks)))

    assert len(ET.tostring(svg)) < 4000


def test_every_pixel_of_the_queue_shows_its_greatest_depth() -> None:
    depths = (Depth(0.0, 1), Depth(50.0, 90), Depth(50.01, 2), Depth(99.0, 0))

    svg = drawn(record(depths=depths))

    assert "calls that wait: 90 at the most" in ET.tostring(svg).decode()
    (line,) = [path.get("d") or "" for path in svg.iter("path") if path.get("class") == "depth"]
    heights = [float(y) for y in re.findall(r"V([\d.]+)", line)]
    assert min(heights) == pytest.approx(max(heights) - 64.0)


@given(
    st.lists(
        st.tuples(
            st.floats(0, 200),
            st.sampled_from(["a", HOSTILE]),
            st.sampled_from(["loading", "ready", "leaving", "left", "failed", "stayed", "lost"]),
        ),
        max_size=30,
    ),
    st.floats(0, 100),
    st.floats(0.001, 100),
)
def test_whatever_is_recorded_is_well_formed_and_inside(
    rows: list[tuple[float, str, str]], from_s: float, long_s: float
) -> None:
    marks = tuple(Mark(at_s, name, what, 1) for at_s, name, what in sorted(rows))  # type: ignore[arg-type]

    svg = drawn(record(marks=marks), window=Window(from_s, from_s + long_s))

    for kind in ("held", "load", "thin"):
        for left, width in lines(svg, kind):
            assert left >= NAME - 0.1
            assert left + width <= NAME + PLOT + 1.0


def test_lanes_are_in_order_of_calls_and_not_endless() -> None:
    spells = tuple(Spell(f"e{n:03d}", 0.0, 1.0, n) for n in range(MOST_LANES + 5))

    svg = drawn(record(spells=spells))

    names = [text.text for text in svg.iter("text") if (text.text or "").startswith("e0")]
    assert names == [f"e{n:03d}" for n in range(MOST_LANES + 4, 4, -1)]


def test_how_long_something_took_is_said_in_its_unit() -> None:
    assert [lasting(s) for s in (0, 4.21, 59, 119, 600, 7199, 9000, 360000)] == [
        *("0.0 s", "4.2 s", "59 s", "119 s", "10 min", "120 min", "2.5 h", "100 h"),
    ]


# ---------------------------------------------------------------- pages


def test_the_page_of_a_plan_shows_every_rule(tmp_path: Path) -> None:
    trace = make_trace("sessions", experts=5, rate=2.0, calls=300, call_s=1.0, seed=3)
    file = tmp_path / "plan.html"

    case = of_numbers(trace, Numbers(slots=2, load_s=1.0))
    compare(trace, case, html=file)

    text = file.read_text(encoding="utf-8")
    assert all(f"<strong>{name}</strong>" in text for name in case.rules)
    assert text.count("<svg") == 5 + 2 * len(case.rules)  # the legend, all of it, a close-up
    assert "<script" not in text
    assert "http" not in text.replace("http-equiv", "")


def test_a_page_of_few_calls_and_hostile_names_is_whole(tmp_path: Path) -> None:
    trace = [Arrival(id="1", at_s=5.0, expert=HOSTILE), Arrival(id="2", at_s=6.0, expert="b")]
    file = tmp_path / "plan.html"

    compare(trace, of_numbers(trace, Numbers()), html=file)

    text = file.read_text(encoding="utf-8")
    assert "<script" not in text
    assert "close-up" not in text


def test_a_page_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    trace = [Arrival(id="1", at_s=5.0, expert="a")]

    with pytest.raises(ConfigError, match="cannot be written"):
        compare(trace, of_numbers(trace, Numbers()), html=tmp_path)


def test_the_page_of_a_gateway_shows_what_happened_there() -> None:
    marks = (Mark(10.0, "a", "leaving", 2, "b"), Mark(11.0, "a", "left", 2))
    one = Memory(
        backend="gpu",
        memory=2**30,
        experts=(
            Member(expert="a", state="out", running=0, waiting=0, memory=2**20),
            Member(expert="b", state="ready", running=1, waiting=7, memory=2**20),
        ),
        record=record(before={"a": "ready"}, marks=marks),
    )

    text = page([one], "http://127.0.0.1:8088", 0.0)

    assert "leaves for b" in text
    assert "1 of 2" in text
    assert "<script" not in text
