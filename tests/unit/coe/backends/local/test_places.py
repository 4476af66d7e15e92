from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from coe.backends.local.places import Place, find, fingerprint, other_base
from coe.errors import ArtefactError
from coe.protocols import ExpertSite


def save(folder: Path, kind: str = "config.json", weights: bytes = b"weights") -> Path:
    folder.mkdir(parents=True)
    (folder / kind).write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def site(model: str = "models/base", adapter: str | None = None) -> ExpertSite:
    return ExpertSite(expert="sql", model=model, adapter=adapter)


def test_relative_paths_are_relative_to_the_folder(tmp_path: Path) -> None:
    base = save(tmp_path / "models" / "base")
    adapter = save(tmp_path / "sql", "adapter_config.json")

    place = find(site(adapter="sql"), tmp_path)

    assert (place.model, place.adapter) == (str(base.resolve()), str(adapter.resolve()))
    assert place.is_local
    assert place.hub_name is None


@pytest.mark.parametrize("name", ["gpt2", "owner/name"])
def test_what_is_no_folder_may_be_a_hub_s_name(tmp_path: Path, name: str) -> None:
    place = find(site(name), tmp_path)

    assert place.model == place.hub_name == name
    assert not place.is_local


@pytest.mark.parametrize("name", ["./base", "/no/base", "~/none", "a/b/c", "models/lost", "base/"])
def test_a_path_with_nothing_behind_it_is_told_with_where_it_was_looked_for(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "models").mkdir()

    with pytest.raises(ArtefactError, match=r"'sql': there is no model folder .*looked for /"):
        find(site(name), tmp_path)


def test_a_folder_without_a_configuration_is_told(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()

    with pytest.raises(ArtefactError, match=r"holds no config\.json$"):
        find(site("base"), tmp_path)


def test_a_folder_without_weights_is_told(tmp_path: Path) -> None:
    (save(tmp_path / "base") / "model.safetensors").unlink()

    with pytest.raises(ArtefactError, match="holds no weights"):
        find(site("base"), tmp_path)


def test_an_adapter_in_the_place_of_a_model_gets_a_hint(tmp_path: Path) -> None:
    save(tmp_path / "base", "adapter_config.json")

    with pytest.raises(ArtefactError, match="this is an adapter: name its base"):
        find(site("base"), tmp_path)


def test_a_file_in_the_place_of_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "base").write_text("")

    with pytest.raises(ArtefactError, match="expected the folder"):
        find(site("base"), tmp_path)


def test_a_fingerprint_follows_the_weights_and_not_the_folder(tmp_path: Path) -> None:
    one, same = save(tmp_path / "one"), save(tmp_path / "same")
    other = save(tmp_path / "other", weights=b"WEIGHTS")

    assert fingerprint(str(one)) == fingerprint(str(same)) != fingerprint(str(other))


def test_an_adapter_of_another_base_is_told_apart(tmp_path: Path) -> None:
    base, copy = save(tmp_path / "base"), save(tmp_path / "copy")
    other = save(tmp_path / "other", weights=b"other")
    adapter = save(tmp_path / "adapters" / "sql", "adapter_config.json")
    place = Place(
        expert="sql", model=str(base), adapter=str(adapter), hub_name="Owner/Name", context=None
    )
    by_path = dataclasses.replace(place, hub_name=None)

    assert other_base(place, "owner/other")
    assert other_base(place, str(other))
    assert other_base(by_path, "../../other")
    assert not other_base(by_path, "../../base")
    assert not other_base(place, None)
    assert not other_base(place, "owner/name")
    assert not other_base(place, str(copy))
    assert not other_base(place, "/where/it/was/trained")
    assert not other_base(by_path, "owner/other")
