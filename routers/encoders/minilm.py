"""all-MiniLM-L6-v2 in int8: the encoder that is there without a choice, a key or a download.

Reference: Wang et al. 2020, MiniLM, arXiv 2002.10957; Reimers and Gurevych 2019, Sentence-BERT,
arXiv 1908.10084. The weights are those of sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0).
We differ in the precision (see `graph`) and for texts over the limit (see `texts.clip`).
"""

from __future__ import annotations

from pathlib import Path

from coe.options import Options
from coe.protocols import EncoderSpec
from routers.encoders.onnx import OnnxEncoder, limits

FOLDER = Path(__file__).parents[1] / "artefacts" / "minilm"


def build(spec: EncoderSpec) -> OnnxEncoder:
    """Build the encoder from `threads`, `max_length` and `path` (where it was exported to)."""
    place = f"encoders.{spec.name}"
    options = Options(place, spec.options).allow("path", "threads", "max_length")
    folder = Path(spec.folder, options.text("path", str(FOLDER)))
    return OnnxEncoder(name=spec.name, folder=folder, **limits(options))
