"""Which weights are taken, which are refused, and when."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from coe.backends.local import build
from coe.errors import ArtefactError, ConfigError, ExpertLoadFailed
from coe.protocols import ExpertSite

pytestmark = [
    pytest.mark.anyio,
    # peft 0.21 reads a property that transformers 5.23 has renamed.
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
]


async def test_start_loads_every_expert_and_models_lists_them(lab: Any) -> None:
    async with lab.running() as backend:
        await backend.start()

        assert await backend.models() == ("plain", *lab.skills, "else")


async def test_a_call_that_comes_while_the_weights_load_waits_for_them(lab: Any) -> None:
    async with lab.running() as backend:
        _, said = await asyncio.gather(backend.start(), lab.tell(backend, "blue"))

    assert said == lab.oracle("base", "blue")


async def test_closing_while_the_weights_load_ends_the_wait(lab: Any) -> None:
    backend = build(lab.spec())
    starting = asyncio.ensure_future(backend.start())
    await asyncio.sleep(0)  # let it ask

    await backend.aclose()

    with pytest.raises(ExpertLoadFailed, match="was closed"):
        await starting


async def test_weights_may_be_kept_in_half_precision(lab: Any) -> None:
    async with lab.running(dtype="bfloat16") as backend:
        said = await asyncio.gather(*(lab.tell(backend, name) for name in ("plain", *lab.skills)))

    assert len(set(said)) == 4


async def test_an_adapter_of_another_base_is_refused_and_the_others_serve(lab: Any) -> None:
    sites = (
        ExpertSite(expert="wrong", model="base", adapter="misfit"),
        ExpertSite(expert="red", model="base", adapter="red"),
    )

    async with lab.running(*sites) as backend:
        with pytest.raises(ExpertLoadFailed, match=r"'wrong'.*misfit.*made for the base"):
            await backend.start()

        assert await backend.models() == ("red",)
        assert await lab.tell(backend, "red") == lab.oracle("base", "red")
        with pytest.raises(ExpertLoadFailed, match="misfit"):
            await lab.ask(backend, "wrong")


async def test_an_adapter_whose_shapes_differ_is_refused(lab: Any, tmp_path: Path) -> None:
    adapter = shutil.copytree(lab.folder / "misfit", tmp_path / "adapter")
    config = json.loads((adapter / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "/where/it/was/trained"
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    site = ExpertSite(expert="wrong", model="base", adapter=str(adapter))

    async with lab.running(site) as backend:
        with pytest.raises(ExpertLoadFailed, match=r"maps \d+ values to \d+ at the layer"):
            await lab.ask(backend, "wrong")


async def test_an_adapter_that_cannot_be_mixed_is_merged_into_a_copy(
    lab: Any, tmp_path: Path
) -> None:
    lab.save_adapter("base", tmp_path, seed=5, r=4, use_dora=True)
    sites = (
        ExpertSite(expert="dora", model="base", adapter=str(tmp_path)),
        ExpertSite(expert="plain", model="base"),
    )

    async with lab.running(*sites) as backend:
        dora, plain = await asyncio.gather(lab.tell(backend, "dora"), lab.tell(backend, "plain"))

    assert dora == lab.oracle("base", tmp_path)
    assert plain == lab.oracle("base")


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("gpt2", {}),  # learned positions, and layers that are no nn.Linear
        ("bloom", {}),  # positions from the mask alone
        ("mistral", {"num_key_value_heads": 2, "sliding_window": 8}),
        ("lfm2", {"num_key_value_heads": 2, "layer_types": ["conv", "full_attention"]}),
    ],
)
async def test_other_kinds_of_models_answer_as_transformers_does(
    lab: Any, tmp_path: Path, kind: str, changes: dict[str, Any]
) -> None:
    lab.save_model(lab.config(kind, **changes), tmp_path, seed=3)
    prompts = ("the cat", "", "the hat sat on the mat and then the cat sat on the hat")

    async with lab.running(ExpertSite(expert="it", model=str(tmp_path))) as backend:
        said = await asyncio.gather(*(lab.tell(backend, "it", prompt) for prompt in prompts))

    assert list(said) == [lab.oracle(tmp_path, prompt=prompt) for prompt in prompts]


async def test_a_model_without_a_key_value_cache_is_refused(lab: Any, tmp_path: Path) -> None:
    lab.save_model(lab.config("mamba", state_size=8), tmp_path, seed=3)

    async with lab.running(ExpertSite(expert="it", model=str(tmp_path))) as backend:
        with pytest.raises(ExpertLoadFailed, match="its type mamba has no key-value cache"):
            await lab.ask(backend, "it")


async def test_a_damaged_model_is_an_error_that_names_it(lab: Any, tmp_path: Path) -> None:
    shutil.copytree(lab.folder / "base", tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.safetensors").write_bytes(b"not weights")

    async with lab.running(ExpertSite(expert="hurt", model=str(tmp_path))) as backend:
        with pytest.raises(ExpertLoadFailed, match=f"'hurt': cannot load the model {tmp_path}"):
            await lab.ask(backend, "hurt")


async def test_a_model_that_lacks_tensors_is_refused(lab: Any, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(lab.folder / "base", tmp_path, dirs_exist_ok=True)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})

    async with lab.running(ExpertSite(expert="hurt", model=str(tmp_path))) as backend:
        with pytest.raises(ExpertLoadFailed, match=r"lack 1 tensors, first model\.norm\.weight"):
            await lab.ask(backend, "hurt")


def test_a_name_is_found_in_the_cache_or_told_apart_from_a_folder(lab: Any, tmp_path: Path) -> None:
    """In a process of its own, because the hub's library reads its environment when imported."""
    repository = tmp_path / "models--nobody--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    shutil.copytree(lab.folder / "base", repository / "snapshots" / "abc")
    program = """
import asyncio
from coe.backends.local import build
from coe.errors import ExpertLoadFailed
from coe.protocols import BackendSpec, ExpertSite

async def main():
    sites = (ExpertSite(expert="near", model="nobody/tiny"),
             ExpertSite(expert="far", model="nobody/nothing"))
    backend = build(BackendSpec(name="l", type="local", experts=sites))
    try:
        await backend.start()
    except ExpertLoadFailed as error:
        print(error)
    print(await backend.models())
    await backend.aclose()

asyncio.run(main())
"""
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}

    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )

    failure, models = done.stdout.splitlines()
    assert "expert 'far': nobody/nothing is neither a folder here nor in the" in failure
    assert models == "('near',)"


def test_building_imports_nothing_heavy(lab: Any) -> None:
    program = f"""
import sys
from coe.backends.local import build
from coe.protocols import BackendSpec, ExpertSite
build(BackendSpec(name="l", type="local", folder={str(lab.folder)!r},
                  experts=(ExpertSite(expert="red", model="base", adapter="red"),)))
heavy = {{"torch", "transformers", "peft", "tokenizers", "huggingface_hub"}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


def test_a_missing_folder_is_told_when_the_backend_is_built(lab: Any) -> None:
    site = ExpertSite(expert="lost", model="base", adapter="./lost")

    with pytest.raises(ArtefactError, match=r"'lost'.*no adapter folder ./lost"):
        build(lab.spec(site))


def test_an_unknown_option_is_refused_with_the_nearest_name(lab: Any) -> None:
    with pytest.raises(ConfigError, match="did you mean `threads`"):
        build(lab.spec(thread=2))
