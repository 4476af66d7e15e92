import shutil
from pathlib import Path

import pytest

from coe.composition import load
from coe.composition.revisions import revision

FILE = """
version: 1
backends:
  one: {{url: "http://127.0.0.1:{port}", type: openai}}
experts:
  big: {{backend: one, model: models/big{keys}}}
  cloud: {{backend: one, model: some-model}}
  tuned: {{base: big, adapter: adapters/tuned}}
default: cloud
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, size in (("models/big/weights.bin", 3 << 20), ("adapters/tuned/weights.bin", 100)):
        file = tmp_path / name
        file.parent.mkdir(parents=True)
        file.write_bytes(bytes(size))
    return tmp_path


def revisions(folder: Path, *, port: int = 1, keys: str = "") -> dict[str, str]:
    file = folder / "experts.yaml"
    file.write_text(FILE.format(port=port, keys=keys))
    composition = load(file)
    return {name: revision(composition, name) for name in composition.experts}


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


def test_where_an_expert_runs_is_not_part_of_its_revision(folder: Path) -> None:
    assert revisions(folder, port=1) == revisions(folder, port=2)


def test_a_copy_of_the_folder_has_the_same_revisions(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")

    assert revisions(folder) == revisions(copy)


def test_what_is_sent_with_a_request_is_part_of_it(folder: Path) -> None:
    before = revisions(folder)

    after = revisions(folder, keys=", defaults: {temperature: 0.5}")

    assert "big" in changed(before, after)
    assert "cloud" not in changed(before, after)


def test_a_retrained_adapter_is_another_revision_of_its_expert_alone(folder: Path) -> None:
    before = revisions(folder)

    (folder / "adapters/tuned/weights.bin").write_bytes(b"\1" * 100)

    assert changed(before, revisions(folder)) == {"tuned"}


@pytest.mark.parametrize("at", [0, (3 << 20) - 1])
def test_other_weights_of_a_base_are_another_revision_of_all_on_it(folder: Path, at: int) -> None:
    before = revisions(folder)

    with (folder / "models/big/weights.bin").open("r+b") as file:
        file.seek(at)
        file.write(b"\1")

    assert changed(before, revisions(folder)) == {"big", "tuned"}
