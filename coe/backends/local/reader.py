"""The thread that reads weights, one expert at a time, while the engine's thread goes on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass

import torch

from coe.backends.local.weights import Found, Weights
from coe.errors import CoEError, ExpertLoadFailed


@dataclass(frozen=True, slots=True)
class Read:
    """What came of reading an expert."""

    expert: str
    found: Found | CoEError


class Reader:
    """Reads what it is asked for; the thread starts with the first wish.

    Args:
        deliver: is given what came of it, in the reader's thread.
        threads: cores that it may use.
    """

    def __init__(self, weights: Weights, deliver: Callable[[Read], None], threads: int) -> None:
        self._weights = weights
        self._deliver = deliver
        self._threads = threads
        self._wishes: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def ask(self, expert: str) -> None:
        """Have an expert read; what was asked for before has been delivered."""
        if self._thread is None:
            name = f"{threading.current_thread().name}-reader"
            self._thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._thread.start()
        self._wishes.put(expert)

    def close(self) -> None:
        """End the thread after the expert that it reads; waits for that.

        A process that ends while torch is at work in another thread is aborted.
        """
        self._wishes.put(None)
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        torch.set_num_threads(self._threads)  # holds for a thread, not for the process
        with torch.inference_mode():
            while (expert := self._wishes.get()) is not None:
                self._deliver(Read(expert, self._read(expert)))

    def _read(self, expert: str) -> Found | CoEError:
        try:
            return self._weights.read(expert)
        except CoEError as error:
            return error
        except Exception as error:  # noqa: BLE001 - nobody would ever be told
            return ExpertLoadFailed(f"expert {expert!r}: {type(error).__name__}: {error}")
