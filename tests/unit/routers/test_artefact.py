from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from coe.errors import ArtefactError
from coe.types import Category
from routers import artefact
from routers.encoders.hashed import HashedEncoder

ARRAYS = {"weights": np.arange(6, dtype=np.float32).reshape(2, 3), "owner": np.array([0, 1, 1])}
CARD: dict[str, Any] = {"categories": ["a", "b"], "encoder": "hashed-1-64"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    written = tmp_path / "router.npz"
    artefact.write(written, kind="linear", card=CARD, arrays=ARRAYS)
    return written


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30
)
@given(
    card=st.dictionaries(st.text(), st.one_of(st.text(), st.integers(), st.none())),
    array=arrays_of.arrays(
        st.sampled_from([np.float32, np.float64, np.int32, np.uint8]),
        arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0),
    ),
)
def test_what_is_written_is_read_back(tmp_path: Path, card: dict[str, Any], array: Any) -> None:
    path = tmp_path / "any.npz"

    artefact.write(path, kind="linear", card=card, arrays={"one": array})
    found = artefact.read(path, kind="linear")

    assert found.card == card
    assert found.arrays["one"].dtype == array.dtype
    np.testing.assert_array_equal(found.arrays["one"], array)


def test_any_flipped_byte_is_noticed_or_harmless(path: Path) -> None:
    """Bytes of the zip's own bookkeeping (a date, say) may differ; nothing that counts may."""
    content = path.read_bytes()
    refused = 0
    for place in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[place] ^= 0x40
        path.write_bytes(damaged)
        try:
            found = artefact.read(path, kind="linear")
        except ArtefactError:
            refused += 1
        else:
            assert found.card == CARD
            np.testing.assert_array_equal(found.arrays["weights"], ARRAYS["weights"])

    assert refused > len(content) / 7 / 2


def test_an_edited_card_is_refused(path: Path) -> None:
    arrays = dict(np.load(path, allow_pickle=False))
    card = json.loads(arrays["card"].tobytes())
    card["card"]["encoder"] = "another"
    arrays["card"] = np.frombuffer(json.dumps(card).encode(), dtype=np.uint8)
    np.savez(path, **arrays)

    with pytest.raises(ArtefactError, match=r"router\.npz: is damaged or was edited .*train the"):
        artefact.read(path, kind="linear")


def test_an_edited_array_is_refused(path: Path) -> None:
    arrays = dict(np.load(path, allow_pickle=False))
    arrays["weights"] = arrays["weights"] + np.float32(1e-3)
    np.savez(path, **arrays)

    with pytest.raises(ArtefactError, match="is damaged or was edited"):
        artefact.read(path, kind="linear")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99])
def test_half_a_file_is_refused(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])

    with pytest.raises(ArtefactError, match="is no router artefact"):
        artefact.read(path, kind="linear")


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / "evil.npz"
    np.savez(path, card=np.array([{"kind": "linear"}], dtype=object))

    with pytest.raises(ArtefactError, match="is no router artefact"):
        artefact.read(path, kind="linear")


def test_a_compressed_file_is_refused_before_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, card=np.zeros(100_000, dtype=np.uint8))

    with pytest.raises(ArtefactError, match="is compressed"):
        artefact.read(path, kind="linear")


def test_a_shape_that_is_a_lie_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lie.npz"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (1 << 60,)}
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("card.npy", header.getvalue())

    with pytest.raises(ArtefactError, match="is no router artefact"):
        artefact.read(path, kind="linear")


def test_a_foreign_npz_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign.npz"
    np.savez(path, weights=np.zeros(3))

    with pytest.raises(ArtefactError, match="its card is missing"):
        artefact.read(path, kind="linear")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"none\.npz: cannot be read: No such file"):
        artefact.read(tmp_path / "none.npz", kind="linear")


def test_another_kind_and_another_version_are_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ArtefactError, match="is a router of type linear, not pilot"):
        artefact.read(path, kind="pilot")

    monkeypatch.setattr(artefact, "VERSION", 2)
    with pytest.raises(ArtefactError, match="is of version 1, and this gateway reads version 2"):
        artefact.read(path, kind="linear")


def test_a_folder_that_cannot_be_written_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ArtefactError, match="cannot be written"):
        artefact.write(tmp_path / "file" / "router.npz", kind="linear", card={}, arrays={})


def test_writing_leaves_nothing_but_the_file(path: Path) -> None:
    artefact.write(path, kind="linear", card={}, arrays={})

    assert [entry.name for entry in path.parent.iterdir()] == ["router.npz"]


def test_another_encoder_is_refused(path: Path) -> None:
    found = artefact.read(path, kind="linear")

    artefact.expect_encoder(found, HashedEncoder(name="same", dim=64), place="routers.fast")
    with pytest.raises(ArtefactError, match=r"routers\.fast: .*hashed-1-64.*'other'.*hashed-1-32"):
        artefact.expect_encoder(found, HashedEncoder(name="other", dim=32), place="routers.fast")


A = Category(name="a", utterances=("one", "two"))
B = Category(name="b", utterances=("three",))


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        ((A,), "was trained for categories that the composition has not: b"),
        ((A, B, Category(name="c", utterances=("four",))), "knows nothing of c"),
        ((Category(name="a", utterances=("one", "2")), B), "the utterances of a changed since"),
    ],
)
def test_another_composition_is_refused(
    tmp_path: Path, categories: tuple[Category, ...], message: str
) -> None:
    found = trained_on(tmp_path, {"a": ["one", "two"], "b": ["three"]})

    with pytest.raises(ArtefactError, match=message):
        artefact.expect_utterances(found, categories, place="routers.fast")


def test_the_same_utterances_in_another_order_are_the_same(tmp_path: Path) -> None:
    found = trained_on(tmp_path, {"a": ["two", "one", "two"], "b": ["three"]})

    artefact.expect_utterances(found, (B, A, Category(name="rules")), place="routers.fast")


def test_rows_from_a_file_leave_the_utterances_free(tmp_path: Path) -> None:
    found = trained_on(tmp_path, {})

    artefact.expect_utterances(found, (A, B), place="routers.fast")


def trained_on(folder: Path, texts: dict[str, list[str]]) -> artefact.Artefact:
    path = folder / "router.npz"
    card = {"categories": ["a", "b"], "utterances": artefact.utterance_digests(texts)}
    artefact.write(path, kind="linear", card=card, arrays={})
    return artefact.read(path, kind="linear")
