"""From how many utterances a compiled index finds the nearest faster: `python -m benches.index`.

The 40 utterances nearest to a text, as the votes of `nearest` need them: by numpy, as `routers`
does it, and by faiss, flat (exact), IVF and HNSW (both approximate). One thread each. The vectors
are drawn: 384 numbers, 150 categories, a mean cosine of 0.55 within one, about as the utterances of
CLINC150 have it. `shares` is what approximation does to the router: the greatest change of a
category's share of the votes, in the mean over texts. faiss is no part of the project:
`pip install faiss-cpu` into the environment first.

Writes build/bench/index.json.
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from routers.votes import Votes, nearest

BUILD = Path(__file__).parents[1] / "build" / "bench"
SIZES = (1_000, 3_000, 10_000, 30_000)
BATCHES = (1, 32)
DIM, CATEGORIES, NOISE = 384, 150, 0.9
NEIGHBOURS = 40
TEXTS = 64
PROBED, SEARCHED, LINKS = 16, 64, 32  # lists of IVF, candidates and links of HNSW
LEAST_S = 0.4  # how long one thing is timed

Vectors = NDArray[np.float32]
Places = NDArray[np.intp]
Search = Callable[[Vectors], tuple[Vectors, Places]]


@dataclass(frozen=True, slots=True)
class Row:
    """What one way of searching does at one size.

    Attributes:
        took_ms: median of one search, by the number of texts at once.
        recall: share of the true nearest that it finds.
        shares: greatest change of a category's share of the votes, mean over texts.
        built_s: what it takes to make the index.
    """

    name: str
    utterances: int
    took_ms: dict[int, float]
    recall: float
    shares: float
    built_s: float


def main() -> None:
    """Measure all sizes and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=SIZES[-1], help="largest number of utterances")
    most = parser.parse_args().most
    console = Console()
    try:
        faiss: Any = importlib.import_module("faiss")
    except ImportError:
        console.print("faiss is not installed: only numpy is measured (pip install faiss-cpu)")
        faiss = None
    else:
        faiss.omp_set_num_threads(1)
    rows = [row for size in SIZES if size <= most for row in measure(size, faiss)]
    console.print(_table(rows))
    BUILD.mkdir(parents=True, exist_ok=True)
    content = json.dumps([asdict(row) for row in rows], indent=2)
    BUILD.joinpath("index.json").write_text(f"{content}\n", encoding="utf-8")


def measure(size: int, faiss: Any) -> Iterator[Row]:
    """Yield what each way of searching does among so many utterances."""
    draw = np.random.default_rng(size)
    centres = draw.standard_normal((CATEGORIES, DIM), dtype=np.float32)
    owner = draw.integers(0, CATEGORIES, size + TEXTS)
    drawn = centres[owner] + NOISE * draw.standard_normal((len(owner), DIM), dtype=np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    vectors, texts, owner = drawn[:size], drawn[size:], owner[:size]

    def by_numpy(queries: Vectors) -> tuple[Vectors, Places]:
        return nearest(queries @ vectors.T, np.arange(size), NEIGHBOURS)

    truth = by_numpy(texts)
    for name, build in _ways(vectors, by_numpy, faiss):
        start = time.perf_counter()
        search = build()
        built_s = time.perf_counter() - start
        found = search(texts)
        yield Row(
            name,
            size,
            {batch: _median_ms(search, texts[:batch]) for batch in BATCHES},
            _recall(found[1], truth[1]),
            _change(found, truth, owner),
            built_s,
        )


def _ways(
    vectors: Vectors, by_numpy: Search, faiss: Any
) -> Iterator[tuple[str, Callable[[], Search]]]:
    yield "numpy", lambda: by_numpy
    if faiss is None:
        return
    lists = int(4 * np.sqrt(len(vectors)))

    def flat() -> Search:
        return _searching(faiss.IndexFlatIP(DIM), vectors)

    def ivf() -> Search:
        quantizer = faiss.IndexFlatIP(DIM)
        # 39 vectors to a list is the least that faiss trains on without a warning.
        count = max(1, min(lists, len(vectors) // 39))
        index = faiss.IndexIVFFlat(quantizer, DIM, count, faiss.METRIC_INNER_PRODUCT)
        index.nprobe = PROBED
        return _searching(index, vectors, keeps=quantizer)

    def hnsw() -> Search:
        index = faiss.IndexHNSWFlat(DIM, LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efSearch = SEARCHED
        return _searching(index, vectors)

    yield "faiss flat", flat
    yield f"faiss IVF, {PROBED} lists", ivf
    yield f"faiss HNSW, {SEARCHED} candidates", hnsw


def _searching(index: Any, vectors: Vectors, *, keeps: Any = None) -> Search:
    if not index.is_trained:
        index.train(vectors)
    index.add(vectors)

    def search(queries: Vectors, _kept: Any = keeps) -> tuple[Vectors, Places]:
        cosines, places = index.search(np.ascontiguousarray(queries), NEIGHBOURS)
        return cosines, places

    return search


def _median_ms(search: Search, queries: Vectors) -> float:
    took = []
    until = time.perf_counter() + LEAST_S
    while time.perf_counter() < until:
        start = time.perf_counter()
        search(queries)
        took.append(time.perf_counter() - start)
    return 1000 * float(np.median(took))


def _recall(found: Places, truth: Places) -> float:
    pairs = zip(found.tolist(), truth.tolist(), strict=True)
    return float(np.mean([len(set(mine) & set(true)) / len(true) for mine, true in pairs]))


def _change(found: tuple[Vectors, Places], truth: tuple[Vectors, Places], owner: Places) -> float:
    mine, true = (_shares(cosines, owner[places]) for cosines, places in (found, truth))
    return float(np.abs(mine - true).max(axis=1).mean())


def _shares(cosines: Vectors, columns: Places) -> Vectors:
    votes = Votes()
    scores = votes.count(cosines, columns, CATEGORIES) / votes.bandwidth
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: Vectors = weights / weights.sum(axis=1, keepdims=True)
    return shares


def _table(rows: list[Row]) -> Table:
    table = Table(title=f"the {NEIGHBOURS} nearest of so many utterances, median ms of a search")
    for head in (
        "utterances",
        "by",
        *(f"{n} at once" for n in BATCHES),
        "found",
        "shares",
        "built",
    ):
        table.add_column(head, justify="left" if head == "by" else "right")
    for row in rows:
        table.add_row(
            f"{row.utterances:,}",
            row.name,
            *(f"{row.took_ms[batch]:.2f}" for batch in BATCHES),
            f"{row.recall:.3f}",
            f"{row.shares:.4f}",
            f"{row.built_s:.1f} s",
            end_section=row
            is max((r for r in rows if r.utterances == row.utterances), key=rows.index),
        )
    return table


if __name__ == "__main__":
    main()
