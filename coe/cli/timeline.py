"""A record as a picture: a lane for each expert, and under them how many calls waited.

What happens within a pixel becomes one mark: the picture of a day is no larger than that of a
minute.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from coe.page.markup import Markup, element
from coe.page.texts import fitted, shown
from coe.scheduler.chronicle import Record
from coe.scheduler.stays import Stay, stays

NAME, PLOT, RIGHT = 130.0, 820.0, 14.0  # pixels of names, of the time, and beside it
LANE, BAR = 22.0, 16.0  # of a lane, and of the bar in it
TOP, DEPTH, AXIS = 6.0, 76.0, 30.0
MOST_LANES = 40
LEAST, GAP = 0.6, 0.4  # a mark is no narrower, and marks that are nearer become one
HATCHED = 3.0  # a narrower load has no room for hatching
ENDED = 6.0  # nor has a narrower stay for a mark at its end
STEPS = (1, 2, 5, 10, 15, 20, 30)
HATCH = "hatch"

STYLE = """
.lanes svg{max-width:none}
figure.lanes svg{min-width:800px;margin:0}
.lanes .held{fill:var(--bar)}
.lanes .served{fill:var(--line)}
.lanes .load{fill:url(#hatch)}
.lanes .thin{fill:var(--miss)}
.lanes .out{stroke:var(--ink);stroke-width:1.5}
.lanes .failed{stroke:var(--miss);stroke-width:2.5;fill:none}
.lanes .depth{fill:var(--bar);stroke:var(--line);stroke-width:1}
.lanes .edge{stroke:var(--miss);stroke-width:2}
#hatch rect{fill:var(--card)}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;font-size:14px;color:var(--quiet);margin:8px 0}
.legend span{display:inline-flex;align-items:center;gap:6px}
.legend svg{overflow:visible}
"""

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Window:
    """The stretch of time that is drawn, in seconds of the record's clock."""

    from_s: float
    until_s: float

    def x(self, at_s: float) -> float:
        """Return the pixel of a time; those outside are at the edge."""
        share = (at_s - self.from_s) / max(self.until_s - self.from_s, 1e-9)
        return NAME + PLOT * min(max(share, 0.0), 1.0)

    def holds(self, from_s: float, until_s: float) -> bool:
        """Whether a stretch of time is seen."""
        return from_s <= self.until_s and until_s >= self.from_s


def busiest_first(record: Record, experts: Iterable[str] = ()) -> list[str]:
    """Return the experts of a record, and others, those with the most calls first."""
    calls: defaultdict[str, int] = defaultdict(int)
    for spell in record.spells:
        calls[spell.expert] += spell.calls
    known = {*experts, *record.before, *(mark.expert for mark in record.marks), *calls}
    return sorted(known, key=lambda name: (-calls[name], name))


def picture(record: Record, experts: Sequence[str], window: Window, title: str) -> Markup:
    """Return the lanes of experts, in this order, and the depth of the queue under them."""
    lanes = experts[:MOST_LANES]
    by_expert: defaultdict[str, list[Stay]] = defaultdict(list)
    for stay in stays(record):
        by_expert[stay.expert].append(stay)
    served: defaultdict[str, list[Span]] = defaultdict(list)
    for spell in record.spells:
        served[spell.expert].append((spell.from_s, spell.until_s))
    floor = TOP + LANE * len(lanes)
    height = floor + DEPTH + AXIS
    drawn = [
        _lane(name, TOP + LANE * place, window, by_expert[name], served[name])
        for place, name in enumerate(lanes)
    ]
    return element(
        "svg",
        element("title", title),
        _times(window, floor + DEPTH),
        drawn,
        _depth(record, window, floor),
        role="img",
        viewBox=f"0 0 {NAME + PLOT + RIGHT:.0f} {height:.0f}",
        width=NAME + PLOT + RIGHT,
        height=height,
    )


def legend() -> Markup:
    """Return what the marks mean. A page needs it once: it holds the hatching of all pictures."""
    hatch = element(
        "pattern",
        element("rect", width=6, height=6),
        element("path", d="M0,6L6,0M-1,1L1,-1M5,7L7,5", stroke="var(--miss)", stroke_width=1.6),
        id=HATCH,
        width=6,
        height=6,
        patternUnits="userSpaceOnUse",
    )
    marks: Sequence[tuple[str, tuple[Markup, ...]]] = (
        ("being loaded", (element("defs", hatch), element("path", d=_box(0, 22), class_="load"))),
        ("in memory, idle", (element("path", d=_box(0, 22), class_="held"),)),
        (
            "at work",
            (
                element("path", d=_box(0, 22), class_="held"),
                element("path", d=_box(0, 22, inset=3), class_="served"),
            ),
        ),
        ("unloaded", (element("path", d="M11,0v16", class_="out"),)),
        ("failed, or lost", (element("path", d=_cross(11, 0), class_="failed"),)),
    )
    items = [
        element(
            "span",
            element("svg", element("title", name), shapes, width=22, height=16, role="img"),
            name,
        )
        for name, shapes in marks
    ]
    return element("div", *items, class_="legend lanes")


def lasting(seconds: float) -> str:
    """Return how long something took, in the unit that people would take."""
    for unit, size, most in (("s", 1.0, 120.0), ("min", 60.0, 7200.0), ("h", 3600.0, math.inf)):
        if seconds < most:
            value = seconds / size
            return f"{value:.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"  # noqa: PLR2004
    raise AssertionError(seconds)


# ---------------------------------------------------------------- lanes


def _lane(
    name: str, top: float, window: Window, own: Sequence[Stay], work: Sequence[Span]
) -> Markup:
    held, loads, ends, fails = [], [], [], []
    for stay in own:
        if not window.holds(stay.from_s, stay.until_s):
            continue
        ready_s = stay.until_s if stay.ready_s is None else stay.ready_s
        if stay.source is not None:
            loads.append((stay.from_s, ready_s))
        if ready_s < stay.until_s:
            held.append((ready_s, stay.until_s))
        if stay.end and stay.until_s <= window.until_s:
            left, right = window.x(stay.from_s), window.x(stay.until_s)
            if stay.end != "left":
                fails.append(right)
            elif right - left >= ENDED:
                ends.append(right)
    bar = top + (LANE - BAR) / 2
    narrow, wide = _parted(_merged(window, loads), lambda span: span[1] - span[0] < HATCHED)
    shapes = [
        *_path(_boxes(_merged(window, held), bar), "held"),
        *_path(_boxes(_merged(window, work), bar, inset=3.0), "served"),
        *_path(_boxes(narrow, bar), "thin"),
        *_path(_boxes(wide, bar), "load"),
        *_path((f"M{x:.1f},{bar:.1f}v{BAR:.0f}" for x in _apart(ends)), "out"),
        *_path((_cross(x, bar) for x in _apart(fails)), "failed"),
    ]
    label = element("text", fitted(shown(name), NAME - 12), x=NAME - 8, y=bar + 12, class_="end")
    rule = element("line", x1=NAME, x2=NAME + PLOT, y1=top + LANE, y2=top + LANE, class_="grid")
    return element("g", element("title", _told(name, own, work, window)), label, rule, *shapes)


def _told(name: str, own: Sequence[Stay], work: Sequence[Span], window: Window) -> str:
    """Say in a line what a lane shows, for whoever points at it or cannot see it."""
    seen = [stay for stay in own if window.holds(stay.from_s, stay.until_s)]
    loads = sum(stay.source is not None for stay in seen)
    parked = sum(stay.source == "host" for stay in seen)
    host = f" ({parked} from host memory)" if parked else ""
    spells = sum(window.holds(*span) for span in work)
    here_s = sum(
        min(stay.until_s, window.until_s) - max(stay.from_s, window.from_s) for stay in seen
    )
    share = here_s / max(window.until_s - window.from_s, 1e-9)
    return (
        f"{shown(name)}: loads {loads}{host}, in memory {share:.0%} of the time,"
        f" spells of work {spells}"
    )


def _merged(window: Window, spans: Iterable[Span]) -> list[Span]:
    """Return spans of time as spans of pixels; those that touch become one."""
    found: list[Span] = []
    for from_s, until_s in sorted(spans):
        if not window.holds(from_s, until_s):
            continue
        left = window.x(from_s)
        right = max(window.x(until_s), left + LEAST)
        if found and left - found[-1][1] < GAP:
            found[-1] = (found[-1][0], max(found[-1][1], right))
        else:
            found.append((left, right))
    return found


def _parted(
    spans: Sequence[Span], belongs: Callable[[Span], bool]
) -> tuple[list[Span], list[Span]]:
    return [s for s in spans if belongs(s)], [s for s in spans if not belongs(s)]


def _apart(places: Iterable[float]) -> list[float]:
    """Return places in order, without those that would lie on top of another one."""
    found: list[float] = []
    for x in sorted(places):
        if not found or x - found[-1] >= 1.0:
            found.append(x)
    return found


def _path(pieces: Iterable[str], kind: str) -> Iterator[Markup]:
    if line := "".join(pieces):
        yield element("path", d=line, class_=kind)


def _boxes(spans: Iterable[Span], top: float, inset: float = 0.0) -> Iterator[str]:
    return (_box(left, right - left, top, inset) for left, right in spans)


def _box(left: float, width: float, top: float = 0.0, inset: float = 0.0) -> str:
    height = BAR - 2 * inset
    return f"M{left:.1f},{top + inset:.1f}h{width:.1f}v{height:.0f}h-{width:.1f}z"


def _cross(x: float, top: float) -> str:
    return f"M{x - 4:.1f},{top + 4:.1f}l8,8m0,-8l-8,8"


# ---------------------------------------------------------------- the queue, and the time


def _depth(record: Record, window: Window, top: float) -> Markup:
    """Return how many calls waited, as a line whose every pixel shows the most of its time."""
    most = _most_in(record, window)
    base = top + DEPTH
    scale = (DEPTH - 12.0) / max(most, 1)
    line = [f"M{NAME:.1f},{base:.1f}"]
    for x, waiting in _columns(record, window):
        line.append(f"H{x:.1f}V{base - scale * waiting:.1f}")
    line.append(f"H{NAME + PLOT:.1f}V{base:.1f}z")
    return element(
        "g",
        element("title", f"calls that wait: {most} at the most"),
        element("path", d="".join(line), class_="depth"),
        element("text", "calls that wait", x=NAME - 8, y=base - 4, class_="end"),
        element("text", most, x=NAME - 8, y=base - scale * most + 8, class_="tick end"),
        element("line", x1=NAME, x2=NAME + PLOT, y1=base, y2=base, class_="grid"),
    )


def _most_in(record: Record, window: Window) -> int:
    return max((waiting for _, waiting in _columns(record, window)), default=0)


def _columns(record: Record, window: Window) -> list[tuple[float, int]]:
    """Return the depths that are seen by pixel, of each pixel the greatest and the last one."""
    before = 0
    found: list[tuple[float, int]] = []
    for depth in record.depths:
        if depth.at_s < window.from_s:
            before = depth.waiting
        elif depth.at_s <= window.until_s:
            found.append((window.x(depth.at_s), depth.waiting))
    thinned: list[tuple[float, int]] = [(NAME, before)]
    pixel, most, last = -1, (NAME, before), (NAME, before)
    for x, waiting in found:
        if int(x) != pixel:
            thinned += (most, last)
            pixel, most = int(x), (x, waiting)
        most, last = max(most, (x, waiting), key=lambda one: one[1]), (x, waiting)
    return [*thinned, most, last]


def _times(window: Window, bottom: float) -> Markup:
    """Return the grid of times: they count from the left edge."""
    long_s = window.until_s - window.from_s
    unit, size = next(
        (unit, size)
        for unit, size, most in (("s", 1.0, 180.0), ("min", 60.0, 10800.0), ("h", 3600.0, math.inf))
        if long_s < most
    )
    step = _step(long_s / size)
    parts: list[Markup] = []
    for number in range(int(long_s / size / step + 1e-9) + 1):
        x = window.x(window.from_s + number * step * size)
        text = f"{number * step:g}" if number else f"0 {unit}"
        parts += (
            element("line", x1=x, x2=x, y1=TOP, y2=bottom, class_="grid"),
            element("text", text, x=x, y=bottom + 16, class_="tick middle"),
        )
    return element("g", *parts)


def _step(span: float) -> float:
    """Return a round step of which about eight make up a span."""
    rough = max(span / 8.0, 1e-6)
    power = 10.0 ** math.floor(math.log10(rough))
    if rough >= 1.0:
        steps = [step * max(power / 10.0, 1.0) for step in STEPS]
    else:
        steps = [step * power for step in (1, 2, 5, 10)]
    return next((step for step in steps if step >= rough), 10.0 * power)
