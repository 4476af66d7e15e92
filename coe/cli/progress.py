"""Progress on standard error, and what an interruption leaves behind."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from coe.tools import Progress


@contextmanager
def shown(kept: str) -> Iterator[Progress]:
    """Show progress on standard error; say what an interruption keeps."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks = {}

        def show(doing: str, done: int, total: int) -> None:
            if doing not in tasks:
                tasks[doing] = bar.add_task(doing, total=total)
            bar.update(tasks[doing], completed=done, total=total)

        try:
            yield show
        except KeyboardInterrupt:
            bar.stop()
            print(f"coe: interrupted; {kept}", file=sys.stderr)
            raise SystemExit(130) from None
