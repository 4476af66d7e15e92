"""The plots of the page, as SVG that takes its colours from the page's own variables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from coe.page.markup import Markup, element, joined
from coe.page.texts import fitted, shown
from routers.findings import Evaluation
from routers.metrics import RiskCoverage
from routers.report.words import named, number, percent

SIDE = 300.0  # pixels of a plot's area
LEFT, TOP, RIGHT, BOTTOM = 52.0, 14.0, 16.0, 44.0
MOST_POINTS = 200
MOST_CATEGORIES = 30  # of the confusion matrix; more cannot be read
HALF = 0.5  # a cell with more than that of its row is dark enough for text in the page's colour
COUNTED = 15  # with more categories, cells hold no numbers
NAME_WIDTH = 160.0  # pixels of a category's name beside the matrix


@dataclass(frozen=True, slots=True)
class Frame:
    """A plot's area with its scales.

    Attributes:
        most: the greatest value of the vertical axis; the horizontal one ends at 1.
    """

    most: float = 1.0

    def x(self, value: float) -> float:
        """Return the pixel of a horizontal value in [0, 1]."""
        return LEFT + value * SIDE

    def y(self, value: float) -> float:
        """Return the pixel of a vertical value in [0, most]."""
        return TOP + SIDE * (1.0 - min(value, self.most) / self.most)

    def path(self, points: Sequence[tuple[float, float]]) -> str:
        """Return a line through points."""
        return "M" + "L".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)

    def axes(self, horizontal: str, vertical: str) -> Markup:
        """Return grid lines, ticks and the names of the axes."""
        parts: list[Markup] = []
        for step in range(6):
            share = step / 5
            x, y = self.x(share), self.y(share * self.most)
            parts += (
                element("line", x1=LEFT, x2=LEFT + SIDE, y1=y, y2=y, class_="grid"),
                element("text", f"{share:.1f}", x=x, y=TOP + SIDE + 16, class_="tick middle"),
                element("text", _tick(share * self.most), x=LEFT - 6, y=y + 4, class_="tick end"),
            )
        across = {"x": LEFT + SIDE / 2, "y": TOP + SIDE + 36}
        turned = f"translate(14 {TOP + SIDE / 2}) rotate(-90)"
        parts += (
            element("text", horizontal, class_="axis middle", **across),
            element("text", vertical, transform=turned, class_="axis middle"),
        )
        return joined(parts)


def reliability(evaluation: Evaluation) -> Markup:
    """Return the reliability diagram: how often the router is right, by how sure it is."""
    frame, diagram = Frame(), evaluation.calibration.diagram
    bins = list(
        zip(
            diagram.confidence.tolist(),
            diagram.accuracy.tolist(),
            diagram.count.tolist(),
            strict=True,
        )
    )
    gaps = [
        element("line", x1=frame.x(c), x2=frame.x(c), y1=frame.y(c), y2=frame.y(a), class_="gap")
        for c, a, _ in bins
    ]
    dots = [
        element(
            "circle",
            element("title", f"said {c:.3f}, right {a:.3f} ({n} rows)"),
            cx=frame.x(c),
            cy=frame.y(a),
            r=4,
            class_="dot",
        )
        for c, a, n in bins
    ]
    line = element("path", d=frame.path([(c, a) for c, a, _ in bins]), class_="line")
    return _svg(
        f"Reliability diagram, expected calibration error {number(evaluation.calibration.ece)}",
        frame.axes("probability of the best category", "share that is right"),
        element("path", d=frame.path([(0, 0), (1, 1)]), class_="ideal"),
        gaps,
        line,
        dots,
    )


def risk_coverage(evaluation: Evaluation) -> Markup:
    """Return the risk-coverage curve, the best one possible, and where the composition stands."""
    curve = evaluation.risk_coverage
    points = _thinned(curve)
    outcomes = evaluation.outcomes
    answered = outcomes.right + outcomes.mistaken + outcomes.let_in
    coverage = answered / evaluation.rows
    risk = 1.0 - outcomes.right / answered if answered else 0.0
    frame = Frame(_ceiling(max(risk, *(y for _, y in points))))
    error = float(curve.risk[-1])
    ideal = [(x, max(0.0, 1.0 - (1.0 - error) / x)) for x in np.linspace(0.005, 1.0, 100).tolist()]
    here = element(
        "circle",
        element("title", f"answers {percent(coverage)} of the rows, {percent(risk)} of them wrong"),
        cx=frame.x(coverage),
        cy=frame.y(risk),
        r=6,
        class_="here",
    )
    # In the corner where the curve seldom is: beside the dot it would cover the curve or the axis.
    legend = [
        element("circle", cx=LEFT + 12, cy=TOP + 12, r=5, class_="here"),
        element(
            "text",
            f"now: {percent(coverage)} answered, {percent(risk)} wrong",
            x=LEFT + 23,
            y=TOP + 16,
            class_="note",
        ),
    ]
    return _svg(
        f"Risk-coverage curve, area {number(evaluation.aurc, 4)}",
        frame.axes("share of the rows that is answered", "share of these that is wrong"),
        element("path", d=frame.path(ideal), class_="ideal"),
        element("path", d=frame.path(points), class_="line"),
        here,
        legend,
    )


def confusion(evaluation: Evaluation) -> Markup:
    """Return the confusion matrix: a row per category, shaded by the share of the row."""
    counts = evaluation.decided.confusion
    places = shown_categories(evaluation)
    names = [named((*evaluation.categories, None)[place]) for place in places]
    cell = max(16.0, min(44.0, 540.0 / len(places)))
    margin = NAME_WIDTH + 12
    cells = []
    for row, label in enumerate(places):
        total = int(counts[label].sum())
        for column, chosen in enumerate(places):
            if count := int(counts[label, chosen]):
                x, y = margin + column * cell, margin + row * cell
                title = f"{names[row]} -> {names[column]}: {count} of {total}"
                share = count / total
                cells.append(_cell(x, y, cell, share, title, is_right=row == column))
                if len(places) <= COUNTED:
                    at = {"x": x + cell / 2, "y": y + cell / 2 + 4}
                    kind = "count middle inverse" if share > HALF else "count middle"
                    cells.append(element("text", count, class_=kind, **at))
    side = margin + cell * len(places)
    lines: list[Markup] = []
    for place in range(len(places) + 1):
        at_cell = margin + place * cell
        lines += (
            element("line", x1=margin, x2=side, y1=at_cell, y2=at_cell, class_="grid"),
            element("line", y1=margin, y2=side, x1=at_cell, x2=at_cell, class_="grid"),
        )
    heads: list[Markup] = []
    for place, name in enumerate(names):
        middle = margin + (place + 0.5) * cell
        short = fitted(shown(name), NAME_WIDTH)
        turned = f"translate({middle + 4:.1f} {margin - 8:.0f}) rotate(-60)"
        heads += (
            element("text", short, x=margin - 8, y=middle + 4, class_="tick end"),
            element("text", short, transform=turned, class_="tick"),
        )
    width = side + NAME_WIDTH / 2  # the last name leans over the edge
    box = f"0 0 {width:.0f} {side + 10:.0f}"
    title = element("title", "Confusion matrix: a row per category, a column per choice")
    picture: dict[str, str | float] = {"viewBox": box, "width": width, "height": side + 10}
    return element("svg", title, lines, cells, heads, role="img", class_="matrix", **picture)


def shown_categories(evaluation: Evaluation) -> list[int]:
    """Return the places of the matrix that are shown: all, or those with the most mistakes."""
    counts = evaluation.decided.confusion
    places = [place for place in range(len(counts)) if counts[place].sum() + counts[:, place].sum()]
    if len(places) <= MOST_CATEGORIES:
        return places
    wrong = counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diagonal(counts)
    worst = sorted(places, key=lambda place: -int(wrong[place]))[:MOST_CATEGORIES]
    return sorted(worst)


def _cell(x: float, y: float, side: float, share: float, title: str, *, is_right: bool) -> Markup:
    return element(
        "rect",
        element("title", title),
        x=x,
        y=y,
        width=side,
        height=side,
        fill_opacity=max(0.12, share),
        class_="hit" if is_right else "miss",
    )


def _svg(title: str, *children: Markup | list[Markup]) -> Markup:
    width, height = LEFT + SIDE + RIGHT, TOP + SIDE + BOTTOM
    box = f"0 0 {width:.0f} {height:.0f}"
    picture: dict[str, str | float] = {"viewBox": box, "width": width, "height": height}
    return element("svg", element("title", title), *children, role="img", **picture)


def _thinned(curve: RiskCoverage) -> list[tuple[float, float]]:
    places = np.unique(np.linspace(0, len(curve.risk) - 1, MOST_POINTS).astype(int))
    return [(float(curve.coverage[place]), float(curve.risk[place])) for place in places]


def _ceiling(value: float) -> float:
    """Return the least of some round numbers that is not below a value."""
    return next((top for top in (0.02, 0.05, 0.1, 0.2, 0.3, 0.5) if value <= top), 1.0)


def _tick(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".") or "0"
