"""The embeddings of scored prompts, as the router that decides sees them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from coe import conversation
from coe.composition import Composition
from coe.errors import ConfigError
from coe.mapping.outcomes import OutcomeMatrix
from coe.registry import Registry
from coe.settings import Settings
from coe.stores.outcomes import FILE, OutcomeStore
from coe.tools import Progress
from coe.types import Embedding
from coe.wiring import Workshop

_AT_ONCE = 64


def embedded(
    composition: Composition, settings: Settings, found: OutcomeMatrix, progress: Progress
) -> tuple[OutcomeMatrix, str]:
    """Return the outcomes with embeddings, and the fingerprint of their encoder.

    A prompt that the router decides without its encoder, by a keyword, is near to nothing: a row
    of zeros.

    Raises:
        ConfigError: the prompts' texts were not kept, or the router stands on no encoder.
    """
    texts = _texts(composition, settings, found)
    name = composition.routing.router or ""
    workshop = Workshop(composition, Registry(), cache_folder=settings.cache_folder)
    router = workshop.router(name)
    rows: list[Embedding | None] = []
    for start in range(0, len(texts), _AT_ONCE):
        progress("encoding prompts", start, len(texts))
        some = texts[start : start + _AT_ONCE]
        seen = router.score(some).embeddings
        rows += seen or [None] * len(some)
    progress("encoding prompts", len(texts), len(texts))
    encoders = Counter(row.encoder for row in rows if row is not None)
    if not encoders:
        raise ConfigError(
            f"--neighbours: the router `{name}` stands on no encoder, so prompts have no neighbours"
        )
    encoder = encoders.most_common(1)[0][0]
    width = next(len(row.vector) for row in rows if row is not None and row.encoder == encoder)
    vectors = np.zeros((len(rows), width))
    for i, row in enumerate(rows):
        if row is not None and row.encoder == encoder:
            vectors[i] = row.vector
    return replace(found, embeddings=vectors), encoder


def _texts(composition: Composition, settings: Settings, found: OutcomeMatrix) -> Sequence[str]:
    """Return what the router reads of each prompt."""
    path = settings.state_folder / FILE
    bodies = {}
    if path.exists():
        with OutcomeStore.open(path) as store:
            bodies = {row.digest: row.body for row in store.prompts(found.prompts)}
    missing = sum(1 for digest in found.prompts if not bodies.get(digest))
    if missing:
        raise ConfigError(
            f"--neighbours: the texts of {missing} of {len(found.prompts)} prompts were not kept; "
            "run `coe score` on them with --keep-prompts (what is scored is not asked again)"
        )
    context = composition.routing.context
    kept = [bodies[digest] or {} for digest in found.prompts]
    return [conversation.read(body["messages"], context).text for body in kept]
