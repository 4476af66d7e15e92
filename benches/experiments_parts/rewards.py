"""ParetoBandit's rewards as a past that is known and a stream that is not.

1,785 validation prompts are the past; 1,824 test prompts come one after the other, and who answers
is all that is learnt of. Rewards are a judge's, in [0, 1], costs are dollars; the fourth expert was
measured on most prompts of both.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benches import mapping_data
from benches.mapping_data import Recorded
from coe.learning import prior
from coe.mapping import OutcomeMatrix
from coe.mapping.estimates import Cells, estimate, values
from coe.protocols import EncoderSpec
from routers.encoders import minilm
from routers.store import stored

Floats = NDArray[np.float64]
Places = NDArray[np.intp]

BUILD = Path(__file__).parents[2] / "build" / "bench"
LLAMA, MISTRAL, PRO, FLASH = "llama-3.1-8b", "mistral-large", "gemini-2.5-pro", "gemini-2.5-flash"
NAMES = {
    "meta-llama/llama-3.1-8b-instruct": LLAMA,
    "mistralai/mistral-large-2512": MISTRAL,
    "google/gemini-2.5-pro": PRO,
    "google/gemini-2.5-flash": FLASH,
}
_TOKENS_PER_M = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """n prompts to come, K experts, of which the first k are known.

    Attributes:
        experts: K names, those of which nothing is known last.
        past: outcomes of the known ones on prompts that are no part of the stream.
        cells: what the map makes of them.
        x: shape (n, d), features.
        prices: shape (n, K), dollars that an answer is expected to cost; of an expert of which
            nothing is known, by its list price.
        listed: shape (K,), dollars per token as listed, mean of prompt and answer.
        rewards, costs: shape (n, K).
    """

    experts: tuple[str, ...]
    past: OutcomeMatrix
    cells: Cells
    x: Floats
    memberships: Floats
    prices: Floats
    listed: Floats
    rewards: Floats
    costs: Floats

    @property
    def known(self) -> tuple[str, ...]:
        """The experts that were measured before."""
        return self.past.experts

    @property
    def past_x(self) -> Floats:
        """Features of the past prompts, by a router that has not seen each."""
        return prior.features(self.past.memberships)

    @property
    def past_prices(self) -> Floats:
        """What the map expects of past prompts' costs."""
        return values(self.cells.cost, self.past.memberships)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """All prompts of both splits.

    Attributes:
        recorded: of four experts; NaN where the fourth was not measured.
        validation, test: rows.
        listed: shape (4,), as in `World`.
    """

    recorded: Recorded
    validation: Places
    test: Places
    listed: Floats

    def world(
        self, past: Places, stream: Places, known: Sequence[str], new: str | None = None
    ) -> World:
        """Return the world of some prompts, with one expert at most of which nothing is known."""
        experts = (*known, *([new] if new else []))
        columns = [self.recorded.experts.index(name) for name in experts]
        recorded = self.recorded.of(experts, "stream")
        measured = ~np.isnan(recorded.scores)
        past = past[measured[past].all(axis=1)]
        stream = stream[measured[stream].all(axis=1)]
        divided = mapping_data.split(recorded, past, stream)
        whole = recorded.of(tuple(known), "past")
        before = whole.matrix(past, divided.learnt)
        cells = estimate(before)
        memberships = whole.matrix(stream, divided.given).memberships
        prices = values(cells.cost, memberships)
        listed = self.listed[columns]
        if new:
            like = int(np.abs(np.log(listed[:-1] / listed[-1])).argmin())
            prices = np.column_stack([prices, prices[:, like] * listed[-1] / listed[like]])
        return World(
            experts=experts,
            past=before,
            cells=cells,
            x=prior.features(memberships),
            memberships=memberships,
            prices=prices,
            listed=listed,
            rewards=recorded.scores[stream],
            costs=recorded.costs[stream],
        )

    def halves(self, count: int) -> Iterator[tuple[Places, Places]]:
        """Yield pairs of halves of the validation prompts: what settings are chosen on."""
        for seed in range(count):
            order = np.random.default_rng(seed).permutation(self.validation)
            middle = len(order) // 2
            yield order[:middle], order[middle:]
            yield order[middle:], order[:middle]


def read(folder: Path) -> Source:
    """Read the rewards, and encode the prompts with the built-in encoder (kept in build/)."""
    rows: list[tuple[str, dict[str, Any]]] = []
    fourth: dict[str, dict[str, dict[str, float]]] = {}
    for part in ("val", "test"):
        rows += [(part, row) for row in _lines(folder / f"{part}.jsonl")]
        fourth |= {row["prompt"]: row["arms"] for row in _lines(folder / f"{part}_k4.jsonl")}
    encoder = stored(minilm.build(EncoderSpec(name="minilm", type="minilm")), str(BUILD))
    texts = [str(row["prompt"]) for _, row in rows]
    sources = [str(row["source"]).split("/", 1)[0] for _, row in rows]
    categories, labels = np.unique(sources, return_inverse=True)

    def of(what: str) -> Floats:
        return np.array(
            [
                [
                    {**row["arms"], **fourth.get(text, {})}.get(arm, {}).get(what, np.nan)
                    for arm in NAMES
                ]
                for text, (_, row) in zip(texts, rows, strict=True)
            ]
        )

    first = np.array([part == "val" for part, _ in rows])
    return Source(
        recorded=Recorded(
            name="ParetoBandit",
            categories=tuple(map(str, categories)),
            experts=tuple(NAMES.values()),
            vectors=encoder.encode(texts).astype(np.float64),
            labels=labels,
            scores=of("reward"),
            costs=of("cost"),
        ),
        validation=np.flatnonzero(first),
        test=np.flatnonzero(~first),
        listed=_listed(folder / "models_k4.json"),
    )


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.open(encoding="utf-8")]


def _listed(path: Path) -> Floats:
    models = {
        NAMES[model["model_id"]]: (model["input_cost_per_m"] + model["output_cost_per_m"]) / 2
        for model in json.loads(path.read_text(encoding="utf-8"))["models"]
    }
    return np.array([models[name] for name in NAMES.values()]) / _TOKENS_PER_M
