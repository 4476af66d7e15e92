"""Experts that are added to an engine that runs."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coe.errors import ArtefactError, BackendRejected, ExpertLoadFailed
from coe.protocols import ExpertSite

pytestmark = [
    pytest.mark.anyio,
    # peft 0.21 reads a property that transformers 5.23 has renamed.
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
]


@pytest.fixture
def own(lab: Any, tmp_path: Path) -> Any:
    """The lab with a folder of its own, to damage."""
    shutil.copytree(lab.folder, tmp_path / "zoo")
    for config in tmp_path.glob("zoo/*/adapter_config.json"):
        keys = json.loads(config.read_text())
        config.write_text(json.dumps({**keys, "base_model_name_or_path": "/where/it/was/trained"}))
    return replace(lab, folder=tmp_path / "zoo")


def site(expert: str, adapter: str | None = None, model: str = "base") -> ExpertSite:
    return ExpertSite(expert=expert, model=model, adapter=adapter)


async def test_one_more_adapter_does_not_read_the_base_again(own: Any, lab: Any) -> None:
    async with own.running(site("plain"), site("red", "red")) as backend:
        await backend.start()
        weights = own.folder / "base" / "model.safetensors"
        weights.unlink()  # what is in memory may be a view of the file
        weights.write_bytes(b"\0" * 64)  # whoever reads it now, fails

        taken = backend.serve((site("plain"), site("red", "red"), site("new", "blue")))
        await backend.start()

        assert taken
        assert await own.tell(backend, "new") == lab.oracle("base", "blue")
        assert await own.tell(backend, "red") == lab.oracle("base", "red")


async def test_other_weights_under_the_same_name_need_a_new_engine(own: Any, lab: Any) -> None:
    async with own.running(site("red", "red")) as backend:
        taken = backend.serve((site("red", "blue"), site("new", "green")))

        assert not taken
        assert await own.tell(backend, "red") == lab.oracle("base", "red")
        with pytest.raises(BackendRejected):
            await own.tell(backend, "new")


async def test_who_was_left_out_goes_on_for_requests_that_are_on_it(own: Any, lab: Any) -> None:
    async with own.running(site("red", "red"), site("blue", "blue")) as backend:
        assert backend.serve((site("red", "red"),))

        assert await own.tell(backend, "blue") == lab.oracle("base", "blue")


async def test_an_adapter_that_is_not_there_is_told(own: Any) -> None:
    async with own.running(site("red", "red")) as backend:
        with pytest.raises(ArtefactError, match="gone"):
            backend.serve((site("red", "red"), site("new", "./gone")))

        assert await backend.models() == ("red",)


async def test_who_could_not_be_loaded_is_tried_again(own: Any, lab: Any) -> None:
    weights = own.folder / "blue" / "adapter_model.safetensors"
    good = weights.read_bytes()
    weights.write_bytes(b"\0" * 64)
    async with own.running(site("blue", "blue")) as backend:
        with pytest.raises(ExpertLoadFailed):
            await backend.start()
        weights.write_bytes(good)

        assert backend.serve((site("blue", "blue"),))

        assert await own.tell(backend, "blue") == lab.oracle("base", "blue")
