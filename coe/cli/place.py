"""Where `coe map` and `coe panel` keep what they fit: a proposal, what is live, what was before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Self

from coe.cli.serve import read_settings
from coe.composition import Composition, load
from coe.composition.measured import holding
from coe.errors import CoEError, ConfigError
from coe.history import Fitted, History, Kind
from coe.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Places(Generic[Fitted]):
    """The names of what a command keeps.

    Attributes:
        command: fits it: `coe map fit`.
        live: the path of what is live, beside a composition file.
        proposal, history: a file and a folder in the state folder.
        kept: how the history keeps it.
    """

    command: str
    live: Callable[[Path], Path]
    proposal: str
    history: str
    kept: Kind[Fitted]

    def before(self, settings: Settings) -> History[Fitted]:
        """Return what was live before."""
        return History(settings.state_folder / self.history, self.kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place(Generic[Fitted]):
    """Where what is fitted for a composition is."""

    settings: Settings
    composition: Composition
    names: Places[Fitted]
    live: Path
    proposal: Path
    history: History[Fitted]

    @classmethod
    def of(cls, config: Path | None, names: Places[Fitted]) -> Self:
        """Return the place of a composition. Raises ConfigError."""
        settings = read_settings(config, None, None)
        composition = load(settings.config)
        return cls(
            settings=settings,
            composition=composition,
            names=names,
            live=names.live(composition.source),
            proposal=settings.state_folder / names.proposal,
            history=names.before(settings),
        )

    def proposed(self) -> Fitted:
        """Return the proposal. Raises ConfigError where there is none, or it is damaged."""
        fitted = self.names.kept.read(self.proposal)
        if fitted is None:
            raise ConfigError(
                f"{self.proposal}: there is no proposal; run `{self.names.command}` first"
            )
        return fitted

    def stale(self, parts: Mapping[str, str]) -> str:
        """Return why a proposal is stale that was fitted to such parts; empty where it is not."""
        changes = holding(parts, self.composition).changes
        return f"it is stale, fit it again: {', '.join(changes)}" if changes else ""


def refuse(against: str, *, force: bool) -> None:
    """Raise CoEError where something speaks against a proposal, unless it is forced."""
    if against and not force:
        raise CoEError(f"the proposal is not applied: {against}; `--force` applies it all the same")
