"""The experts that ship as GGUF files: `python gguf_models.py FOLDER NAME...`.

Needs `gguf` and `safetensors`, and nothing of ours, so that it runs in the environment of a
llama.cpp server. `base` is the base model; any other name is the base with the adapter of that
name merged in (Hu et al. 2021, arXiv:2106.09685, equation 3).

The files are real models of 3.7 M parameters that answer. Their answers are not those of the
embedded engine: llama.cpp has no way to split a text as their tokenizer does, at every space.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

EXPERTS = Path(__file__).parents[1] / "experts"
_CONTROL, _NORMAL = 3, 1

Weights = dict[str, NDArray[Any]]


def main() -> None:
    """Write the models that the command line names."""
    folder, *names = sys.argv[1:]
    for name in names:
        write(Path(folder) / f"{name}.gguf", name)


def write(target: Path, name: str) -> None:
    """Write one model."""
    config = json.loads((EXPERTS / "base" / "config.json").read_text())
    writer = gguf.GGUFWriter(target, "llama")
    writer.add_name(name)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    _add_tokenizer(writer, config)
    heads = config["num_attention_heads"]
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    for tensor, values in _weights(name).items():
        known = names.get_name(tensor, try_suffixes=(".weight",))
        if known is None:
            raise ValueError(f"llama.cpp has no place for {tensor}")
        if "q_proj" in tensor or "k_proj" in tensor:
            values = _interleaved(values, heads)  # noqa: PLW2901 - the same weights, reordered
        kind = np.float32 if values.ndim == 1 else np.float16
        writer.add_tensor(known, np.ascontiguousarray(values.astype(kind)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _weights(name: str) -> Weights:
    base: Weights = load_file(EXPERTS / "base" / "model.safetensors")
    if name == "base":
        return base
    folder = EXPERTS / "adapters" / name
    config = json.loads((folder / "adapter_config.json").read_text())
    adapter: Weights = load_file(folder / "adapter_model.safetensors")
    scaling = config["lora_alpha"] / config["r"]
    for key, down in adapter.items():
        if ".lora_A." in key:
            up = adapter[key.replace(".lora_A.", ".lora_B.")]
            layer = key.removeprefix("base_model.model.").replace(".lora_A.weight", ".weight")
            change = up.astype(np.float32) @ down.astype(np.float32) * scaling
            base[layer] = base[layer].astype(np.float32) + change
    return base


def _interleaved(values: NDArray[Any], heads: int) -> NDArray[Any]:
    """Reorder rows from halves to pairs, which is how llama.cpp rotates."""
    rows, columns = values.shape
    halves = values.reshape(heads, 2, rows // heads // 2, columns)
    return halves.swapaxes(1, 2).reshape(rows, columns)


def _add_tokenizer(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    tokenizer = json.loads((EXPERTS / "base" / "tokenizer.json").read_text())
    special = {token["id"] for token in tokenizer["added_tokens"] if token["special"]}
    vocabulary = {**tokenizer["model"]["vocab"]}
    vocabulary |= {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")  # digits one by one, and words with the space before them
    writer.add_token_list(tokens)
    kinds = [_CONTROL if place in special else _NORMAL for place in range(len(tokens))]
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_pad_token_id(config["pad_token_id"])
    writer.add_add_bos_token(value=False)
    writer.add_chat_template((EXPERTS / "base" / "chat_template.jinja").read_text())


if __name__ == "__main__":
    main()
