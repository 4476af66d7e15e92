"""Any sentence-transformers model, by name or by path. Needs the extra of that name (and torch)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coe.errors import ArtefactError, PluginError
from coe.options import Options
from coe.protocols import EncoderSpec
from routers.encoders.texts import clean, clip

EXTRA = "coe-gateway[sentence-transformers]"
CHARS_PER_TOKEN = 12  # see `onnx`


class SentenceTransformersEncoder:
    """Unit vectors of a model that sentence-transformers loads. Thread-safe."""

    def __init__(self, *, name: str, model: Any, identity: str) -> None:
        """Wrap a loaded model.

        Args:
            name: as in the composition.
            model: a `sentence_transformers.SentenceTransformer`.
            identity: the name or path that it was loaded by.
        """
        self.name = name
        self._model = model
        self.dim = len(self._encode([""])[0])
        self.fingerprint = _fingerprint(model, identity)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors, shape (n_texts, dim). Any string is accepted, the empty one too."""
        return self._encode(texts) if texts else np.empty((0, self.dim), dtype=np.float32)

    def _encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        limit = int(self._model.max_seq_length or 512) * CHARS_PER_TOKEN
        vectors = self._model.encode(
            [clean(clip(text, limit)) for text in texts],
            normalize_embeddings=True,
            show_progress_bar=False,
            convert_to_numpy=True,
        )
        return np.asarray(vectors, dtype=np.float32)


def build(spec: EncoderSpec) -> SentenceTransformersEncoder:
    """Build the encoder from `model` (a name or a path), `device` and `max_length`.

    Raises:
        PluginError: when the extra is not installed.
        ArtefactError: when the model cannot be loaded.
    """
    options = Options(f"encoders.{spec.name}", spec.options).allow("model", "device", "max_length")
    identity, device = options.text("model"), options.text("device", "cpu")
    max_length = options.integer("max_length", 256, least=8, most=32768)
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise PluginError(
            f"encoders.{spec.name}: type sentence_transformers is not installed; "
            f"run: pip install '{EXTRA}'"
        ) from error
    path = Path(spec.folder, identity)
    try:
        model = SentenceTransformer(str(path) if path.is_dir() else identity, device=device)
    except Exception as error:  # whatever the hub, the file system or torch raises
        raise ArtefactError(
            f"encoders.{spec.name}.model: {identity!r} cannot be loaded: {error}"
        ) from error
    model.max_seq_length = min(max_length, int(model.max_seq_length or max_length))
    return SentenceTransformersEncoder(name=spec.name, model=model, identity=identity)


def _fingerprint(model: Any, identity: str) -> str:
    # The head of every tensor: cheap for a large model, and any training changes it.
    digest = hashlib.sha256(f"{identity}{model.max_seq_length}".encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.flatten()[:256].float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
