"""Our products against peft's own forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from coe.backends.local.lora import AdapterBank, plain_pairs  # noqa: E402

pytestmark = pytest.mark.filterwarnings(
    "ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"
)

TOKENS = torch.arange(12).reshape(3, 4)


def tiny_model() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        initializer_range=0.5,
    )
    return LlamaForCausalLM(config).eval()


def lora_config(**changes: Any) -> Any:
    from peft import LoraConfig

    plain = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "down_proj"]}
    return LoraConfig(**{**plain, **changes}, init_lora_weights=False, task_type="CAUSAL_LM")


CONFIGS = (
    {},
    {"r": 2, "target_modules": ["v_proj"], "use_rslora": True},
    {"rank_pattern": {"q_proj": 3}, "alpha_pattern": {"layers.1.self_attn.q_proj": 64}},
)


@pytest.fixture(scope="module")
def adapted() -> Any:
    """A model of peft's with one adapter for each of CONFIGS."""
    from peft import get_peft_model

    model = get_peft_model(tiny_model(), lora_config(**CONFIGS[0]), adapter_name="a0")
    for place, changes in enumerate(CONFIGS[1:], start=1):
        model.add_adapter(f"a{place}", lora_config(**changes))
    return model.eval()


def saved(adapted: Any, folder: Path, name: str) -> tuple[Any, dict[str, Any]]:
    from peft import PeftConfig
    from peft.utils import load_peft_weights

    adapted.save_pretrained(folder, selected_adapters=[name])
    source = str(folder / name)
    return PeftConfig.from_pretrained(source), load_peft_weights(source, device="cpu")


def ours(adapted: Any, folder: Path, slots: Sequence[int]) -> Any:
    model = tiny_model()
    bank = AdapterBank(model)
    for place in range(len(CONFIGS)):
        pairs = plain_pairs(*saved(adapted, folder, f"a{place}"))
        assert pairs is not None
        assert bank.add(pairs) == place + 1
    bank.select(slots)
    with torch.inference_mode():
        return model(TOKENS).logits


def pefts(adapted: Any, names: list[str]) -> Any:
    with torch.inference_mode():
        return adapted(TOKENS, adapter_names=names).logits


@pytest.mark.parametrize(
    ("slots", "names"),
    [
        ([1, 2, 3], ["a0", "a1", "a2"]),
        ([0, 3, 1], ["__base__", "a2", "a0"]),
        ([2, 2, 2], ["a1", "a1", "a1"]),
        ([0, 0, 0], ["__base__"] * 3),
    ],
)
def test_mixed_rows_get_what_peft_gives_them(
    adapted: Any, tmp_path: Path, slots: list[int], names: list[str]
) -> None:
    torch.testing.assert_close(
        ours(adapted, tmp_path, slots), pefts(adapted, names), rtol=1e-4, atol=1e-4
    )


def test_the_base_is_itself_again_after_an_adapter() -> None:
    model = tiny_model()
    bank = AdapterBank(model)
    before = model(TOKENS).logits
    down, up = torch.randn(16, 2), torch.randn(2, 16)
    slot = bank.add({"model.layers.0.self_attn.q_proj": (down, up)})

    bank.select([slot] * 3)
    during = model(TOKENS).logits
    bank.select([0] * 3)

    assert not torch.equal(during, before)
    assert torch.equal(model(TOKENS).logits, before)


def test_flattened_rows_keep_their_own_adapters() -> None:
    """Some models hand a layer (rows * tokens, inputs)."""
    layer = torch.nn.Sequential(torch.nn.Linear(3, 5))
    bank = AdapterBank(layer)
    for _ in range(2):
        bank.add({"0": (torch.randn(3, 2), torch.randn(2, 5))})
    states = torch.randn(2, 4, 3)
    bank.select([2, 1])

    assert torch.allclose(layer(states.view(8, 3)).view(2, 4, 5), layer(states), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "down", "up", "message"),
    [
        ("model.nothing", (16, 2), (2, 16), "does not have"),
        ("model.layers", (16, 2), (2, 16), "not a layer with weights"),
        ("model.layers.0.self_attn.q_proj", (12, 2), (2, 16), r"12 values to 16 .*\(16, 16\)"),
        ("model.layers.0.self_attn.q_proj", (16, 2), (3, 16), "16 values to 16"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused_and_changes_nothing(
    name: str, down: tuple[int, int], up: tuple[int, int], message: str
) -> None:
    model = tiny_model()
    bank = AdapterBank(model)
    fitting = {"model.layers.1.self_attn.q_proj": (torch.randn(16, 2), torch.randn(2, 16))}
    before = model(TOKENS).logits

    with pytest.raises(ValueError, match=message):
        bank.add({**fitting, name: (torch.randn(*down), torch.randn(*up))})

    assert bank.add(fitting) == 1
    bank.select([0])
    assert torch.equal(model(TOKENS).logits, before)


@pytest.mark.parametrize(
    "changes",
    [{"use_dora": True}, {"trainable_token_indices": [1, 2]}, {"modules_to_save": ["lm_head"]}],
)
def test_more_than_pairs_is_not_taken_for_pairs(tmp_path: Path, changes: dict[str, Any]) -> None:
    from peft import get_peft_model

    model = get_peft_model(tiny_model(), lora_config(**changes), adapter_name="a0")

    assert plain_pairs(*saved(model, tmp_path, "a0")) is None
