"""The plots of a report, as SVG that takes its colours from the page's own variables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil, floor, isfinite, log10

from coe.experiments.effect import Interval
from coe.page.markup import Child, Markup, element, joined
from coe.page.texts import fitted
from coe.reporting.report import ArmRow, Look

WIDTH, HEIGHT = 420.0, 220.0
LEFT, TOP, RIGHT, BOTTOM = 62.0, 12.0, 18.0, 42.0
NAMES = 150.0
"""Pixels of the names beside a forest plot."""
ROW = 26.0
STYLE = """
.band{fill:var(--bar);stroke:none}
.zero{stroke:var(--quiet);stroke-width:1.5}
.worth{stroke:var(--quiet);stroke-width:1;stroke-dasharray:3 4}
.whisker{stroke:var(--line);stroke-width:2}
.control{fill:var(--quiet)}
h1,h2,p,figcaption,.card{overflow-wrap:anywhere}
"""

Words = Callable[[float], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """One axis.

    Attributes:
        low, high: its ends, in the units of what is drawn.
        start, end: these in pixels.
    """

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return the pixel of a value; one outside stands at the end."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int = 5) -> list[float]:
        """Return round values along it."""
        step = _round((self.high - self.low) / most)
        first = ceil(self.low / step - 1e-9)
        return [place * step for place in range(first, floor(self.high / step + 1e-9) + 1)]


def course(looks: Sequence[Look], worth: float, words: Words, name: str) -> Markup:
    """Return the effect over time with its confidence sequence."""
    if not looks:
        return _empty(f"Effect of {name} over time", "too few units to draw anything yet")
    intervals = [look.interval for look in looks]
    low, high = _span([*_ends(intervals[len(intervals) // 10 :]), worth, -worth, 0.0])
    x = Scale(
        low=looks[0].at, high=max(looks[-1].at, looks[0].at + 1.0), start=LEFT, end=LEFT + WIDTH
    )
    y = Scale(low=low, high=high, start=TOP + HEIGHT, end=TOP)
    upper = [(x.at(look.at), y.at(look.interval.high)) for look in looks]
    lower = [(x.at(look.at), y.at(look.interval.low)) for look in looks]
    middle = [(x.at(look.at), y.at(look.interval.estimate)) for look in looks]
    last = looks[-1]
    return _svg(
        f"Effect of {name} over time: {_said(last.interval, words)} after {last.units:,} units",
        element("path", d=_path([*upper, *reversed(lower)]) + "Z", class_="band"),
        _grid_y(y, words),
        _times(x),
        [_across(y.at(value), "worth") for value in (worth, -worth)],
        _across(y.at(0.0), "zero"),
        element("path", d=_path(middle), class_="line"),
        element("circle", cx=middle[-1][0], cy=middle[-1][1], r=4, class_="dot"),
    )


def forest(rows: Sequence[tuple[str, Interval | None]], words: Words, name: str) -> Markup:
    """Return the effect in each category with its interval; nothing is drawn of too few units."""
    known = [interval for _, interval in rows if interval is not None]
    if not known:
        return _empty(f"Effect of {name} by category", "too few units in every category yet")
    low, high = _span([*_ends(known), 0.0])
    x = Scale(low=low, high=high, start=NAMES, end=LEFT + WIDTH - 16)
    height = ROW * len(rows)
    parts: list[Child] = [
        element("line", x1=x.at(0.0), x2=x.at(0.0), y1=TOP, y2=TOP + height, class_="zero")
    ]
    for tick in x.ticks():
        place = {"x": x.at(tick), "y": TOP + height + 18}
        parts.append(element("text", words(tick), class_="tick middle", **place))
    for number, (category, interval) in enumerate(rows):
        y = TOP + ROW * (number + 0.5)
        parts.append(
            element("text", fitted(category, NAMES - 12), x=NAMES - 8, y=y + 4, class_="count end")
        )
        if interval is None:
            parts.append(element("text", "too few", x=x.at(0.0) + 8, y=y + 4))
            continue
        parts += _whisker(x, y, interval, words, category)
    return _svg(f"Effect of {name} by category", *parts, height=height)


def scatter(arms: Sequence[ArmRow], words: Words) -> Markup:
    """Return quality against cost, a dot for each arm."""
    known = [arm for arm in arms if arm.cost is not None and arm.quality is not None]
    if not known:
        return _empty("Cost and quality", "cost or feedback is not known of any arm")
    costs = [arm.cost or 0.0 for arm in known]
    x = Scale(low=0.0, high=_round(1.15 * max(costs)) or 1.0, start=LEFT, end=LEFT + WIDTH)
    low, high = _span([arm.quality or 0.0 for arm in known], least=0.05)
    y = Scale(low=low, high=high, start=TOP + HEIGHT, end=TOP)
    dots: list[Child] = []
    for place, arm in enumerate(known):
        across, up = x.at(arm.cost or 0.0), y.at(arm.quality or 0.0)
        title = f"{arm.name}: {words(arm.quality or 0.0)} at {arm.cost:.4g}"
        kind = "control" if place == 0 else "dot"
        dots.append(element("circle", element("title", title), cx=across, cy=up, r=6, class_=kind))
        side = "end" if across > LEFT + WIDTH / 2 else ""
        shift = -10.0 if side else 10.0
        name = fitted(arm.name, NAMES)
        dots.append(
            element("text", name, x=across + shift, y=up + 4, class_=f"note {side}".strip())
        )
    axis = [
        element("text", f"{tick:.3g}", x=x.at(tick), y=TOP + HEIGHT + 18, class_="tick middle")
        for tick in x.ticks(4)
    ]
    names = {"x": LEFT + WIDTH / 2, "y": TOP + HEIGHT + 36}
    return _svg(
        "Cost and quality of the arms",
        _grid_y(y, words),
        axis,
        element("text", "cost of a request", class_="axis middle", **names),
        dots,
    )


def traffic(arms: Sequence[ArmRow]) -> Markup:
    """Return the units of each arm as bars, beside what its share says."""
    total = sum(arm.units for arm in arms)
    most = max([1.0, *(max(arm.units, arm.share * total) for arm in arms)])
    x = Scale(low=0.0, high=most, start=NAMES, end=LEFT + WIDTH - 60)
    parts: list[Child] = []
    for number, arm in enumerate(arms):
        y = TOP + ROW * number
        end, should = x.at(arm.units), x.at(arm.share * total)
        parts += (
            element(
                "text", fitted(arm.name, NAMES - 12), x=NAMES - 8, y=y + 17, class_="count end"
            ),
            element(
                "rect", x=NAMES, y=y + 5, width=max(1.0, end - NAMES), height=ROW - 10, class_="hit"
            ),
            element("line", x1=should, x2=should, y1=y + 1, y2=y + ROW - 1, class_="zero"),
            element("text", f"{arm.units:,}", x=max(end, should) + 6, y=y + 17, class_="count"),
        )
    return _svg("Units of each arm, and what its share says", *parts, height=ROW * len(arms))


def _whisker(x: Scale, y: float, interval: Interval, words: Words, name: str) -> Iterator[Markup]:
    yield element(
        "line", x1=x.at(interval.low), x2=x.at(interval.high), y1=y, y2=y, class_="whisker"
    )
    title = element("title", f"{name}: {_said(interval, words)}")
    yield element("circle", title, cx=x.at(interval.estimate), cy=y, r=4, class_="dot")


def _said(interval: Interval, words: Words) -> str:
    return f"{words(interval.estimate)}, {words(interval.low)} to {words(interval.high)}"


def _svg(title: str, *children: Child, height: float = HEIGHT) -> Markup:
    width, whole = LEFT + WIDTH + RIGHT, TOP + height + BOTTOM
    return element(
        "svg",
        element("title", title),
        *children,
        viewBox=f"0 0 {width:.0f} {whole:.0f}",
        role="img",
        aria_label=title,
    )


def _empty(title: str, why: str) -> Markup:
    text = element("text", why, x=LEFT + WIDTH / 2, y=TOP + 30, class_="axis middle")
    return _svg(title, text, height=40.0)


def _grid_y(y: Scale, words: Words) -> Markup:
    return joined(
        part
        for tick in y.ticks()
        for part in (
            _across(y.at(tick), "grid"),
            element("text", words(tick), x=LEFT - 6, y=y.at(tick) + 4, class_="tick end"),
        )
    )


def _across(y: float, kind: str) -> Markup:
    return element("line", x1=LEFT, x2=LEFT + WIDTH, y1=y, y2=y, class_=kind)


def _times(x: Scale) -> Markup:
    form = "%H:%M" if x.high - x.low < 2 * 86_400 else "%d %b"
    places = [x.low + share * (x.high - x.low) for share in (0.0, 0.5, 1.0)]
    kinds = ("", " middle", " end")
    return joined(
        element(
            "text",
            datetime.fromtimestamp(at, tz=UTC).strftime(form),
            x=x.at(at),
            y=TOP + HEIGHT + 18,
            class_=f"tick{kind}",
        )
        for at, kind in zip(places, kinds, strict=True)
    )


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _ends(intervals: Sequence[Interval]) -> list[float]:
    ends = [end for interval in intervals for end in (interval.low, interval.high)]
    return [end for end in ends if isfinite(end)]


def _span(values: Sequence[float], least: float = 1e-9) -> tuple[float, float]:
    """Return the ends of an axis that holds all values, with a little room."""
    low, high = min(values), max(values)
    room = max(0.08 * (high - low), least)
    return low - room, high + room


def _round(step: float) -> float:
    """Return the next of 1, 2, 5, 10, ... that is not under a step; 0 of 0."""
    if step <= 0:
        return 0.0
    power = 10.0 ** floor(log10(step))
    return next(unit * power for unit in (1.0, 2.0, 5.0, 10.0) if unit * power >= step * (1 - 1e-9))
