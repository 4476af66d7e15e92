"""What `residency` means: pinned, preferred, on demand."""

from __future__ import annotations

from pathlib import Path

import pytest

from coe.composition import check, load
from coe.errors import CompositionError

TEXT = """\
version: 1
backends: {gpu: {type: vllm, url: http://h, memory: 10GiB}}
experts:
  a: {backend: gpu, model: a, memory: 8GiB, residency: preferred}
  b: {backend: gpu, model: b, memory: 8GiB, residency: preferred}
  c: {backend: gpu, model: c, memory: 2GiB, residency: pinned}
  d: {backend: gpu, model: d, memory: 1GiB}
default: a
"""


def test_each_is_read_and_preferred_ones_need_not_fit_together(tmp_path: Path) -> None:
    path = tmp_path / "experts.yaml"
    path.write_text(TEXT)

    experts = load(path, {}).experts.values()

    assert [(one.name, one.pinned, one.preferred) for one in experts] == [
        *(("a", False, True), ("b", False, True), ("c", True, False), ("d", False, False)),
    ]
    assert [problem for problem in check(path, {}) if problem.severity == "error"] == []


def test_it_says_nothing_where_nothing_is_packed(tmp_path: Path) -> None:
    path = tmp_path / "experts.yaml"
    path.write_text(TEXT.replace(", memory: 10GiB", "").replace("pinned", "on_demand"))

    found = [one.path for one in check(path, {}) if "no effect" in one.message]

    assert found == ["experts.a.residency", "experts.b.residency"]


def test_another_word_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "experts.yaml"
    path.write_text(TEXT.replace("pinned", "sticky"))

    with pytest.raises(CompositionError, match=r"experts\.c\.residency"):
        load(path, {})
