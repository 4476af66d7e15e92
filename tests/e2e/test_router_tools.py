"""The tools for routers, as a process that is interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from coe.protocols import EncoderSpec
from routers.cache import digest
from routers.encoders import minilm
from routers.store import EmbeddingStore
from tests.e2e.conftest import COE

Coe = Callable[..., subprocess.CompletedProcess[str]]
# Who starts the tests in the background has them ignore Ctrl-C, and so would what they start.
heeds_interruption = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)

FILE = """
version: 1
backends: {gone: http://127.0.0.1:9}
experts: {one: gone/m}
encoders: {small: {type: hashed}}
routers: {default: {type: embedding, encoder: small}}
categories:
  sums: {utterances: [add two and two, what is one plus one, sum these, subtract two, times three]}
  trips: {utterances: [a train to Rome, book a flight, find a hotel, rent a car, see the museum]}
default: one
"""


def rows(count: int) -> str:
    """Return so many rows, each another text."""
    return "".join(
        json.dumps({"text": f"add {n} to {n + 1}", "category": "sums"}) + "\n" for n in range(count)
    )


def test_an_interruption_keeps_what_was_scored(coe: Coe, tmp_path: Path) -> None:
    """Interrupted as by Ctrl-C, once something was kept; the next run goes on and tidies up."""
    tmp_path.joinpath("experts.yaml").write_text(FILE)
    tmp_path.joinpath("set.jsonl").write_text(rows(6_000))
    kept = tmp_path / "set.jsonl.scores"
    process = subprocess.Popen(
        [str(COE), "router", "evaluate", "set.jsonl"],
        cwd=tmp_path,
        preexec_fn=heeds_interruption,  # noqa: PLW1509 - it takes no lock
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    while not (kept.exists() and kept.stat().st_size > 1000) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)

    assert process.returncode == 130, said
    assert "what was scored is kept beside set.jsonl" in said
    assert kept.stat().st_size > 1000

    tmp_path.joinpath("set.jsonl").write_text(rows(40))
    again = coe("router", "evaluate", "set.jsonl", cwd=tmp_path)

    assert again.returncode == 0, again.stderr
    assert "40 rows, 40 inside" in again.stdout
    assert not kept.exists()


LINEAR = FILE.replace("{type: hashed}", "{type: minilm}").replace(
    "{type: embedding, encoder: small}", "{type: linear, encoder: small, model: m.npz}"
)


@pytest.mark.timeout(180)
def test_an_interrupted_training_keeps_the_embeddings(coe: Coe, tmp_path: Path) -> None:
    """The first run is stopped while it encodes; the second encodes what the first did not."""
    pytest.importorskip("sklearn")
    if not minilm.FOLDER.is_dir():
        pytest.skip("the encoder is not built")
    tmp_path.joinpath("experts.yaml").write_text(LINEAR)
    tmp_path.joinpath("set.jsonl").write_text(rows(3_000))
    store = EmbeddingStore(tmp_path / "cache")
    mark = minilm.build(EncoderSpec(name="small", type="minilm")).fingerprint
    keys = [digest(json.loads(line)["text"]) for line in rows(3_000).splitlines()]
    process = subprocess.Popen(
        [str(COE), "router", "train", "--on", "set.jsonl"],
        cwd=tmp_path,
        env={**os.environ, "COE_CACHE_DIR": str(store.path.parent)},
        preexec_fn=heeds_interruption,  # noqa: PLW1509 - it takes no lock
        stderr=subprocess.PIPE,
        text=True,
    )
    while not store.path.exists() and process.poll() is None:
        time.sleep(0.01)
    while not store.recall(mark, keys, 384) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    kept = store.recall(mark, keys, 384)

    assert process.returncode == 130, said
    assert f"embeddings are kept in {store.path.parent}" in said
    assert 0 < len(kept) < 3_000
    assert not (tmp_path / "m.npz").exists()

    tmp_path.joinpath("set.jsonl").write_text(rows(40))
    again = coe(
        *("router", "train", "--on", "set.jsonl"),
        cwd=tmp_path,
        COE_CACHE_DIR=str(store.path.parent),
    )

    assert again.returncode == 0, again.stderr
    assert "50 rows of 2 categories" in again.stdout
    assert (tmp_path / "m.npz").is_file()
