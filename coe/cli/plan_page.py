"""What each rule would do on a trace, as one page for people who were not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from coe.cli import timeline
from coe.cli.timeline import Window, busiest_first, lasting, legend, picture
from coe.page.markup import Child, Markup, element
from coe.page.parts import page as whole
from coe.page.parts import section, table
from coe.scheduler.chronicle import Record
from coe.scheduler.measures import Figures
from coe.scheduler.traces import Arrival

SAID = {
    "first come": "Strictly in the order of arrival; the least recently used expert leaves.",
    "coalescing": "In the order of arrival, but an expert that is loaded takes all its calls that "
    "wait at that moment.",
    "llama-swap's rule": "Whoever is loaded serves until nothing of it runs; then the oldest call "
    "decides.",
    "fifo": "The gateway's scheduler, strictly in the order of arrival (strategy: fifo).",
    "affinity": "The gateway's default: calls go with who is in memory, and who waits too long has "
    "its turn.",
    "edf": "The gateway's scheduler, by deadlines; calls without one are due a minute after they "
    "came (strategy: edf).",
}
DEFAULT = "affinity"
HEADS = (
    *("rule", "calls/s", "mean wait", "p50", "p99", "worst", "loads per 1,000 calls"),
    *("at least", "worst expert", "refused"),
)
LONGEST = 1.6  # times the shortest run: a rule that takes longer is not drawn to its end
CLOSE = 20  # a close-up shows so small a part of the whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What came of one rule.

    Attributes:
        record: None where nobody looks at it.
    """

    figures: Figures
    record: Record | None


def page(
    trace: Sequence[Arrival],
    said: str,
    found: Mapping[str, Played],
    hits: Mapping[int, float],
) -> str:
    """Return the page.

    Args:
        trace: the calls, in order of time.
        said: a sentence on memory and loads.
        found: by rule.
        hits: the best hit rate by number of slots.
    """
    records = {name: one.record for name, one in found.items() if one.record is not None}
    span = _whole(trace, records)
    close = _close(trace, span)
    title = "Scheduling: what each rule would do"
    return whole(
        title,
        element(
            "header",
            element("h1", title),
            [element("p", sentence, class_="lead") for sentence in _opening(trace, said, found)],
        ),
        _figures(found),
        section(
            "Who was in memory when",
            "A lane for each expert, those with the most calls first, and under them how many calls"
            f" waited. Every rule has the same {lasting(span.until_s - span.from_s)} from left to "
            "right. Point at a lane to have it in numbers.",
            legend(),
            (_rule(name, record, trace, (span, close)) for name, record in records.items()),
        ),
        _consistency(hits),
        style=timeline.STYLE,
    )


def _opening(trace: Sequence[Arrival], said: str, found: Mapping[str, Played]) -> Iterator[str]:
    experts = len({call.expert for call in trace})
    took_s = trace[-1].at_s - trace[0].at_s
    yield f"{len(trace):,} calls for {experts} experts came within {lasting(took_s)}. {said}"
    fewest = min(found, key=lambda name: found[name].figures.swaps)
    shortest = min(found, key=lambda name: found[name].figures.mean_s)
    yield (
        f"The fewest loads: “{fewest}”, {found[fewest].figures.swaps:.0f} per 1,000 calls. "
        f"The shortest waits: “{shortest}”, {lasting(found[shortest].figures.mean_s)} in the mean."
    )
    if DEFAULT in found and "fifo" in found:
        ours, order = found[DEFAULT].figures, found["fifo"].figures
        yield (
            f"“{DEFAULT}”, the gateway's default: {ours.swaps:.0f} loads per 1,000 calls and a mean"
            f" wait of {lasting(ours.mean_s)}. In the order of arrival (“fifo”): {order.swaps:.0f} "
            f"and {lasting(order.mean_s)}."
        )


def _figures(found: Mapping[str, Played]) -> Markup:
    rows: list[Sequence[Child]] = [
        (
            name,
            f"{one.rate:.3f}",
            *(lasting(value) for value in (one.mean_s, one.p50_s, one.p99_s, one.worst_s)),
            f"{one.swaps:.1f}",
            f"{one.least_swaps:.1f}",
            f"{one.worst_expert:.2f} x",
            one.refused,
        )
        for name, one in ((name, played.figures) for name, played in found.items())
    ]
    note = (
        "A wait ends when the call starts. “At least” is a lower bound on the loads of anybody who "
        "lets nobody wait longer than this rule did. “Worst expert” is the mean wait of the expert "
        "that waited most, against the mean of all calls."
    )
    return section("In numbers", note, table(HEADS, rows, numbers=range(1, len(HEADS))))


def _rule(
    name: str, record: Record, trace: Sequence[Arrival], windows: tuple[Window, Window | None]
) -> Markup:
    span, close = windows
    experts = busiest_first(record, (call.expert for call in trace))
    hidden = len(experts) - timeline.MOST_LANES
    notes = [SAID.get(name, "")]
    if record.until_s > span.until_s:
        notes.append(f"It went on until {lasting(record.until_s - span.from_s)}.")
    if hidden > 0:
        notes.append(f"{hidden} more experts have no lane here.")
    parts: list[Child] = [
        element("strong", name),
        element("p", " ".join(note for note in notes if note), class_="quiet"),
        element("div", picture(record, experts, span, f"{name}: all of it"), class_="wide"),
    ]
    if close is not None:
        begins = lasting(close.from_s - span.from_s)
        long = lasting(close.until_s - close.from_s)
        parts += (
            element("p", f"The {long} in which most calls came, from {begins} on:", class_="quiet"),
            element("div", picture(record, experts, close, f"{name}: close-up"), class_="wide"),
        )
    return element("figure", *parts, class_="lanes")


def _consistency(hits: Mapping[int, float]) -> Markup:
    rows: list[Sequence[Child]] = []
    for slots, share in hits.items():
        bar = element("span", element("span", style=f"width:{100 * share:.0f}%"), class_="bar")
        measure = element("span", bar, f"{share:.0%}", class_="measure")
        rows.append((slots, measure))
    note = (
        "Local routing consistency: of the calls in the order in which they came, the share that "
        "would have found their expert in memory if whoever chooses who leaves knew the future. It "
        "measures the trace: how much is to be had without changing the order of calls."
    )
    heads = ("experts in memory", "best hit rate")
    return section("How much the trace repeats itself", note, table(heads, rows, numbers=(0,)))


def _whole(trace: Sequence[Arrival], records: Mapping[str, Record]) -> Window:
    begin_s = trace[0].at_s
    ends = sorted(record.until_s for record in records.values()) or [trace[-1].at_s]
    return Window(begin_s, min(ends[-1], begin_s + LONGEST * (ends[0] - begin_s)))


def _close(trace: Sequence[Arrival], span: Window) -> Window | None:
    """Return the stretch in which most calls arrive; None where all of it is short."""
    long_s = (span.until_s - span.from_s) / CLOSE
    if len(trace) < 3 * CLOSE:
        return None
    best, most, first = span.from_s, 0, 0
    for last, call in enumerate(trace):
        while trace[first].at_s < call.at_s - long_s:
            first += 1
        if last - first + 1 > most:
            best, most = trace[first].at_s, last - first + 1
    return Window(best, best + long_s)
