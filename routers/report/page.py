"""An evaluation as one HTML page: no script, no other file, no network, light or dark."""

from __future__ import annotations

import re
from collections.abc import Iterator

from coe.page.markup import Child, Markup, element, joined
from coe.page.parts import Row, card, figure, page, section, table
from coe.page.texts import shown
from routers.findings import Evaluation, Mistake
from routers.report import plots
from routers.report.words import confused, named, number, percent, sentences, threshold

MOST_WRONG = 300
MOST_CONFUSED = 12
MOST_EVIDENCE = 2
SEPARATORS = re.compile(r"(?<=[._:@+-])(?=\w)")


def render(evaluation: Evaluation) -> str:
    """Return the page."""
    return page(f"Router {evaluation.router}: evaluation", *_sections(evaluation))


def _sections(evaluation: Evaluation) -> Iterator[Markup]:
    yield _opening(evaluation)
    yield element("div", *_cards(evaluation), class_="cards")
    yield _curves(evaluation)
    if evaluation.suggestions:
        yield _suggestions(evaluation)
    yield _categories(evaluation)
    yield _confusion(evaluation)
    yield _stability(evaluation)
    if evaluation.wrong:
        yield _wrong(evaluation)
    yield _all_numbers(evaluation)


def _opening(evaluation: Evaluation) -> Markup:
    rows = (
        f"{evaluation.rows} labelled texts: {evaluation.inside} of "
        f"{len(evaluation.categories)} categories, {evaluation.outside} of none."
    )
    if evaluation.rows_digest:
        rows += f" Digest of the rows: {evaluation.rows_digest}."
    return element(
        "header",
        element("h1", f"Router “{shown(evaluation.router)}”"),
        [element("p", sentence, class_="lead") for sentence in sentences(evaluation)],
        element("p", rows, class_="quiet"),
    )


def _cards(evaluation: Evaluation) -> Iterator[Markup]:
    yield card(percent(evaluation.best.accuracy), "accuracy", "best category, texts inside")
    yield card(percent(evaluation.decided.accuracy), "as decided", "with thresholds, all texts")
    if (scope := evaluation.out_of_scope) is not None:
        yield card(number(scope.auroc), "out-of-scope AUROC", "1 separates perfectly, 0.5 not")
        yield card(percent(scope.recall), "strangers kept out", "when 95 % of the rest come in")
    ece = evaluation.calibration.ece
    yield card(number(ece), "calibration error", "mean gap of said and true")
    if evaluation.stability:
        noise = evaluation.stability[0]
        yield card(percent(noise.unchanged_share), "stable", f"choices under {noise.change}")
    p50_ms = evaluation.latency.p50_ms
    digits = 1 if p50_ms >= 10 else 2  # noqa: PLR2004 - as many as the card has room for
    yield card(f"{number(p50_ms, digits)} ms", "latency", "p50, one new text")


def _curves(evaluation: Evaluation) -> Markup:
    figures = [
        figure(
            plots.risk_coverage(evaluation),
            "How wrong, by how much is answered",
            "Answering only the surest texts first, how many of the answers are wrong. Low and to "
            "the right is good; the dashed line is what perfect knowledge of one's own errors "
            "would give. The dot is the composition as it is: another threshold moves it along "
            "the curve.",
        )
    ]
    if len(evaluation.calibration.diagram.count):
        reliability = figure(
            plots.reliability(evaluation),
            "Whether a probability means what it says",
            "Texts inside in bins of equal size. On the dashed line, of the texts said to be 0.8 "
            "sure 80 % are right. Above it the router is too modest, below it too sure.",
        )
        figures.insert(0, reliability)
    return element("section", element("h2", "How sure, and how rightly"), _row(figures))


def _row(figures: list[Markup]) -> Markup:
    return element("div", *figures, class_="figures")


def _suggestions(evaluation: Evaluation) -> Markup:
    rows = [
        (
            _name(found.category),
            _said(found.text),
            found.covers,
            _said(found.nearest) if found.nearest else "",
            number(found.similarity, 2),
        )
        for found in evaluation.suggestions
    ]
    note = (
        "Texts that went wrong and are far from what is there, most helpful first. “Speaks for” "
        "counts the failures, itself included, that it comes nearest to. Measure on other texts "
        "afterwards: what became an utterance proves nothing."
    )
    heads = ("category", "text", "speaks for", "nearest utterance now", "cosine")
    return section("Utterances that would help most", note, table(heads, rows, numbers=(2, 4)))


def _categories(evaluation: Evaluation) -> Markup:
    rates = evaluation.decided.rates
    rows: list[Row] = [
        (
            _name(name),
            int(rates.support[column]),
            *(_bar(float(r[column])) for r in (rates.precision, rates.recall, rates.f1)),
            threshold(evaluation.thresholds[column]),
        )
        for column, name in enumerate(evaluation.categories)
    ]
    note = (
        "As the composition chooses. Low precision: it takes what is not its own; raise its "
        "threshold or give it negatives. Low recall: its own texts miss it; give it utterances."
    )
    heads = ("category", "texts", "precision", "recall", "F1", "threshold")
    return section("By category", note, table(heads, rows, numbers=(1, 5)))


