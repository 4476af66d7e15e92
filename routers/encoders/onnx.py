"""Any sentence encoder as an ONNX file on ONNX Runtime: no torch, no download.

The folder holds what `python -m routers.encoders.export` writes: `model.onnx`, `tokenizer.json`
and `encoder.json` (sizes, pooling, checksums, source and licence).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from coe.errors import ArtefactError
from coe.options import Options
from coe.protocols import EncoderSpec
from routers.encoders.pieces import pieces_of
from routers.encoders.texts import clean, clip

MODEL = "model.onnx"
TOKENIZER = "tokenizer.json"
CARD = "encoder.json"
BUILD_COMMAND = "python -m routers.encoders.export"
# A word piece of English has four or five characters: at twelve, only texts that would be cut
# anyway are cut before they are tokenised.
CHARS_PER_TOKEN = 12

Pooling = Literal["none", "mean", "cls"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What `encoder.json` says of a model.

    Attributes:
        pooling: `none` where the graph itself returns one vector per text.
        sha256: of each file of the folder, by name.
    """

    dim: int
    max_length: int
    pooling: Pooling
    sha256: dict[str, str]


class OnnxEncoder:
    """Mean- or first-token-pooled unit vectors of an ONNX model.

    Texts are run one by one and unpadded: dynamic quantisation scales the activations of a whole
    run, so that a text would otherwise depend on its neighbours; and on a CPU a batch of eight
    costs what eight single runs cost. Safe to call from several threads.
    """

    def __init__(self, *, name: str, folder: Path, threads: int = 1, max_length: int = 0) -> None:
        """Load and check the artefact.

        Args:
            name: as in the composition.
            folder: holds the three files.
            threads: threads of one run; several calls may run at the same time besides.
            max_length: tokens of a text that are read; 0 means what the model was trained for.

        Raises:
            ArtefactError: when a file is missing or damaged.
        """
        card = read_card(folder)
        self.name = name
        self.dim = card.dim
        self.max_length = min(max_length or card.max_length, card.max_length)
        self._pooling = card.pooling
        self._tokenizer = _tokenizer(_verified(folder / TOKENIZER, card))
        self._pieces = pieces_of(self._tokenizer)
        self._session = _session(_verified(folder / MODEL, card), threads)
        self._inputs = tuple(entry.name for entry in self._session.get_inputs())
        identity = f"{card.sha256[MODEL]}{card.sha256[TOKENIZER]}{self._pooling}{self.max_length}"
        self.fingerprint = hashlib.sha256(identity.encode()).hexdigest()[:16]

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors, shape (n_texts, dim). Any string is accepted, the empty one too."""
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        for row, text in enumerate(texts):
            vectors[row] = self._encode_one(text)
        return vectors

    def tokens(self, text: str) -> list[int]:
        """Return the token ids that the model reads; of a long text its start and its end."""
        clipped = clean(clip(text, self.max_length * CHARS_PER_TOKEN))
        ids = self._pieces.read(clipped) if self._pieces else None
        if ids is None:
            ids = list(self._tokenizer.encode(clipped).ids)
        if len(ids) > self.max_length:
            head = self.max_length // 2
            ids = ids[:head] + ids[head - self.max_length :]
        return ids

    def words(self) -> tuple[str, ...]:
        """Return the English words that are one token, the most common first.

        None where the tokeniser does not mark pieces of words as WordPiece does.
        """
        vocabulary: dict[str, int] = self._tokenizer.get_vocab()
        if not any(token.startswith("##") for token in vocabulary):
            return ()
        by_rank = sorted(vocabulary, key=vocabulary.__getitem__)
        return tuple(word for word in by_rank if word.isascii() and word.isalpha())

    def _encode_one(self, text: str) -> NDArray[np.float32]:
        ids = np.array([self.tokens(text)], dtype=np.int64)
        feed = {name: _feed(name, ids) for name in self._inputs}
        output: NDArray[np.float32] = self._session.run(None, feed)[0]
        vector = output[0]
        if self._pooling == "mean":
            vector = vector.mean(axis=0)
        elif self._pooling == "cls":
            vector = vector[0]
        unit: NDArray[np.float32] = vector / max(float(np.linalg.norm(vector)), 1e-12)
        return unit


def build(spec: EncoderSpec) -> OnnxEncoder:
    """Build the encoder from `path` (a folder), `threads` and `max_length`."""
    place = f"encoders.{spec.name}"
    options = Options(place, spec.options).allow("path", "threads", "max_length")
    folder = Path(spec.folder, options.text("path"))
    return OnnxEncoder(name=spec.name, folder=folder, **limits(options))


def limits(options: Options) -> dict[str, int]:
    """Return the options that every ONNX encoder has."""
    return {
        "threads": options.integer("threads", 1, least=1, most=256),
        "max_length": options.integer("max_length", 256, least=8, most=32768),
    }


def read_card(folder: Path) -> Card:
    """Return what `encoder.json` says. Raises ArtefactError."""
    path = folder / CARD
    if not path.is_file():
        raise ArtefactError(f"{path}: no such encoder; build the built-in one with {BUILD_COMMAND}")
    try:
        fields: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return Card(
            dim=int(fields["dim"]),
            max_length=int(fields["max_length"]),
            pooling=fields["pooling"],
            sha256={name: str(fields["sha256"][name]) for name in (MODEL, TOKENIZER)},
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ArtefactError(
            f"{path}: is damaged ({error!r}); rebuild with {BUILD_COMMAND}"
        ) from error


def _verified(path: Path, card: Card) -> Path:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ArtefactError(f"{path}: cannot be read; rebuild with {BUILD_COMMAND}") from error
    if digest != card.sha256[path.name]:
        raise ArtefactError(
            f"{path}: is not the file that {CARD} describes (sha256 differs); "
            f"rebuild with {BUILD_COMMAND}"
        )
    return path


def _tokenizer(path: Path) -> Any:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises Exception itself
        raise ArtefactError(f"{path}: is not a tokeniser: {error}") from error
    # Length is ours to limit, and a single text needs no padding.
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _session(path: Path, threads: int) -> Any:
    # Read once, when it is loaded: its wheels report usage to their maker unless they are told not
    # to, and nothing that runs here is to call anybody.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Idle threads must sleep: a spinning one burns the core that the gateway serves from.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # An arena keeps the memory of the longest text for ever, and saves no time here.
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no common root but Exception
        raise ArtefactError(f"{path}: is not a model that ONNX Runtime loads: {error}") from error


def _feed(name: str, ids: NDArray[np.int64]) -> NDArray[np.int64]:
    if name == "attention_mask":
        return np.ones_like(ids)
    return np.zeros_like(ids) if name == "token_type_ids" else ids
