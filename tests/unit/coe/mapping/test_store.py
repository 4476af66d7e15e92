"""The file of a fitted map, and the maps before it."""

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from coe.errors import ConfigError
from coe.history import History
from coe.jsonfile import digest
from coe.mapping.fitted import FittedMap, GuardRow, Residual
from coe.mapping.outcomes import NONE
from coe.mapping.store import CELLS, KEPT, map_path, read_map, residual_path, write_map


def _map(**changes: object) -> FittedMap:
    random = np.random.default_rng(0)
    quality = random.random((3, 2))
    found = FittedMap(
        categories=("code", "recht", NONE),
        experts=("coder", "alt-ü"),
        quality=quality,
        lower=quality * 0.9,
        upper=quality * 0.5 + 0.5,
        counts=random.random((3, 2)) * 300,
        cost=np.array([[0.001, np.nan]] * 3),
        latency_s=np.full((3, 2), np.nan),
        traffic=np.array([0.5, 0.3, 0.2]),
        used=("coder",),
        assignment=("coder", "coder", "coder"),
        price_weight=12.5,
        best_single="coder",
        guard=(GuardRow(policy="map", quality=0.7), GuardRow(policy="oracle", quality=0.9, cost=1)),
        verdict="better",
        router="default",
        parts={"routing.router": "default"},
        about={"rows": 30},
    )
    return replace(found, **changes)  # type: ignore[arg-type]


RESIDUAL = Residual(
    embeddings=np.eye(4, 3, dtype=np.float32),
    scores=np.array([[0.5, np.nan]] * 4, dtype=np.float32),
    k=2,
    weight=0.5,
    encoder="minilm:1",
)


def _is_same(one: FittedMap, other: FittedMap) -> bool:
    plain = {field.name for field in fields(FittedMap)} - {*CELLS, "traffic", "residual"}
    return all(getattr(one, name) == getattr(other, name) for name in plain) and all(
        np.allclose(getattr(one, name), getattr(other, name), rtol=1e-5, equal_nan=True)
        for name in (*CELLS, "traffic")
    )


def test_a_map_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = map_path(tmp_path / "experts.yaml")

    write_map(path, _map())

    found = read_map(path)
    assert path.name == "experts.map"
    assert found is not None
    assert _is_same(found, _map())
    assert found.residual is None
    assert [entry.name for entry in tmp_path.iterdir()] == ["experts.map"]


def test_writing_what_was_read_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "experts.map"
    write_map(path, _map())
    before = path.read_bytes()

    found = read_map(path)
    assert found is not None
    write_map(path, found)

    assert path.read_bytes() == before


def test_a_residual_lies_beside_the_map_and_goes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "experts.map"
    write_map(path, _map(residual=RESIDUAL))

    found = read_map(path)

    assert found is not None
    assert found.residual is not None
    assert (found.residual.embeddings == RESIDUAL.embeddings).all()
    assert np.array_equal(found.residual.scores, RESIDUAL.scores, equal_nan=True)
    assert (found.residual.k, found.residual.weight) == (2, 0.5)
    write_map(path, _map())
    assert not residual_path(path).exists()


def test_there_need_not_be_a_map(tmp_path: Path) -> None:
    assert read_map(tmp_path / "experts.map") is None


def _damage(path: Path, change: dict[str, object]) -> None:
    """Change a map and its digest with it, as an old program with a mistake could have."""
    content = json.loads(path.read_text(encoding="utf-8"))
    content.pop("digest")
    content = {key: value for key, value in {**content, **change}.items() if value != "gone"}
    content["digest"] = digest(content)
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"version": 2}, "its version is 2, not 1"),
        ({"router": "gone"}, "'router' is missing"),
        ({"experts": ["a", "a"]}, "experts is not a list of different names"),
        ({"experts": ["coder"]}, "quality does not hold 1 values"),
        ({"used": ["nobody"]}, "`nobody` is none of its experts"),
        ({"categories": {}}, "the last of its categories"),
        ({"verdict": "great"}, "its verdict is 'great'"),
        ({"price_weight": -1}, "price_weight is -1"),
        ({"guard": [{"policy": "map", "worth": 1}]}, "worth"),
        ({"residual": {"k": 1, "digest": ""}}, "experts.map.npz: is missing"),
    ],
)
def test_damage_is_named_with_its_place_and_what_to_do(
    tmp_path: Path, change: dict[str, object], expected: str
) -> None:
    path = tmp_path / "experts.map"
    write_map(path, _map())
    _damage(path, change)

    with pytest.raises(ConfigError) as caught:
        read_map(path)

    assert str(path) in caught.value.message
    assert expected in caught.value.message
    assert "coe map fit" in caught.value.message


@pytest.mark.parametrize("value", [1.5, -0.1, None, "high"])
def test_a_cell_that_cannot_be_is_refused(tmp_path: Path, value: object) -> None:
    path = tmp_path / "experts.map"
    write_map(path, _map())
    rows = json.loads(path.read_text(encoding="utf-8"))["categories"]
    rows["code"]["quality"][0] = value
    _damage(path, {"categories": rows})

    with pytest.raises(ConfigError, match="is damaged"):
        read_map(path)


def test_a_map_that_was_changed_by_hand_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "experts.map"
    write_map(path, _map())
    path.write_text(path.read_text(encoding="utf-8").replace('"better"', '"cheaper"'))

    with pytest.raises(ConfigError, match="changed by hand"):
        read_map(path)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b"{}"])
def test_what_is_no_map_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "experts.map"
    path.write_bytes(content)

    with pytest.raises(ConfigError, match=r"experts\.map"):
        read_map(path)


def test_a_residual_of_another_map_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "experts.map"
    write_map(path, _map(residual=RESIDUAL))
    residual_path(path).write_bytes(residual_path(path).read_bytes()[:-1] + b"?")

    with pytest.raises(ConfigError, match="is not the one"):
        read_map(path)


def test_a_map_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")

    with pytest.raises(ConfigError, match="cannot be written"):
        write_map(tmp_path / "taken" / "experts.map", _map())


def test_maps_come_back_in_reverse_order(tmp_path: Path) -> None:
    live, history = tmp_path / "experts.map", History(tmp_path / ".coe" / "maps", KEPT)
    for weight in (1.0, 2.0, 3.0):
        history.keep(live)
        write_map(live, _map(price_weight=weight, residual=RESIDUAL if weight == 2 else None))

    back = []
    for step in range(3):
        assert history.leads_to_nothing == (step == 2)
        found = history.restore(live)
        back.append(None if found is None else (found.price_weight, found.residual is not None))

    assert back == [(2.0, True), (1.0, False), None]
    assert not live.exists()
    assert not residual_path(live).exists()
    assert len(history) == 0
    assert not history.leads_to_nothing
    with pytest.raises(ConfigError, match="none to go back to"):
        history.restore(live)


def test_a_damaged_map_of_the_history_does_not_become_live(tmp_path: Path) -> None:
    live, history = tmp_path / "experts.map", History(tmp_path / "maps", KEPT)
    write_map(live, _map(price_weight=1.0))
    history.keep(live)
    write_map(live, _map(price_weight=2.0))
    (tmp_path / "maps" / "0001.map").write_text("{}")

    with pytest.raises(ConfigError, match="damaged"):
        history.restore(live)

    found = read_map(live)
    assert found is not None
    assert found.price_weight == 2.0