def _bar(share: float) -> Markup:
    width = f"width:{100 * share:.0f}%" if share >= 0 else "width:0"  # NaN is not
    bar = element("span", element("span", style=width), class_="bar")
    return element("span", bar, number(share), class_="measure")


def _confusion(evaluation: Evaluation) -> Markup:
    pairs = [
        (pair.count, _name(pair.category), _name(pair.chosen))
        for pair in confused(evaluation, MOST_CONFUSED)
    ]
    hidden = len(evaluation.categories) + 1 - len(plots.shown_categories(evaluation))
    note = "A row is where a text belongs, a column what it was given, shaded by share of the row."
    if hidden > 0:
        note += f" {hidden} categories without texts, or with the fewest mistakes, are left out."
    listed = table(("texts", "belong to", "were given"), pairs, numbers=(0,)) if pairs else ""
    return section(
        "What is mixed up",
        note,
        element("div", plots.confusion(evaluation), class_="wide"),
        listed,
    )


def _stability(evaluation: Evaluation) -> Markup:
    rows = [
        (row.change, percent(row.unchanged_share), row.choice_flips, row.best_flips, row.changed)
        for row in evaluation.stability
    ]
    tried = evaluation.stability[0].texts if evaluation.stability else 0
    note = f"The same {tried} texts in other words; 2 % of the characters are mistyped as noise."
    heads = ("change", "choices unchanged", "choices changed", "best changed", "texts changed")
    latency = evaluation.latency
    speed = (
        f"A new text, scored alone in one thread: p50 {number(latency.p50_ms, 2)} ms, "
        f"p95 {number(latency.p95_ms, 2)} ms, p99 {number(latency.p99_ms, 2)} ms "
        f"({latency.texts} texts, the encoder included)."
    )
    stages: Child = ""
    if len(evaluation.stages) > 1:
        decided = [(shown(stage), percent(share)) for stage, share in evaluation.stages.items()]
        stages = table(("decided by", "of the texts"), decided, numbers=(1,))
    listed = table(heads, rows, numbers=(1, 2, 3, 4))
    return section("How stable, how fast", note, listed, element("p", speed), stages)


def _wrong(evaluation: Evaluation) -> Markup:
    rows = [_mistake(mistake) for mistake in evaluation.wrong[:MOST_WRONG]]
    note = "The surest first: those at the top are wrong labels, overlaps, or missing negatives."
    if (more := len(evaluation.wrong) - MOST_WRONG) > 0:
        note += f" {more} more are in the JSON report."
    heads = ("sure", "belongs to", "was given", "text and what spoke for the best category")
    listed = table(heads, rows, numbers=(0,))
    summary = element("summary", f"{len(evaluation.wrong)} texts")
    return section("What went wrong", note, element("details", summary, listed))


def _mistake(mistake: Mistake) -> Row:
    chosen: list[Child] = [_name(mistake.chosen)]
    if mistake.chosen != mistake.best:
        chosen += [" (best: ", _name(mistake.best), ")"]
    because = [
        element(
            "div", f"{item.kind} of ", _name(item.category), ": ", _said(item.text), class_="quiet"
        )
        for item in mistake.evidence[:MOST_EVIDENCE]
    ]
    text = joined([_said(mistake.text), *because])
    return number(mistake.probability), _name(mistake.category), chosen, text


def _all_numbers(evaluation: Evaluation) -> Markup:
    calibration, scope = evaluation.calibration, evaluation.out_of_scope
    rows: list[Row] = [
        ("accuracy of the best category, texts inside", number(evaluation.best.accuracy, 4)),
        ("macro-F1, the same", number(evaluation.best.macro_f1, 4)),
        ("accuracy as decided, all texts", number(evaluation.decided.accuracy, 4)),
        ("macro-F1 as decided", number(evaluation.decided.macro_f1, 4)),
        ("expected calibration error, texts inside", number(calibration.ece, 4)),
        ("the same, all texts", number(calibration.ece_all, 4)),
        ("Brier score (0 to 2)", number(calibration.brier, 4)),
        ("negative log-likelihood, nats", number(calibration.nll, 4)),
        ("area under the risk-coverage curve", number(evaluation.aurc, 5)),
    ]
    if scope is not None:
        rows += [
            ("out-of-scope AUROC", number(scope.auroc, 4)),
            ("false positives at 95 % recall", number(scope.fpr, 4)),
            ("out-of-scope recall at 95 % acceptance", number(scope.recall, 4)),
            ("joint accuracy there", number(scope.joint_accuracy, 4)),
            ("the threshold there", number(scope.threshold, 4)),
        ]
    listed = table(("measure", "value"), rows, numbers=(1,))
    return section("All numbers", "", element("details", element("summary", "show"), listed))


def _name(category: str | None) -> Markup:
    """Return a category's name, which may be broken after a separator and nowhere else."""
    pieces = SEPARATORS.split(shown(named(category)))
    return joined([pieces[0], *((element("wbr"), piece) for piece in pieces[1:])])


def _said(text: str) -> Markup:
    # Isolated: a right-to-left text must not turn what stands beside it around.
    return element("bdi", shown(text))
