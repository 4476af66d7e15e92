"""How often drift alarms are false, and how soon they are right; and whether new categories show.

Streams are simulated; the groups are of CLINC150: intents that no router was told of, among prompts
that belong nowhere. Prints tables; there are no goals.
"""

from __future__ import annotations

from pathlib import Path
from statistics import mean, median

import numpy as np
from numpy.typing import NDArray

from benches import report
from benches.experiments_parts import Options
from benches.report import Metric
from coe.learning.clusters import propose
from coe.learning.drift import PageHinkley
from coe.protocols import EncoderSpec
from routers.encoders import minilm
from routers.store import stored

STREAMS = 100
LENGTH, CHANGE, AFTER = 10_000, 2000, 4000
SHARES = (0.05, 0.1, 0.3)
RISES = (0.05, 0.1, 0.2)
DRAWS = 8
INTENTS, EACH, NOWHERE = 5, 40, 300
OUT_OF_SCOPE = "oos"
BUILD = Path(__file__).parents[2] / "build" / "bench"


def measure(options: Options) -> list[Metric]:
    """Print the tables."""
    _alarms(options)
    path = options.data / "clinc150" / "clinc150.parquet"
    if path.is_file():
        _groups(options, path)
    else:
        options.console.print(f"skipped: CLINC150 is not at {path}")
    return []


def _alarms(options: Options) -> None:
    rows = []
    for share in SHARES:
        false = [_alarm(options.seed + n, share, 0.0) is not None for n in range(STREAMS)]
        row = [f"{share:.2f}", f"{mean(false):.1%}"]
        for rise in RISES:
            found = [_alarm(options.seed + n, share, rise) for n in range(STREAMS)]
            seen = [step - CHANGE for step in found if step is not None and step >= CHANGE]
            row.append(f"{median(seen):.0f} ({len(seen) / STREAMS:.0%})" if seen else "never")
        rows.append(row)
    head = ["share", f"false in {LENGTH:,}", *(f"seen, +{rise:.2f}" for rise in RISES)]
    title = f"Page-Hinkley on shares: requests until a rise is seen (within {AFTER:,})"
    options.console.print(report.table(title, head, rows))


def _alarm(seed: int, share: float, rise: float) -> int | None:
    """Return the request at which the alarm rose."""
    generator = np.random.default_rng(seed)
    length = CHANGE + AFTER if rise else LENGTH
    drawn = generator.random(length)
    detector = PageHinkley()
    for step, value in enumerate(drawn):
        now = share + (rise if step >= CHANGE else 0.0)
        detector = detector.seen(float(value < now))
        if detector.has_risen:
            return step
    return None


def _groups(options: Options, path: Path) -> None:
    from pyarrow import parquet

    table = parquet.read_table(path).to_pydict()
    labels, texts = np.array(table["label"]), np.array(table["text"])
    intents = [name for name in np.unique(labels) if name != OUT_OF_SCOPE]
    encoder = stored(minilm.build(EncoderSpec(name="minilm", type="minilm")), str(BUILD))
    found, purity, reached, count = [], [], [], []
    for number in range(options.seed, options.seed + DRAWS):
        generator = np.random.default_rng(number)
        new = generator.choice(intents, INTENTS, replace=False)
        rows = np.concatenate(
            [
                *(
                    generator.choice(np.flatnonzero(labels == name), EACH, replace=False)
                    for name in new
                ),
                generator.choice(np.flatnonzero(labels == OUT_OF_SCOPE), NOWHERE, replace=False),
            ]
        )
        groups = propose(encoder.encode([str(text) for text in texts[rows]]))
        members = [labels[rows][list(group.members)] for group in groups]
        tops = [_top(inside) for inside in members]
        found.append(len({name for name, _ in tops if name in new}))
        count.append(len(groups))
        purity += [most / len(inside) for (_, most), inside in zip(tops, members, strict=True)]
        reached.append(sum(most for name, most in tops if name in new) / (INTENTS * EACH))
    rows_ = [
        [
            f"{mean(found):.2f} of {INTENTS}",
            f"{mean(count):.2f}",
            f"{mean(purity):.2f}",
            f"{mean(reached):.2f}",
        ]
    ]
    head = ("intents found", "groups", "purity", "prompts of intents in groups")
    title = (
        f"New categories: {INTENTS} unknown intents, {EACH} prompts each, among {NOWHERE} others"
    )
    options.console.print(report.table(title, head, rows_))


def _top(inside: NDArray[np.str_]) -> tuple[str, int]:
    """Return the label that most have, and how many do."""
    names, counts = np.unique(inside, return_counts=True)
    place = int(counts.argmax())
    return str(names[place]), int(counts[place])
