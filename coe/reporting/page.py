"""A report as one page for people who were not there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from coe.page.markup import Child, Markup, element
from coe.page.parts import card, figure, section, table
from coe.page.parts import page as whole
from coe.page.texts import shown
from coe.reporting import plots, text
from coe.reporting.report import Report

ALWAYS = (
    "The interval of a sequential experiment holds at every look, so that looking early costs"
    " nothing; it is wider than that of a single look for the same reason."
)
BROKEN = (
    "A broken split (sample-ratio alarm) means that units were lost or dealt wrongly: then no"
    " difference can be believed."
)
ACTIONS = {
    "keep going": "Nothing to do: let it run. It may be looked at any time.",
    "arm better": "`coe exp promote {name} {arm}` makes this arm the file's own way.",
    "control better": "`coe exp pause {name}`: the arms are worse.",
    "no difference": "`coe exp pause {name}`, or promote the simpler or cheaper of them.",
    "undecided": "Decide by cost and simplicity, or run it again with more units.",
    "broken split": "Find out why units are missing before anything else is believed.",
    "guardrail": "`coe exp pause {name}`, and look at what the arm breaks.",
}


def page(report: Report) -> bytes:
    """Return the page."""
    title = f"Experiment: {shown(report.experiment)}"
    return whole(
        title,
        element("header", element("h1", title), _opening(report)),
        element("div", *_cards(report), class_="cards"),
        _arms(report),
        *(part for compared in report.verdict.compared for part in _arm(report, compared.arm)),
        _pictures(report),
        _reading(report),
        style=plots.STYLE,
    ).encode()


def _opening(report: Report) -> Iterator[Markup]:
    action = ACTIONS[report.verdict.value].format(name=report.experiment, arm=report.verdict.arm)
    yield element("p", _coded(report.verdict.sentence), class_="lead")
    yield element("p", element("strong", "What to do: "), _coded(action))
    yield element("p", "Compared: ", _coded(text.what(report)), ".", class_="quiet")


def _cards(report: Report) -> Iterator[Markup]:
    ratio = report.verdict.sample_ratio
    yield card(report.verdict.value, "verdict", "looked at any time, it keeps its promise")
    yield card(
        "broken" if ratio.is_broken else "fair", "split", f"p = {ratio.p_always:.2g}, always valid"
    )
    for compared in report.verdict.compared:
        interval = compared.interval
        yield card(
            "-" if interval is None else text.amount(report, interval.estimate, signed=True),
            f"{report.metric} of {shown(compared.arm, 40)}",
            text.between(report, interval),
        )
    if report.agreed is not None:
        yield card(f"{report.agreed:.0%}", "judge agrees", "with itself, in both orders")


def _arms(report: Report) -> Markup:
    rows: list[Sequence[Child]] = [text.row(report, arm) for arm in report.arms]
    note = (
        f"The first arm is the control. A unit is one {_unit(report)}; what it did is averaged"
        " before arms are compared, because its requests resemble each other."
    )
    return section("The arms", note, table(text.HEADS, rows, numbers=range(1, len(text.HEADS))))


def _arm(report: Report, name: str) -> Iterator[Markup]:
    words = partial(text.amount, report, signed=True)
    course = plots.course(report.course[name], report.worth, words, name)
    rows = [(one.category, one.interval) for one in report.categories[name]]
    harms = next(one.harms for one in report.verdict.compared if one.arm == name)
    yield section(
        f"{shown(name)} against {shown(report.arms[0].name)}",
        f"How {report.metric} differs: above 0 the arm has more of it.",
        [element("p", _coded(harm.sentence(name, report.arms[0].name))) for harm in harms],
        element(
            "div",
            figure(
                course,
                "Over time",
                "The line is the difference so far, the band its confidence sequence: with the"
                " confidence asked for, the truth is inside all along. Dotted: the smallest"
                " difference worth having.",
            ),
            figure(
                plots.forest(rows, words, name),
                "By category",
                "Intervals of all categories together: each is wide enough that all hold at once.",
            ),
            class_="figures",
        ),
    )


def _pictures(report: Report) -> Markup:
    return section(
        "All arms",
        "What they cost, and who was in them.",
        element(
            "div",
            figure(
                plots.scatter(report.arms, lambda value: f"{value:.0%}"),
                "Cost and quality",
                "Quality is the mean of what people said, or a judge; grey is the control.",
            ),
            figure(
                plots.traffic(report.arms),
                "Traffic",
                "Bars are units, the mark is what the arm's share says.",
            ),
            class_="figures",
        ),
    )


def _reading(report: Report) -> Markup:
    notes = [ALWAYS, BROKEN]
    if report.crossed:
        notes.append(
            f"{report.crossed:,} units were seen in two arms, because shares or salt were changed;"
            " they are in neither."
        )
    if report.mode == "shadow":
        notes.append("The arms' answers were seen by nobody; a judge compared them blind.")
    return section("How to read this", "", [element("p", note) for note in notes])


def _coded(sentence: str) -> list[Child]:
    """Return a sentence whose names between backticks are set as code."""
    parts = sentence.split("`")
    return [element("code", shown(part)) if place % 2 else part for place, part in enumerate(parts)]


def _unit(report: Report) -> str:
    return "answer" if report.mode == "shadow" else report.unit
