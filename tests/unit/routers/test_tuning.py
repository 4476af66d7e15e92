from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from coe.errors import ConfigError
from routers.encoders.export import Checkpoint, write
from routers.encoders.graph import Shape
from routers.encoders.onnx import CARD, MODEL, OnnxEncoder
from routers.tuning import Tuned, TuningRecipe, split, tune

pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("safetensors")

SHAPE = Shape(layers=2, heads=2, dim=16)
WIDE = 32
WORDS = ("red", "blue", "green", "wide", "tall", "old", "new", "warm")
ROWS = [
    (f"{verb} the {word} {noun}", name)
    for name, verb, noun in (
        ("paint", "paint", "wall"),
        ("play", "play", "song"),
        ("book", "reserve", "table"),
    )
    for word in WORDS
]
RECIPE = TuningRecipe(epochs=10, batch=8, rate=3e-3)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """An encoder of two small layers that has learnt nothing, with words as tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = sorted({word for text, _ in ROWS for word in text.split()})
    vocabulary = {word: at for at, word in enumerate(["[UNK]", "[CLS]", "[SEP]", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    path = tmp_path_factory.mktemp("base") / "tokenizer.json"
    tokenizer.save(str(path))
    generator = np.random.default_rng(0)

    def table(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return generator.normal(0, 0.3, shape).astype(np.float32)

    dim = SHAPE.dim
    weights = {
        "embeddings.word_embeddings.weight": table(len(vocabulary), dim),
        "embeddings.position_embeddings.weight": table(32, dim),
        "embeddings.token_type_embeddings.weight": table(2, dim),
    }
    norms, sizes = ["embeddings.LayerNorm"], {}
    for layer in range(SHAPE.layers):
        prefix = f"encoder.layer.{layer}"
        norms += [f"{prefix}.attention.output.LayerNorm", f"{prefix}.output.LayerNorm"]
        sizes |= {f"{prefix}.attention.self.{part}": (dim, dim) for part in ("query", "key")}
        sizes |= {f"{prefix}.attention.{part}": (dim, dim) for part in ("self.value",)}
        sizes[f"{prefix}.attention.output.dense"] = (dim, dim)
        sizes[f"{prefix}.intermediate.dense"] = (WIDE, dim)
        sizes[f"{prefix}.output.dense"] = (dim, WIDE)
    for name, (outputs, inputs) in sizes.items():
        weights |= {f"{name}.weight": table(outputs, inputs), f"{name}.bias": table(outputs)}
    for name in norms:
        ones = np.ones(dim, dtype=np.float32)
        weights |= {f"{name}.weight": ones, f"{name}.bias": ones * 0}
    about = {"model": "tiny", "licence": "none"}
    return Checkpoint(weights=weights, tokenizer=path, about=about, shape=SHAPE, max_length=32)


def loaded(folder: Path) -> OnnxEncoder:
    return OnnxEncoder(name="tuned", folder=folder)


def clearness(encoder: OnnxEncoder) -> float:
    """Return how much nearer rows are to their own category than to the others, as cosines."""
    vectors = encoder.encode([text for text, _ in ROWS])
    names = np.array([name for _, name in ROWS])
    same = names[:, None] == names[None]
    cosines = vectors @ vectors.T
    return float(cosines[same].mean() - cosines[~same].mean())


def test_a_tuned_encoder_tells_the_categories_apart_better(
    base: Checkpoint, tmp_path: Path
) -> None:
    write(base, tmp_path / "before")

    tuned = tune(ROWS, tmp_path / "after", recipe=RECIPE, base=base)

    assert tuned.steps == tuned.planned == 40  # 24 rows and 3 names make 4 steps, 10 times
    assert clearness(loaded(tuned.folder)) > clearness(loaded(tmp_path / "before")) + 0.3
    assert not (tmp_path / "after.partial").exists()


def test_the_exported_graph_gives_the_vectors_that_torch_learnt(
    base: Checkpoint, tmp_path: Path
) -> None:
    """The network in torch and the graph in ONNX are the same function of the same weights."""
    from routers.encoders import network

    write(base, tmp_path / "fp32", precision="fp32")
    encoder = loaded(tmp_path / "fp32")
    texts = [text for text, _ in ROWS] + ["", "red " * 20]

    found = network.encode(base.weights, [encoder.tokens(text) for text in texts], shape=SHAPE)

    # Torch may compute in 16 bits, which have three digits.
    np.testing.assert_allclose(found, encoder.encode(texts), atol=0.02)


def test_the_same_rows_and_seed_give_the_same_encoder(base: Checkpoint, tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        tune([*ROWS, *ROWS], tmp_path / name, recipe=RECIPE, base=base, seed=seed)

    one, two, three = (
        loaded(tmp_path / name).encode(["paint the wall"])[0] for name in ("one", "two", "three")
    )
    np.testing.assert_array_equal(one, two)
    assert not np.allclose(one, three, atol=1e-3)


def test_an_interrupted_tuning_goes_on_where_it_was(base: Checkpoint, tmp_path: Path) -> None:
    """Stopped at any step, and continued, it ends as if it had never been stopped."""
    tune(ROWS, tmp_path / "whole", recipe=RECIPE, base=base)
    told: list[int] = []

    def stop(what: str, done: int, _: int) -> None:
        if what == "tune the encoder" and done == 23:
            raise KeyboardInterrupt

    def listen(what: str, done: int, _: int) -> None:
        if what == "tune the encoder":
            told.append(done)

    seconds = (31.0 * turn for turn in itertools.count())  # every step takes long enough to save
    slow: Callable[[], float] = lambda: next(seconds)  # noqa: E731 - a clock
    folder = tmp_path / "halves"
    with pytest.raises(KeyboardInterrupt):
        tune(ROWS, folder, recipe=RECIPE, base=base, progress=stop, clock=slow, minutes=1e3)
    with pytest.raises(KeyboardInterrupt):
        tune(ROWS, folder, recipe=RECIPE, base=base, progress=stop, minutes=1e3)
    assert not folder.exists()
    tuned = tune(ROWS, folder, recipe=RECIPE, base=base, progress=listen, minutes=1e3)

    assert told[0] == 23
    assert tuned.steps == 40
    assert tuned.seconds > 600
    texts = [text for text, _ in ROWS]
    np.testing.assert_allclose(
        loaded(folder).encode(texts), loaded(tmp_path / "whole").encode(texts), atol=0.05
    )


def test_what_was_begun_for_other_rows_is_begun_anew(base: Checkpoint, tmp_path: Path) -> None:
    told: list[int] = []
    seconds = (31.0 * turn for turn in itertools.count())

    def stop(what: str, done: int, _: int) -> None:
        if what == "tune the encoder" and done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(
            ROWS,
            tmp_path / "tuned",
            recipe=RECIPE,
            base=base,
            progress=stop,
            clock=lambda: next(seconds),
        )
    assert (tmp_path / "tuned.partial").exists()
    tune(
        ROWS[:-1],
        tmp_path / "tuned",
        recipe=RECIPE,
        base=base,
        progress=lambda what, done, _: told.append(done) if what.startswith("tune") else None,
    )

    assert told[0] == 0


def test_a_file_that_is_no_student_is_begun_anew(base: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "tuned.partial").write_bytes(b"garbage")

    tuned = tune(ROWS, tmp_path / "tuned", recipe=RECIPE, base=base)

    assert tuned.steps == 40


def test_time_that_is_up_ends_the_tuning_whole(base: Checkpoint, tmp_path: Path) -> None:
    seconds = (6.0 * turn for turn in itertools.count())

    tuned = tune(
        ROWS,
        tmp_path / "tuned",
        recipe=RECIPE,
        base=base,
        minutes=1.0,
        clock=lambda: next(seconds),
    )

    assert tuned.steps == 10
    assert tuned.planned == 40
    assert loaded(tuned.folder).dim == SHAPE.dim


def test_what_is_finished_is_not_done_again_unless_it_is_damaged(
    base: Checkpoint, tmp_path: Path
) -> None:
    def tuning(folder: Path) -> tuple[Tuned, list[str]]:
        told: list[str] = []
        found = tune(
            ROWS, folder, recipe=RECIPE, base=base, progress=lambda what, *_: told.append(what)
        )
        return found, told

    first, _ = tuning(tmp_path / "tuned")
    second, said = tuning(tmp_path / "tuned")
    fingerprint = loaded(first.folder).fingerprint
    (first.folder / MODEL).write_bytes(b"other")
    third, again = tuning(tmp_path / "tuned")

    assert second == first
    assert said == []
    assert "tune the encoder" in again
    assert third.steps == first.steps
    assert loaded(third.folder).fingerprint == fingerprint


def test_the_card_says_what_was_tuned(base: Checkpoint, tmp_path: Path) -> None:
    tune(ROWS, tmp_path / "tuned", recipe=RECIPE, base=base)

    card = json.loads((tmp_path / "tuned" / CARD).read_text())

    assert card["model"] == "tiny, tuned"
    assert card["licence"] == "none"
    assert card["tuning"]["steps"] == 40


def test_words_that_no_row_has_keep_their_meaning(base: Checkpoint) -> None:
    """Only the layers learn; the tables of the words are as they were."""
    from routers.encoders import network

    student = network.Student(
        base.weights,
        np.eye(3, SHAPE.dim, dtype=np.float32),
        shape=SHAPE,
        pace=network.Pace(rate=1e-2, centre_rate=1e-2, decay=0.1),
    )
    tokens = [[1, 4, 2], [1, 5, 6, 2]]
    student.learn(tokens, np.array([0, 1]), temperature=0.1, dropout=0.1, speed=1.0, seed=0)

    after = student.weights()
    for name, before in base.weights.items():
        assert np.array_equal(after[name], before) == name.startswith("embeddings."), name


def test_one_category_is_refused(base: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="two categories at least, found 1"):
        tune(ROWS[:8], tmp_path / "tuned", base=base)


def test_without_torch_it_says_what_to_install(
    base: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "routers.encoders.network", raising=False)
    monkeypatch.delattr("routers.encoders.network", raising=False)

    with pytest.raises(ConfigError, match=r"pip install 'coe-gateway\[tune\]'"):
        tune(ROWS, tmp_path / "tuned", base=base)


def test_torch_is_imported_only_to_tune() -> None:
    program = "import sys, routers.tuning, routers.tools; print('torch' in sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert ran.stdout.strip() == "False"


@pytest.mark.parametrize("size", [1, 2, 3, 5, 12])
def test_a_split_leaves_a_fifth_out_and_no_category_empty(size: int) -> None:
    rows = [(f"{name} {number}", name) for name in "abcdefghij" for number in range(size)]

    seen, unseen = split(rows, seed=3)

    assert sorted([*seen, *unseen]) == sorted(rows)
    assert split(rows, seed=3) == (seen, unseen)
    for name in "abcdefghij":
        left = sum(category == name for _, category in unseen)
        assert min(1, size - 1, size // 5) <= left <= -(-size // 5)
        assert (left == 0) == (size == 1)
