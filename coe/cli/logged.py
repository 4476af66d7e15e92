"""The decision log, as commands read it: of one gateway, or of several that serve the same file."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from coe.errors import NotFound
from coe.settings import Settings
from coe.stores.decisions import FILE, DecisionStore, Feedback, Record


def open_log(settings: Settings) -> DecisionStore:
    """Return the decision log. Raises NotFound where there is none."""
    return _opened(settings.state_folder, "serve some, or set COE_STATE_DIR")


class Logs:
    """The decision logs of several gateways, read as one."""

    def __init__(self, stores: Sequence[DecisionStore]) -> None:
        """Store the logs; at least one."""
        self._stores = stores

    @property
    def is_of_one_key(self) -> bool:
        """Whether one user, or one conversation, has the same digest in all of them."""
        return all(store.digests_as(self._stores[0]) for store in self._stores)

    def records(self, experiment: str) -> list[Record]:
        """Return the decisions that took part in an experiment, each once, oldest first."""
        found = {
            record.id: record
            for store in self._stores
            for record in store.records(experiment=experiment)
        }
        return sorted(found.values(), key=lambda record: record.at)

    def feedback(self, since: float) -> list[Feedback]:
        """Return what was said of decisions made at or after `since`; the last word counts."""
        found: dict[tuple[str, str], Feedback] = {}
        for store in self._stores:
            for one in store.feedback(since=since):
                before = found.get((one.decision, one.key))
                if before is None or before.at <= one.at:
                    found[one.decision, one.key] = one
        return list(found.values())


@contextmanager
def open_logs(settings: Settings, folders: Sequence[Path]) -> Iterator[Logs]:
    """Open the decision logs of state folders; that of the settings where none is named.

    Raises:
        NotFound: a folder has none.
    """
    with ExitStack() as stack:
        if not folders:
            yield Logs([stack.enter_context(open_log(settings))])
            return
        hint = "`--state` is the state folder of a gateway that has served"
        yield Logs([stack.enter_context(_opened(folder, hint)) for folder in folders])


def warn_of_keys(logs: Logs) -> None:
    """Say that users and conversations cannot be told to be the same, where that is so."""
    if not logs.is_of_one_key:
        print(
            "coe: warning: the logs name users with keys of their own, so whoever was served by"
            " several gateways counts several times; gateways with the same COE_REPLICA_SECRET"
            " name them alike in the logs that they begin",
            file=sys.stderr,
        )


def _opened(folder: Path, hint: str) -> DecisionStore:
    path = folder / FILE
    if not path.exists():
        raise NotFound(f"{path}: no decisions were written here; {hint}")
    return DecisionStore.open(path)
