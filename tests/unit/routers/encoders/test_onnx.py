from __future__ import annotations

import hashlib
import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coe.errors import ArtefactError, ConfigError
from coe.protocols import EncoderSpec
from routers.encoders import minilm, onnx
from routers.encoders.minilm import FOLDER
from routers.encoders.onnx import CARD, MODEL, TOKENIZER, OnnxEncoder

pytestmark = pytest.mark.skipif(
    not (FOLDER / CARD).is_file(), reason="run python -m routers.encoders.export"
)


@pytest.fixture(scope="module")
def encoder() -> OnnxEncoder:
    return OnnxEncoder(name="minilm", folder=FOLDER)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the artefact that a test may damage."""
    return Path(shutil.copytree(FOLDER, tmp_path / "minilm"))


def test_int8_stays_close_to_the_original_weights(encoder: OnnxEncoder, root: Path) -> None:
    golden = json.loads((root / "tests/data/minilm.json").read_text("utf-8"))["texts"]
    expected = np.array([row["head"] for row in golden])

    found = encoder.encode([row["text"] for row in golden])[:, :8]

    cosine = (found * expected).sum() / np.linalg.norm(found) / np.linalg.norm(expected)
    assert cosine > 0.98
    assert np.abs(found - expected).max() < 0.05


def test_a_paraphrase_is_nearer_than_another_subject(encoder: OnnxEncoder) -> None:
    text, paraphrase, other = encoder.encode(
        ["how many feet are 12 metres", "convert twelve meters to ft", "who wrote Hamlet"]
    )

    assert text @ paraphrase > text @ other + 0.3


def test_a_missing_artefact_says_how_to_build_it(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"python -m routers\.encoders\.export"):
        OnnxEncoder(name="minilm", folder=tmp_path / "nowhere")


@pytest.mark.parametrize("name", [MODEL, TOKENIZER])
def test_a_damaged_file_is_refused(copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)

    with pytest.raises(ArtefactError, match=rf"{name}.*sha256.*routers\.encoders\.export"):
        OnnxEncoder(name="minilm", folder=copy)


@pytest.mark.parametrize("name", [MODEL, TOKENIZER])
def test_an_absent_file_is_refused(copy: Path, name: str) -> None:
    (copy / name).unlink()

    with pytest.raises(ArtefactError, match=f"{name}: cannot be read"):
        OnnxEncoder(name="minilm", folder=copy)


@pytest.mark.parametrize("card", ["", "{}", "[]", "{", '{"dim": "many"}'])
def test_a_damaged_card_is_refused(copy: Path, card: str) -> None:
    (copy / CARD).write_text(card, "utf-8")

    with pytest.raises(ArtefactError, match="is damaged"):
        OnnxEncoder(name="minilm", folder=copy)


def test_a_file_that_is_no_model_is_refused(copy: Path) -> None:
    describe(copy, b"no model", (copy / TOKENIZER).read_bytes())

    with pytest.raises(ArtefactError, match="not a model that ONNX Runtime loads"):
        OnnxEncoder(name="minilm", folder=copy)


def test_a_file_that_is_no_tokeniser_is_refused(copy: Path) -> None:
    describe(copy, (copy / MODEL).read_bytes(), b"{}")

    with pytest.raises(ArtefactError, match="not a tokeniser"):
        OnnxEncoder(name="minilm", folder=copy)


def test_of_a_long_text_the_start_and_the_end_are_read(encoder: OnnxEncoder) -> None:
    material = "the quarterly figures of the northern branch " * 4000

    ids = encoder.tokens(f"Summarise this. {material} Answer in French.")

    short = encoder.tokens("Summarise this. Answer in French.")
    assert len(ids) == encoder.max_length
    assert ids[:5] == short[:5]
    assert ids[-5:] == short[-5:]


def test_a_text_of_200_000_words_costs_no_more_than_a_full_window(encoder: OnnxEncoder) -> None:
    start = time.perf_counter()

    encoder.encode(["word " * 200_000])

    assert time.perf_counter() - start < 1.0


def test_max_length_changes_the_fingerprint_and_threads_do_not(encoder: OnnxEncoder) -> None:
    shorter = OnnxEncoder(name="minilm", folder=FOLDER, max_length=32)
    wider = OnnxEncoder(name="minilm", folder=FOLDER, threads=2)

    assert shorter.fingerprint != encoder.fingerprint
    assert wider.fingerprint == encoder.fingerprint
    assert len(shorter.tokens("word " * 100)) == 32


def test_the_factory_finds_a_folder_beside_the_composition(copy: Path) -> None:
    spec = EncoderSpec(
        name="mine", type="onnx", options={"path": copy.name}, folder=str(copy.parent)
    )

    assert onnx.build(spec).dim == 384


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"thread": 2}, r"encoders\.mine\.thread: unknown option \(did you mean 'threads'"),
        ({"threads": 0}, r"encoders\.mine\.threads: expected a whole number from 1"),
        ({"threads": True}, "threads: expected a whole number"),
        ({"max_length": "long"}, "max_length: expected a whole number"),
        ({"path": ""}, "path: expected a text"),
    ],
)
def test_a_wrong_option_names_its_place(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        minilm.build(EncoderSpec(name="mine", type="minilm", options=options))


def test_the_path_of_an_onnx_encoder_is_required() -> None:
    with pytest.raises(ConfigError, match=r"encoders\.mine\.path: is missing"):
        onnx.build(EncoderSpec(name="mine", type="onnx"))


@pytest.mark.parametrize(
    ("pooling", "expected"), [("mean", [4.0, 2.0]), ("cls", [1.0, 0.0]), ("none", [4.0, 2.0])]
)
def test_other_models_are_pooled_as_their_card_says(
    tmp_path: Path, pooling: str, expected: list[float]
) -> None:
    """A graph with the inputs that exporters write; token vectors (1, 0) (7, 4) (4, 2)."""
    describe(tmp_path, tiny_model(pooled=pooling == "none"), tiny_tokenizer(), pooling, dim=2)

    vector = OnnxEncoder(name="tiny", folder=tmp_path).encode(["a b c"])[0]

    assert vector == pytest.approx(np.array(expected) / np.linalg.norm(expected))


def describe(
    folder: Path, model: bytes, tokenizer: bytes, pooling: str = "none", dim: int = 384
) -> None:
    """Write a folder whose card is true."""
    digests = {}
    for name, content in ((MODEL, model), (TOKENIZER, tokenizer)):
        (folder / name).write_bytes(content)
        digests[name] = hashlib.sha256(content).hexdigest()
    card = {"dim": dim, "max_length": 16, "pooling": pooling, "sha256": digests}
    (folder / CARD).write_text(json.dumps(card), "utf-8")


def tiny_tokenizer() -> bytes:
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1, "c": 2, "?": 3}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return str(tokenizer.to_str()).encode()


def tiny_model(*, pooled: bool) -> bytes:
    pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    names = ("input_ids", "attention_mask", "token_type_ids")
    shape = [1, "tokens"]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in names]
    table = np.array([[1, 0], [7, 4], [4, 2], [0, 0]], dtype=np.float32)
    tensors = [
        numpy_helper.from_array(table, "table"),
        numpy_helper.from_array(np.array([1]), "axis"),
        numpy_helper.from_array(np.array([2]), "last"),
    ]
    nodes = [
        helper.make_node("Add", ["input_ids", "token_type_ids"], ["ids"]),
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("Cast", ["attention_mask"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["floats", "last"], ["mask"]),
        helper.make_node("Mul", ["rows", "mask"], ["tokens_out"]),
        helper.make_node("ReduceMean", ["tokens_out", "axis"], ["pooled_out"], keepdims=0),
    ]
    if pooled:
        output = helper.make_tensor_value_info("pooled_out", TensorProto.FLOAT, [1, 2])
    else:
        output = helper.make_tensor_value_info("tokens_out", TensorProto.FLOAT, [1, "tokens", 2])
    graph = helper.make_graph(nodes, "tiny", inputs, [output], tensors)
    opsets = [helper.make_opsetid("", 18)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString())
