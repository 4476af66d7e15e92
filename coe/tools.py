"""Work for the command line that the learned part does: training and measuring a router.

A tool is found by entry point, in `coe.tools`, as routers are: the gateway never imports the
learned part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from coe.protocols import Encoder, EncoderSpec, Parts, Router, RouterSpec
from coe.types import Category


class Progress(Protocol):
    """Told how far long work has come."""

    def __call__(self, doing: str, done: int, total: int) -> None:
        """Note that `done` of `total` steps of the work called `doing` are done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterAtWork:
    """What a tool is given: a router, and how its composition chooses by its scores.

    Attributes:
        categories: as the composition defines them.
        thresholds: least probability of each category, by name; infinite where it is never chosen.
        margin: least gap between the best two.
        encoders: those that the router stands on, by name; the one it asked for last comes last.
        fingerprint: changes whenever the same text could get other scores.
    """

    router: Router
    categories: tuple[Category, ...]
    thresholds: Mapping[str, float]
    margin: float = 0.0
    encoders: Mapping[str, Encoder] = field(default_factory=dict)
    fingerprint: str = ""


class RouterReport(Protocol):
    """What an evaluation found, for people and for programs."""

    def text(self, *, wrong: bool = False) -> str:
        """Return it for a terminal; `wrong` adds the list of the texts that went wrong."""

    def document(self) -> Mapping[str, Any]:
        """Return all of it as plain values: texts, finite numbers, None, lists and mappings."""

    def page(self) -> str:
        """Return it as one HTML page that needs nothing else."""


class Evaluator(Protocol):
    """The value of the `coe.tools` entry point `evaluate`."""

    def __call__(self, work: RouterAtWork, rows: Path, progress: Progress) -> RouterReport:
        """Measure a router on labelled texts, lines of `{"text": ..., "category": name or null}`.

        What is scored when it is interrupted is kept beside the file for the next time.

        Raises:
            ConfigError: a row is broken, with file:line and the fix.
            RouterUnavailable: what the router stands on does not answer.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What thresholds are to reach.

    Attributes:
        acceptance: share of the texts that belong somewhere which is to be accepted, in (0, 1].
        risk: instead of it, the greatest share of errors among what is accepted, guaranteed; in
            (0, 1).
        sureness: of the guarantee, in (0, 1).
        per_category: one guarantee for each category instead of one for all together.
    """

    acceptance: float = 0.95
    risk: float | None = None
    sureness: float = 0.9
    per_category: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenThreshold:
    """The least probability at which one category is chosen, and where the number comes from.

    Attributes:
        threshold: None where the category must not be chosen.
        rows: texts that it was measured on.
        why: one clause, such as "95 % of its texts reach it".
    """

    threshold: float | None
    rows: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenThresholds:
    """Calibrated thresholds.

    Attributes:
        thresholds: one for each category of the router, by name.
        aim: what they reach, in one sentence.
        rows: where they were measured: the file's name, its digest and the number of its rows.
        text: what they change, for a terminal.
    """

    thresholds: Mapping[str, ChosenThreshold]
    aim: str
    rows: str
    text: str


class Calibrator(Protocol):
    """The value of the `coe.tools` entry point `calibrate`."""

    def __call__(
        self, work: RouterAtWork, rows: Path, aim: Aim, progress: Progress
    ) -> ChosenThresholds:
        """Choose thresholds on labelled texts; see `Evaluator` for the rows and the errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOrder:
    """Which router is to be trained, on what.

    Attributes:
        routers: those of the composition, by name.
        encoders: the same.
        parts: builds the encoders that are asked for.
        router: one of them, by name; None for the only one that can be trained.
        rows: labelled texts to learn from, see `Evaluator`; a text of no category shows what
            is outside. None for none.
        utterances: learn from the composition's utterances, too.
        to: where the artefact goes; None for where the router looks for it.
        minutes: most to spend on tuning an encoder for the router; 0 leaves its encoder as it is.
    """

    routers: Mapping[str, RouterSpec]
    encoders: Mapping[str, EncoderSpec]
    parts: Parts
    router: str | None = None
    rows: Path | None = None
    utterances: bool = True
    to: Path | None = None
    minutes: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedRouter:
    """What came of it.

    Attributes:
        text: what was learnt from, and how well, for a terminal.
        files: that were written.
        wanted: what the composition must say to use them; empty where it says so.
    """

    text: str
    files: tuple[Path, ...]
    wanted: str = ""


class Trainer(Protocol):
    """The value of the `coe.tools` entry point `train`."""

    def __call__(self, order: TrainingOrder, progress: Progress) -> TrainedRouter:
        """Train a router and write its artefact; the file is whole or as it was before.

        What an interruption finds done is done: embeddings are kept where the router's spec says,
        an encoder that is being tuned beside the artefact.

        Raises:
            ConfigError: what is missing, broken or contradicts itself, with its place and the fix.
            RouterUnavailable: what the router stands on does not answer.
        """
