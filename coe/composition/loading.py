"""experts.yaml to a `Composition`: read, validate, cross-check, complete, build."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from coe.composition import build, document, texts
from coe.composition.check_aggregation import check_aggregation
from coe.composition.check_backends import check_backends, check_plugins, split_address
from coe.composition.check_batching import check_batching
from coe.composition.check_cache import check_cache
from coe.composition.check_experiments import check_experiments
from coe.composition.check_experts import check_experts
from coe.composition.check_fallbacks import check_fallbacks
from coe.composition.check_limits import check_limits
from coe.composition.check_observe import check_observe
from coe.composition.check_policies import check_policies
from coe.composition.check_programs import check_programs, check_reserved, content
from coe.composition.check_routing import (
    check_models,
    check_names,
    check_routers,
    check_routes,
    check_sessions,
)
from coe.composition.complete import complete
from coe.composition.inclusion import included
from coe.composition.models import FileKeys
from coe.composition.programs import Program
from coe.composition.references import References
from coe.composition.report import Report
from coe.composition.texts import CategoryTexts
from coe.composition.validation import validate
from coe.composition.values import Arms, Composition
from coe.composition.variants import changed, changes, combined
from coe.errors import CompositionError, Problem
from coe.jsonfile import digest

# The parts in which references are followed, as key paths; elsewhere `${` is plain text.
_WITH_REFERENCES = ("server", "backends", "encoders", "routers")


def load(
    path: Path, env: Mapping[str, str] | None = None, *, text: str | None = None
) -> Composition:
    """Return the composition that a file holds.

    Args:
        path: the file; relative paths in it are relative to its folder.
        env: where `${env:NAME}` is looked up; the process's own environment if None.
        text: read this in the place of the file's own text, which it may be about to replace.

    Raises:
        CompositionError: with every problem that was found, each at its place.
    """
    where = os.environ if env is None else env
    return _Reading(path, where, secrets_required=True, text=text).composition()


def check(path: Path, env: Mapping[str, str] | None = None) -> list[Problem]:
    """Return all problems of a file, errors and warnings, in the order of their places.

    Unlike `load`, a secret that is not here is a warning: a file can be checked where it is
    written.
    """
    try:
        reading = _Reading(path, os.environ if env is None else env, secrets_required=False)
    except CompositionError as error:
        return list(error.problems)
    return list(reading.report.ordered())


def meaning(path: Path, text: str) -> dict[str, Any]:
    """Return the canonical form of a text that a composition file had, to be compared.

    It need not be one that can be served here: secrets and files that it names may be gone.

    Raises:
        CompositionError: it is no composition.
    """
    reading = _Reading(path, os.environ, secrets_required=False, text=text)
    return reading.canonical


def expand(composition: Composition) -> str:
    """Return the canonical YAML of a composition: no short forms, nothing implicit, no secrets."""
    yaml = YAML(pure=True)
    yaml.width = 100
    stream = StringIO()
    yaml.dump(dict(composition.canonical), stream)
    return stream.getvalue()


class _Reading:
    """One pass over one file. Raises CompositionError where there is nothing to check."""

    def __init__(
        self,
        path: Path,
        env: Mapping[str, str],
        *,
        secrets_required: bool,
        text: str | None = None,
    ) -> None:
        self.path = path
        self.env = env
        self.secrets_required = secrets_required
        self.folder = path.absolute().parent
        read = document.read(path) if text is None else document.parse(text, str(path))
        whole, others = included(read, self.folder)
        self.report = Report(whole)
        self.report.files += others
        self.file = validate(self.report)
        self.report.seal()
        self.completed = complete(self.file)
        self.references = References(self.report, env, self.folder, required=secrets_required)
        self.texts: dict[str, CategoryTexts] = {}
        self.programs: dict[str, Program] = {}
        self._check()

    def composition(self) -> Composition:
        """Return the value. Raises CompositionError where there are errors."""
        if errors := self.report.errors:
            raise CompositionError(errors, self.files + self.secrets)
        canonical = self.canonical
        return build.build(
            build.Source(
                text=self.report.document.text,
                files=self.files,
                secrets=self.secrets,
                file=self.completed,
                texts=self.texts,
                programs=self.programs,
                resolve=self.references.resolve,
                path=self.path,
                folder=self.folder,
                canonical=canonical,
                fingerprint=_fingerprint(canonical, self.texts, self.programs),
                warnings=self.report.ordered(),
                variants={
                    arms: self._variant(arms).composition()
                    for arms in combined(self.file.experiments)
                },
            )
        )

    @property
    def canonical(self) -> dict[str, Any]:
        """The file's meaning, as plain values."""
        return canonical_form(self.completed)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files with texts that the file names, each once."""
        return tuple(dict.fromkeys(self.report.files))

    @property
    def secrets(self) -> tuple[Path, ...]:
        """The files behind its references, each once."""
        return tuple(dict.fromkeys(self.report.secrets))

    def _variant(self, arms: Arms) -> _Reading:
        """Read the file as these arms change it. Raises ValueError for a path to nowhere."""
        values = [changes(self.file.experiments[name])[arm] for name, arm in arms]
        content = self.report.document.content
        for one in values:
            content = changed(content, one)
        # JSON is YAML, and says each value in one way.
        text = json.dumps(content)
        return _Reading(self.path, self.env, secrets_required=self.secrets_required, text=text)

    def _check_variants(self) -> None:
        """Report what an arm would break, where the arm is written."""
        if self.report.errors:
            return  # the file itself comes first
        for name, keys in self.file.experiments.items():
            for arm, values in changes(keys).items():
                if not values or keys.status == "done":
                    continue
                path = ("experiments", name, "arms", arm)
                try:
                    errors = self._variant(((name, arm),)).report.errors
                except ValueError as error:
                    self.report.error(path, str(error), key=True)
                    continue
                except CompositionError as error:
                    errors = error.problems
                for problem in errors:
                    message = f"with this arm, `{problem.path}`: {problem.message}"
                    self.report.error(path, message, problem.hint, key=True)

    def _check(self) -> None:
        _check_required(self.report)
        written = self.file.model_dump()
        for section in _WITH_REFERENCES:
            entries = written[section]
            self.references.resolve(entries, (section,))
        for name, expert in self.file.experts.items():
            self.references.resolve(expert.model, ("experts", name, "model"))
            if expert.adapter is not None:
                at = ("experts", name, "adapter", "source")
                self.references.resolve(expert.adapter.source, at)
        _check_listen(self.file, self.report, self.references)
        check_plugins(self.file, self.report)
        check_backends(self.file, self.report, self.references)
        check_reserved(self.file, self.report)
        check_experts(self.file, self.report, self.folder)
        self.programs = check_programs(self.completed, self.report, self.folder)
        check_batching(self.file, self.report)
        check_cache(self.file, self.completed, self.report)
        self.texts = texts.gather(self.file.categories, self.report, self.folder)
        check_routers(self.file, self.completed, self.report)
        check_routes(self.file, self.report)
        check_sessions(self.file, self.report)
        check_models(self.file, self.report)
        check_aggregation(self.file, self.report)
        check_fallbacks(self.file, self.report)
        check_policies(self.file, self.completed, self.report, self.references.resolve)
        check_observe(self.file, self.report, self.references)
        check_limits(self.file, self.report)
        check_names(self.file, self.report)
        check_experiments(self.file, self.report)
        self._check_variants()


def canonical_form(file: FileKeys) -> dict[str, Any]:
    """Return a completed file as plain values, without what is not set."""
    return file.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)


def _check_required(report: Report) -> None:
    content = report.document.content
    if not isinstance(content, dict):
        return
    hints = {
        "version": "add `version: 1`",
        "backends": "add where experts run, such as `backends: {ollama: http://127.0.0.1:11434}`",
        "experts": "add what can answer, such as `experts: {general: ollama/llama3.2:3b}`",
        "default": "name the expert that answers when nothing else is decided",
    }
    for key in FileKeys.REQUIRED:
        if not content.get(key):
            report.error((key,) if key in content else (), f"`{key}` is missing", hints[key])


def _check_listen(file: FileKeys, report: Report, references: References) -> None:
    path = ("server", "listen")
    listen = references.resolve(file.server.listen, path)
    if not references.is_missing(path):
        try:
            split_address(listen)
        except ValueError as error:
            report.error(path, f"cannot listen there: {error}", "such as `127.0.0.1:8088`")


def _fingerprint(
    canonical: dict[str, Any],
    texts: Mapping[str, CategoryTexts],
    programs: Mapping[str, Program],
) -> str:
    """Return 16 hex digits that change with the file's meaning or that of the files it names."""
    meaning: dict[str, Any] = {
        "file": canonical,
        "texts": {
            name: [[t.text for t in entry.utterances], [t.text for t in entry.negatives]]
            for name, entry in texts.items()
        },
    }
    if held := content(programs):
        meaning["programs"] = held
    return digest(meaning)
