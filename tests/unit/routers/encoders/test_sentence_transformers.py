from __future__ import annotations

import sys
from pathlib import Path

import pytest

from coe.errors import ArtefactError, ConfigError, PluginError
from coe.protocols import EncoderSpec
from routers.encoders.sentence_transformers import build


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)

    with pytest.raises(PluginError, match=r"pip install 'coe-gateway\[sentence-transformers\]'"):
        build(EncoderSpec(name="big", type="sentence_transformers", options={"model": "x/y"}))


def test_a_model_that_is_not_there_is_an_artefact_error(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    (tmp_path / "empty").mkdir()
    spec = EncoderSpec(
        name="big",
        type="sentence_transformers",
        options={"model": "empty"},
        folder=str(tmp_path),
    )

    with pytest.raises(ArtefactError, match=r"encoders\.big\.model: 'empty' cannot be loaded"):
        build(spec)


def test_the_model_is_required() -> None:
    with pytest.raises(ConfigError, match=r"encoders\.big\.model: is missing"):
        build(EncoderSpec(name="big", type="sentence_transformers"))
