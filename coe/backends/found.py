"""What `coe init` finds on a machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A model server that answers, or a cloud service for which there is a key.

    Attributes:
        name: for people and, made safe, for the backend in the file.
        type: name of a `coe.backends` plugin.
        url: the address to write down.
        models: what it can be asked for, in its own order; for a service a model to start with.
        key: the environment variable that holds its key; never the key.
    """

    name: str
    type: str
    url: str
    models: tuple[str, ...] = ()
    key: str | None = None

    def __str__(self) -> str:
        """Say it in one line."""
        if self.key is not None:
            return f"{self.name}: a key in {self.key}"
        count = len(self.models)
        return f"{self.name} at {self.url}: {count} model{'' if count == 1 else 's'}"
