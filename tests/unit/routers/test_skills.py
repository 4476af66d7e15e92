"""The categories that ship, routed as they are served: the encoder, the defaults, real prompts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from coe.types import Category
from routers.embedding import EmbeddingRouter
from routers.encoders.minilm import FOLDER
from routers.encoders.onnx import CARD, OnnxEncoder

THRESHOLD = 0.5  # what the gateway applies where a composition names none
DEFAULT = "general"  # answers where the router abstains
PER_SKILL = 60


@pytest.fixture(scope="module")
def categories() -> tuple[Category, ...]:
    folder = Path(__file__).parents[3] / "experts"
    if not (FOLDER / CARD).is_file() or not (folder / "heldout").is_dir():
        pytest.skip("needs the minilm artefact and the experts' held-out prompts")
    return tuple(
        Category(
            name=path.stem,
            utterances=lines(path),
            negatives=lines(folder / "negatives" / path.name),
        )
        for path in sorted((folder / "utterances").glob("*.txt"))
    )


@pytest.fixture(scope="module")
def router(categories: tuple[Category, ...]) -> EmbeddingRouter:
    encoder = OnnxEncoder(name="minilm", folder=FOLDER)
    return EmbeddingRouter(name="default", categories=categories, encoder=encoder)


def test_held_out_prompts_reach_their_expert(router: EmbeddingRouter, root: Path) -> None:
    prompts, skills = [], []
    for skill in router.categories:
        rows = (root / "experts" / "heldout" / f"{skill}.jsonl").read_text("utf-8").splitlines()
        prompts += [json.loads(row)["prompt"] for row in rows[:PER_SKILL]]
        skills += [skill] * len(rows[:PER_SKILL])

    experts, probabilities = route(router, prompts)

    right = np.array(experts) == np.array(skills)
    assert right.mean() >= 0.97
    assert (probabilities >= THRESHOLD).mean() >= 0.9


def test_what_belongs_to_no_skill_reaches_the_default(router: EmbeddingRouter) -> None:
    prompts = [
        "my credit card was stolen, block it",
        "book a table for two at the harbour restaurant",
        "why is my phone battery empty so fast",
        "who won the world cup in 1998",
        "asdkjh qwe zxcmn",
        "explain the theory of relativity to a child",
        "which running shoes are good for flat feet",
        "play some jazz",
    ]

    experts, _ = route(router, prompts)

    assert experts == [DEFAULT] * len(prompts)


def test_no_near_miss_is_routed_to_the_category_that_it_resembles(
    router: EmbeddingRouter, categories: tuple[Category, ...]
) -> None:
    for category in categories:
        column = router.categories.index(category.name)
        assert (router.score(category.negatives).values[:, column] == 0.0).all()


def route(
    router: EmbeddingRouter, prompts: Sequence[str]
) -> tuple[list[str], np.ndarray[tuple[int], np.dtype[np.float32]]]:
    values = router.score(prompts).values
    best = values.max(axis=1)
    names = [router.categories[column] for column in values.argmax(axis=1)]
    sure = best >= THRESHOLD
    return [name if ok else DEFAULT for name, ok in zip(names, sure, strict=True)], best


def lines(path: Path) -> tuple[str, ...]:
    """Return the lines of a file, less comments and empty ones."""
    stripped = (line.strip() for line in path.read_text("utf-8").splitlines())
    return tuple(line for line in stripped if line and not line.startswith("#"))
