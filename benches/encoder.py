"""What int8 costs in accuracy and saves in time: `python -m benches.encoder`.

The truth is torch on the original weights (skipped where torch is absent). CLINC150 is read from
`--data`, ../shared/data/clinc150 by default, and skipped aloud where it is not there. Writes
build/bench/encoder.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routers.encoders.export import export, source_folder
from routers.encoders.onnx import OnnxEncoder

ROOT = Path(__file__).parents[1]
CLINC = ROOT.parent / "shared" / "data" / "clinc150" / "clinc150.parquet"
PROMPTS = {
    8: "how many feet are 12 metres",
    30: "write a bash script that renames all files in a folder to lower case and adds the date "
    "of today to each of them please",
    200: "the quick brown fox jumps over the lazy dog " * 22,
}
COLD_START = """
import time
start = time.perf_counter()
from pathlib import Path
from routers.encoders.onnx import OnnxEncoder
OnnxEncoder(name="cold", folder=Path({folder!r})).encode([{text!r}])
took = time.perf_counter() - start
# Of this process alone: getrusage counts the parent's memory until exec.
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(took, int(peak.split()[1]) / 1024)
"""

Vectors = NDArray[np.float32]
Encode = Callable[[Sequence[str]], Vectors]


@dataclass(frozen=True, slots=True)
class Labelled:
    """Texts of CLINC150 with their intents; `oos` is out of every intent."""

    texts: list[str]
    labels: NDArray[np.str_]
    splits: NDArray[np.str_]


def main() -> None:
    """Print the tables and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=CLINC)
    parser.add_argument("--rows", type=int, default=8000, help="rows of CLINC150, at random")
    parser.add_argument("--texts", type=int, default=500, help="texts of the cosine table")
    chosen = parser.parse_args()
    clinc = load_clinc(chosen.data, chosen.rows)
    metrics: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folders = {name: Path(scratch) / name for name in ("fp32", "int8")}
        export(source_folder(), folders["fp32"], precision="fp32")
        export(source_folder(), folders["int8"], precision="int8")
        encoders = {name: OnnxEncoder(name=name, folder=path) for name, path in folders.items()}
        texts = clinc.texts[: chosen.texts] if clinc else list(PROMPTS.values())
        metrics |= compare(encoders, texts)
        if clinc is not None:
            metrics |= {name: accuracy(encoder.encode, clinc) for name, encoder in encoders.items()}
        for name, encoder in encoders.items():
            metrics[f"{name}_latency_ms"] = latency(encoder.encode)
            metrics[f"{name}_cold"] = cold_start(folders[name])
    metrics["encoder_cold_start_s"] = metrics["int8_cold"]["seconds"]
    print_tables(metrics)
    target = ROOT / "build" / "bench" / "encoder.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(metrics, indent=2) + "\n", "utf-8")


def load_clinc(path: Path, count: int) -> Labelled | None:
    """Return rows of CLINC150, the same at each call, or None where it is not there."""
    if not path.is_file():
        print(f"skipped: CLINC150 is not at {path}")
        return None
    from pyarrow import parquet

    rows = parquet.read_table(path).to_pylist()
    order = np.random.default_rng(0).permutation(len(rows))[:count]
    rows = [rows[place] for place in order]
    return Labelled(
        [row["text"] for row in rows],
        np.array([row["label"] for row in rows]),
        np.array([row["split"] for row in rows]),
    )


