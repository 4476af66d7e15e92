"""Nearest neighbours: of all utterances the k most like the text vote for their categories."""

from __future__ import annotations

from dataclasses import replace

from coe.protocols import Parts, RouterSpec
from routers import embedding


def build(spec: RouterSpec, parts: Parts) -> embedding.EmbeddingRouter:
    """Build the router from the options of `embedding`; `score` is `knn`, unless given.

    How many neighbours vote (`top_k`), and how fast a vote fades with distance, is chosen by
    leaving utterances out. Votes suit few broad categories with many utterances; the mean of a
    category's own nearest (`embedding`'s default) suits many narrow ones with few.
    """
    options = {"score": "knn", **spec.options}
    return embedding.build(replace(spec, options=options), parts)
