"""An evaluation, or what calibrating changes, as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from coe.page.texts import shown
from coe.tools import ChosenThreshold
from routers.findings import Evaluation, Mistake, Outcomes
from routers.report.words import (
    columns,
    confused,
    named,
    number,
    percent,
    sentences,
    threshold,
)

MOST_CONFUSED = 8
MOST_WRONG = 1000
MOST_EVIDENCE = 2


def render(evaluation: Evaluation, *, wrong: bool) -> str:
    """Return the report; `wrong` adds the texts that went wrong, the surest first."""
    parts = [
        [_rows(evaluation)],
        list(sentences(evaluation)),
        columns(list(_measures(evaluation)), right=(1,)),
        ["by category, as the composition chooses:", *_categories(evaluation)],
    ]
    if pairs := confused(evaluation, MOST_CONFUSED):
        rows = [(str(p.count), f"{named(p.category)} -> {named(p.chosen)}") for p in pairs]
        parts.append(["mixed up most often:", *_indented(columns(rows, right=(0,)))])
    if evaluation.suggestions:
        parts.append(["utterances that would help most:", *_suggestions(evaluation)])
    if wrong:
        parts.append(_wrong(evaluation))
    elif evaluation.wrong:
        parts.append([f"{len(evaluation.wrong)} texts went wrong; --wrong lists them"])
    return "\n\n".join("\n".join(part) for part in parts)


def render_thresholds(
    gates: Mapping[str, ChosenThreshold], before: Outcomes, after: Outcomes
) -> str:
    """Return the gates and what they change on the rows that they were chosen on."""
    rows = [("category", "threshold", "rows", "")]
    for name, gate in gates.items():
        value = "closed" if gate.threshold is None else f"{gate.threshold:.4f}"
        rows.append((name, value, str(gate.rows), gate.why))
    changes = [("on these rows", "before", "now")]
    for word, field in (
        ("given their category", "right"),
        ("given another", "mistaken"),
        ("inside, given none", "refused"),
        ("outside, given a category", "let_in"),
        ("outside, given none", "kept_out"),
    ):
        changes.append((word, str(getattr(before, field)), str(getattr(after, field))))
    return "\n".join([*columns(rows, right=(1, 2)), "", *columns(changes, right=(1, 2))])


def _rows(evaluation: Evaluation) -> str:
    return (
        f"router `{evaluation.router}`: {evaluation.rows} rows, {evaluation.inside} inside "
        f"{len(evaluation.categories)} categories, {evaluation.outside} outside"
    )


def _measures(evaluation: Evaluation) -> Iterator[tuple[str, str, str]]:
    best, decided = evaluation.best, evaluation.decided
    yield "accuracy", number(best.accuracy), "of the best category, on the rows inside"
    yield "macro-F1", number(best.macro_f1), "the same, each category counting the same"
    yield "accuracy as decided", number(decided.accuracy), "with thresholds and margin, all rows"
    yield "macro-F1 as decided", number(decided.macro_f1), ""
    if (scope := evaluation.out_of_scope) is not None:
        yield "out-of-scope AUROC", number(scope.auroc), "inside from outside by the best score"
        yield (
            "FPR at 95 % recall",
            number(scope.fpr),
            "of the outside let in with 95 % inside",
        )
        yield "out-of-scope recall", number(scope.recall), "of the outside kept out then"
        yield "joint accuracy", number(scope.joint_accuracy), "all rows right then"
    calibration = evaluation.calibration
    yield "ECE", number(calibration.ece), "15 bins of equal mass, rows inside"
    yield "ECE, all rows", number(calibration.ece_all), "outside, every category is wrong"
    yield "Brier", number(calibration.brier), "0 is best, 2 is worst"
    yield "NLL", number(calibration.nll), "nats"
    yield "risk-coverage area", number(evaluation.aurc, 4), "mean error over all coverages"
    for row in evaluation.stability:
        note = f"choices unchanged; {row.changed} of {row.texts} texts were changed"
        yield row.change, percent(row.unchanged_share), note
    latency = evaluation.latency
    note = f"p50 to the scores of a new text; p95 {number(latency.p95_ms, 2)} ms"
    yield "latency", f"{number(latency.p50_ms, 2)} ms", note
    if len(evaluation.stages) > 1:
        for stage, share in evaluation.stages.items():
            yield f"decided by {stage}", percent(share), "of the rows"


def _categories(evaluation: Evaluation) -> list[str]:
    rates = evaluation.decided.rates
    rows: list[tuple[str, ...]] = [("category", "rows", "precision", "recall", "F1", "threshold")]
    for column, name in enumerate(evaluation.categories):
        scores = (rates.precision[column], rates.recall[column], rates.f1[column])
        cells = [number(score) for score in scores]
        support = str(rates.support[column])
        rows.append((name, support, *cells, threshold(evaluation.thresholds[column])))
    return _indented(columns(rows, right=(1, 2, 3, 4, 5)))


def _suggestions(evaluation: Evaluation) -> list[str]:
    rows = []
    for found in evaluation.suggestions:
        # Before the text, which may be long.
        covers = f"for {found.covers} texts" if found.covers > 1 else ""
        rows.append((found.category, covers, shown(found.text)))
    return _indented(columns(rows))


def _wrong(evaluation: Evaluation) -> list[str]:
    lines = [f"{len(evaluation.wrong)} texts went wrong, the surest first:"]
    for mistake in evaluation.wrong[:MOST_WRONG]:
        lines += _indented(_mistake(mistake))
    if (more := len(evaluation.wrong) - MOST_WRONG) > 0:
        lines.append(f"  and {more} more: --json has them all")
    return lines


def _mistake(mistake: Mistake) -> list[str]:
    best = "" if mistake.chosen == mistake.best else f" (best: {mistake.best})"
    way = f"{named(mistake.category)} -> {named(mistake.chosen)}{best}"
    lines = [f"{mistake.probability:.3f}  {way}: {shown(mistake.text)}"]
    for item in mistake.evidence[:MOST_EVIDENCE]:
        near = "" if item.similarity is None else f"{item.similarity:.3f} "
        lines.append(f"       {near}{item.kind} of {item.category}: {shown(item.text)}")
    return lines


def _indented(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]