def torch_encode() -> Encode | None:
    """Return the original model on torch, one text at a time, or None where torch is absent."""
    try:
        import torch
        from tokenizers import Tokenizer
        from transformers import AutoModel
    except ImportError:
        print("skipped: torch and transformers are not installed; the truth is our fp32 graph")
        return None
    model = AutoModel.from_pretrained(source_folder()).eval()
    tokenizer = Tokenizer.from_file(str(source_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)

    def encode(texts: Sequence[str]) -> Vectors:
        rows = []
        for text in texts:
            with torch.inference_mode():
                ids = torch.tensor([tokenizer.encode(text).ids])
                mean = model(ids).last_hidden_state.mean(1)[0]
            rows.append((mean / mean.norm()).numpy())
        return np.stack(rows)

    return encode


def compare(encoders: dict[str, OnnxEncoder], texts: Sequence[str]) -> dict[str, Any]:
    """Return the cosine of each precision with the truth: mean, 1st percentile, least."""
    truth = torch_encode() or encoders["fp32"].encode
    expected = truth(texts)
    rows = {}
    for name, encoder in encoders.items():
        cosines = (encoder.encode(texts) * expected).sum(axis=1)
        rows[f"{name}_cosine"] = {
            "mean": float(cosines.mean()),
            "p1": float(np.quantile(cosines, 0.01)),
            "min": float(cosines.min()),
        }
    return rows


def accuracy(encode: Encode, clinc: Labelled) -> dict[str, float]:
    """Return test accuracy by mean utterance and by nearest neighbours, and out-of-scope AUROC."""
    vectors = encode(clinc.texts)
    known = clinc.labels != "oos"
    train, test = (clinc.splits == split for split in ("train", "test"))
    names, labels = np.unique(clinc.labels[train & known], return_inverse=True)
    expected = np.searchsorted(names, clinc.labels[test & known])
    banked = vectors[train & known]
    means = np.stack([banked[labels == column].mean(axis=0) for column in range(len(names))])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    by_mean = vectors[test] @ means.T
    neighbours = np.argpartition(vectors[test & known] @ banked.T, -5, axis=1)[:, -5:]
    votes = [np.bincount(row, minlength=len(names)).argmax() for row in labels[neighbours]]
    inside = known[test]
    return {
        "centroid": float((by_mean[inside].argmax(axis=1) == expected).mean()),
        "knn5": float((np.array(votes) == expected).mean()),
        "oos_auroc": auroc(by_mean[inside].max(axis=1), by_mean[~inside].max(axis=1)),
    }


def auroc(inside: Vectors, outside: Vectors) -> float:
    """Return the probability that a text inside scores higher than one outside."""
    ranks = np.argsort(np.argsort(np.concatenate([inside, outside])))
    wins = ranks[: len(inside)].sum() - len(inside) * (len(inside) - 1) / 2
    return float(wins / len(inside) / len(outside))


def latency(encode: Encode) -> dict[int, float]:
    """Return the median milliseconds of one text, by its length in tokens."""
    medians = {}
    for tokens, text in PROMPTS.items():
        took = []
        for _ in range(100):
            start = time.perf_counter()
            encode([text])
            took.append(time.perf_counter() - start)
        medians[tokens] = statistics.median(took) * 1e3
    return medians


def cold_start(folder: Path) -> dict[str, float]:
    """Return seconds from nothing imported to the first vector, and megabytes, in a new process."""
    program = COLD_START.format(folder=str(folder), text=PROMPTS[30])
    runs = []
    for _ in range(3):
        printed = subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=ROOT
        ).stdout
        runs.append([float(number) for number in printed.split()])
    seconds, megabytes = (statistics.median(column) for column in zip(*runs, strict=True))
    return {"seconds": seconds, "rss_mb": megabytes}


def print_tables(metrics: dict[str, Any]) -> None:
    """Print one row per precision."""
    print("| | cosine mean | p1 | min | 8 tokens ms | 30 | 200 | cold start s | RSS MB |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for name in ("fp32", "int8"):
        cosine = metrics[f"{name}_cosine"]
        took, cold = metrics[f"{name}_latency_ms"], metrics[f"{name}_cold"]
        cells = [f"{cosine[key]:.4f}" for key in ("mean", "p1", "min")]
        cells += [f"{took[tokens]:.1f}" for tokens in PROMPTS]
        cells += [f"{cold['seconds']:.2f}", f"{cold['rss_mb']:.0f}"]
        print(f"| {name} | {' | '.join(cells)} |")
    if "int8" in metrics:
        print("\n| CLINC150 | centroid | kNN 5 | out-of-scope AUROC |\n|---|--:|--:|--:|")
        for name in ("fp32", "int8"):
            row = metrics[name]
            cells = [f"{row[key]:.4f}" for key in ("centroid", "knn5", "oos_auroc")]
            print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
