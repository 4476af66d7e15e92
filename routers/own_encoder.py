"""An encoder of a router's own: tuned on its rows, and judged by a twin that has not seen them all.

Rows that an encoder was tuned on are easier to it than others of their kind: how sure the router
is, what it takes for outside and how good it says that it is cannot be learnt from them. So two are
tuned: the twin on four fifths of the rows, which is then asked about the last fifth, and the one
that serves on all of them. Both lie in a folder beside the artefact until the router is trained.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from coe.errors import ArtefactError, ConfigError
from coe.options import Options
from coe.protocols import EncoderSpec
from routers.encoders import onnx
from routers.store import stored
from routers.training import Judge, Progress, Row
from routers.tuning import ABOUT, Tuned, split, tune

SEED = 0
TYPE = "onnx"
BUILT_IN = "minilm"
SERVING, TWIN = "encoder", "twin"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnEncoder:
    """Both encoders, tuned.

    Attributes:
        spec: of the one that serves, once it is settled.
        encoder: the one that serves.
        judge: the twin, and what it has not seen.
        work: the folder in which they lie.
    """

    spec: EncoderSpec
    encoder: onnx.OnnxEncoder
    judge: Judge
    tuned: Tuned
    work: Path

    @property
    def folder(self) -> Path:
        """Where the one that serves is settled."""
        return Path(self.spec.folder, self.spec.options["path"])

    def settle(self) -> None:
        """Move it to where the composition will look for it, and tidy up.

        Raises:
            ArtefactError: there cannot be written.
        """
        old = self.work / "old"
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            if self.folder.exists():
                self.folder.replace(old)
            (self.work / SERVING).replace(self.folder)
        except OSError as error:
            raise ArtefactError(f"{self.folder}: cannot be written: {error.strerror}") from error
        shutil.rmtree(self.work, ignore_errors=True)


def own_spec(encoder: EncoderSpec, path: Path, folder: str) -> EncoderSpec:
    """Return what the composition will say of the encoder that is tuned for an artefact.

    An encoder that was tuned before is replaced; any other gets one beside the artefact.

    Args:
        encoder: that the router has now.
        path: the artefact.
        folder: of the composition.

    Raises:
        ConfigError: it is not all-MiniLM-L6-v2, and so it cannot be tuned.
    """
    place = f"encoders.{encoder.name}"
    if encoder.type == BUILT_IN:
        beside = path.with_name(f"{path.stem}-encoder")
        options = {**encoder.options, "path": within(folder, beside)}
        name = f"{path.stem}-encoder"
        return EncoderSpec(name=name, type=TYPE, options=options, folder=folder)
    if encoder.type != TYPE:
        raise ConfigError(
            f"{place}: encoders of type {encoder.type} cannot be tuned; have the router stand on "
            f"`{BUILT_IN}`"
        )
    there = Path(encoder.folder, Options(place, encoder.options).text("path"))
    if there.exists() and not _was_tuned(there):
        raise ConfigError(
            f"{place}: {there} is a model that was not tuned here; tuning starts from "
            f"all-MiniLM-L6-v2 and would replace it; have the router stand on `{BUILT_IN}`"
        )
    return encoder


def tune_own(
    spec: EncoderSpec,
    path: Path,
    rows: Sequence[Row],
    *,
    minutes: float,
    cache_folder: str,
    progress: Progress,
) -> OwnEncoder:
    """Tune both encoders, or go on where an earlier call was interrupted.

    Args:
        spec: of the one that serves, see `own_spec`.
        path: the artefact; they lie beside it until they are settled.
        rows: (text, category), each once.
        minutes: most for both of them together.
        cache_folder: where the twin's vectors are kept; see `coe.protocols.RouterSpec`.
        progress: see `training.Progress`.

    Raises:
        ConfigError: a package is missing, or there are too few rows.
        ArtefactError: the folder cannot be written.
    """
    work = path.with_name(f"{path.stem}.tuning")
    options = Options(f"encoders.{spec.name}", spec.options).allow("path", "threads", "max_length")
    limits = onnx.limits(options)
    seen, unseen = split(rows, seed=SEED)
    share = len(seen) / (len(seen) + len(rows))

    def told(who: str) -> Progress:
        return lambda what, done, total: progress(f"{what} ({who})", done, total)

    twin = tune(
        seen, work / TWIN, minutes=minutes * share, seed=SEED, progress=told("1 of 2, to judge by")
    )
    serving = tune(
        rows,
        work / SERVING,
        minutes=minutes * (1 - share),
        seed=SEED,
        progress=told("2 of 2"),
    )
    judge = onnx.OnnxEncoder(name=TWIN, folder=twin.folder, **limits)
    return OwnEncoder(
        spec=spec,
        encoder=onnx.OnnxEncoder(name=spec.name, folder=serving.folder, **limits),
        judge=Judge(encoder=stored(judge, cache_folder), unseen=frozenset(unseen)),
        tuned=replace(serving, seconds=serving.seconds + twin.seconds),
        work=work,
    )


def within(folder: str, path: Path) -> str:
    """Return the path as a composition in that folder would write it."""
    whole, base = path.resolve(), Path(folder).resolve()
    return str(whole.relative_to(base) if whole.is_relative_to(base) else whole)


def _was_tuned(folder: Path) -> bool:
    try:
        card: Mapping[str, Any] = json.loads((folder / onnx.CARD).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return ABOUT in card
