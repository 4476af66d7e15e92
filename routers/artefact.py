"""A trained router as a file: arrays and a JSON card in one uncompressed .npz, never pickle.

The card says what the arrays are for: the kind of router, the encoder's fingerprint, the names of
the categories, digests of the utterances. A checksum over the card and every array finds a file
that was damaged or edited; it proves nothing about who wrote it. Whoever loads an artefact checks
with `expect_encoder` and `expect_utterances` that it was made for the composition at hand.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coe.errors import ArtefactError
from coe.protocols import Encoder
from coe.types import Category

FORMAT = "coe-router"
VERSION = 1
CARD = "card"
MOST_BYTES = 2 << 30
SHOWN = 5  # names in an error message

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """What a file holds, its checksum verified.

    Attributes:
        kind: the router's type, e.g. `linear`.
        card: JSON values; what `write` was given.
        arrays: by name; plain numbers, no objects.
    """

    path: Path
    kind: str
    card: Mapping[str, Any]
    arrays: Arrays


def write(path: Path, *, kind: str, card: Mapping[str, Any], arrays: Arrays) -> None:
    """Write an artefact; the file is either whole or as it was before.

    Raises:
        ArtefactError: the file cannot be written.
    """
    full = {"format": FORMAT, "version": VERSION, "kind": kind, "card": dict(card)}
    full["checksum"] = _checksum(full, arrays)
    encoded = np.frombuffer(json.dumps(full, sort_keys=True).encode(), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{CARD: encoded, **arrays})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".artefact-") as scratch:
            fresh = Path(scratch) / path.name
            fresh.write_bytes(buffer.getvalue())
            os.replace(fresh, path)  # noqa: PTH105 - atomic is the point
    except OSError as error:
        raise ArtefactError(f"{path}: cannot be written: {error.strerror}") from error


def expect_writable(path: Path) -> None:
    """Check that `write` can write the file, before the work that it is to hold is done.

    Raises:
        ArtefactError: it is a folder, or its folder cannot be made or written.
    """
    if path.is_dir():
        raise ArtefactError(f"{path}: is a folder; name a file, such as {path / 'router.npz'}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ArtefactError(
            f"{path}: cannot be written: {error.strerror}; name a file in another folder"
        ) from error


def read(path: Path, *, kind: str) -> Artefact:
    """Return what the file holds.

    Raises:
        ArtefactError: it is missing, damaged, edited, of another kind or version, or no artefact;
            the message says which, and what to do.
    """
    arrays = _arrays(path)
    try:
        full: dict[str, Any] = json.loads(arrays.pop(CARD).tobytes())
        if full["format"] != FORMAT:
            raise KeyError(FORMAT)
        version, found, checksum, card = (
            full[key] for key in ("version", "kind", "checksum", "card")
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ArtefactError(
            f"{path}: is no router artefact (its card is missing or unreadable); "
            "train the router and name the file that this writes"
        ) from error
    if version != VERSION:
        raise ArtefactError(
            f"{path}: is of version {version}, and this gateway reads version {VERSION}; "
            "train the router again with this version"
        )
    if checksum != _checksum({k: v for k, v in full.items() if k != "checksum"}, arrays):
        raise ArtefactError(
            f"{path}: is damaged or was edited (its checksum differs); "
            "copy it again or train the router again"
        )
    if found != kind:
        raise ArtefactError(
            f"{path}: is a router of type {found}, not {kind}; "
            f"set `type: {found}` or train a {kind} router"
        )
    return Artefact(path=path, kind=found, card=card, arrays=arrays)


def utterance_digests(texts: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return a digest of each category's texts; neither order nor repetition counts."""
    digests = {}
    for name, lines in texts.items():
        parts = (hashlib.sha256(line.encode("utf-8", "surrogatepass")) for line in set(lines))
        whole = hashlib.sha256(b"".join(sorted(part.digest() for part in parts)))
        digests[name] = whole.hexdigest()[:32]
    return digests


def expect_encoder(artefact: Artefact, encoder: Encoder, *, place: str) -> None:
    """Check that the artefact was trained on this encoder's vectors. Raises ArtefactError."""
    fingerprint = artefact.card.get("encoder")
    if fingerprint != encoder.fingerprint:
        raise ArtefactError(
            f"{place}: {artefact.path} was trained with another encoder (fingerprint "
            f"{fingerprint}) than {encoder.name!r} (fingerprint {encoder.fingerprint}); "
            "name the encoder that it was trained with, or train the router again"
        )


def expect_utterances(artefact: Artefact, categories: Sequence[Category], *, place: str) -> None:
    """Check that the composition defines the categories as they were at training.

    Card keys: `categories`, the names; `utterances`, their digests, or nothing where the rows came
    from a file of their own, and the composition's utterances play no part.

    Raises:
        ArtefactError: a category is unknown on either side, or its utterances changed.
    """
    here = {category.name: category.utterances for category in categories}
    trained = list(artefact.card.get("categories", ()))
    strangers = [name for name in trained if name not in here]
    if strangers:
        raise ArtefactError(
            f"{place}: {artefact.path} was trained for categories that the composition has not: "
            f"{_some(strangers)}; add them, or train the router again"
        )
    missing = [name for name, texts in here.items() if texts and name not in trained]
    if missing:
        raise ArtefactError(
            f"{place}: {artefact.path} knows nothing of {_some(missing)}; train the router again"
        )
    digests = artefact.card.get("utterances") or {}
    now = utterance_digests({name: here[name] for name in digests})
    changed = [name for name, digest in digests.items() if now[name] != digest]
    if changed:
        raise ArtefactError(
            f"{place}: the utterances of {_some(changed)} changed since {artefact.path} was "
            "trained; train the router again"
        )


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= MOST_BYTES else b""
    except OSError as error:
        raise ArtefactError(
            f"{path}: cannot be read: {error.strerror}; train the router, or correct the path"
        ) from error
    if size > MOST_BYTES:
        raise ArtefactError(f"{path}: has {size} bytes, more than any router artefact")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return {
                entry.filename.removesuffix(".npy"): _array(archive, entry)
                for entry in archive.infolist()
            }
    # What damaged bytes make zipfile and numpy raise; MemoryError, for a shape that is a lie.
    except (
        zipfile.BadZipFile,
        ValueError,
        OSError,
        EOFError,
        MemoryError,
        NotImplementedError,
        RuntimeError,
        SyntaxError,
    ) as error:
        raise ArtefactError(
            f"{path}: is no router artefact, or is damaged ({error}); "
            "copy it again or train the router again"
        ) from error


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray[Any]:
    if entry.compress_type != zipfile.ZIP_STORED:
        # Uncompressed, a file cannot grow in memory beyond its size.
        raise ValueError(f"{entry.filename} is compressed")
    array: NDArray[Any] = np.lib.format.read_array(
        io.BytesIO(archive.read(entry)), allow_pickle=False
    )
    return array


def _checksum(card: Mapping[str, Any], arrays: Arrays) -> str:
    digest = hashlib.sha256(json.dumps(card, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"\0{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
