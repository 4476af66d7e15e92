"""aurelio's semantic-router in an environment of its own, fed with our vectors."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benches.installation import run

VERSION = "1.1.1"
REQUIREMENT = f"semantic-router=={VERSION}"
SCRIPT = Path(__file__).parent / "peers" / "semantic_router_peer.py"
TIMEOUT_S = 1800


def install(folder: Path, say: Callable[[str], None]) -> Path:
    """Return the Python of the peer's environment, made where it is not there.

    Raises:
        Missing: it cannot be installed or imported; the message says why.
    """
    home = folder / "env-routing"
    python, stamp = home / "bin" / "python", home / "requirements.txt"
    if not (python.exists() and stamp.exists() and stamp.read_text() == REQUIREMENT):
        say(f"installing {REQUIREMENT} (some minutes)")
        run([sys.executable, "-m", "venv", str(home)], timeout_s=TIMEOUT_S)
        run([str(python), "-m", "pip", "install", "-q", REQUIREMENT], timeout_s=TIMEOUT_S)
        run([str(python), "-c", "import semantic_router"], timeout_s=TIMEOUT_S)
        stamp.write_text(REQUIREMENT)
    return python


def choose(
    python: Path,
    folder: Path,
    *,
    vectors: NDArray[np.float32],
    labels: NDArray[np.intp],
    queries: NDArray[np.float32],
) -> tuple[NDArray[np.intp], NDArray[np.float64], float]:
    """Return the chosen labels, how sure the peer is of each, and the seconds of its set-up.

    Raises:
        Missing: the peer failed; the message is the end of what it said.
    """
    given, said = folder / "routing-given.npz", folder / "routing-said.npz"
    np.savez(given, vectors=vectors, labels=labels, queries=queries)
    run([str(python), str(SCRIPT), str(given), str(said)], timeout_s=TIMEOUT_S)
    with np.load(said) as found:
        return found["chosen"], found["score"], float(found["took"])
