"""llama-swap's config.yaml."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Bring = Callable[..., Any]

FILE = """
startPort: 5800
macros: {size: 8192, args: "--jinja --ctx-size ${size}"}
apiKeys: ["sk-swap-literal", "${env.OTHER}"]
models:
  "qwen coder":
    cmd: |
      llama-server --port ${PORT} -m q.gguf ${args}
    ttl: 300
    aliases: [coder, {id: gpt-4o-mini, unlisted: true}]
    env: ["HF_TOKEN=hf_secret"]
  llama:
    cmd: vllm serve llama --max-model-len=4096
    description: "for
      all"
  shared: {cmd: llama-server -c 8192 --parallel 4, concurrencyLimit: 2}
  far: {proxy: "http://127.0.0.1:9999"}
groups:
  big: {swap: false, exclusive: true, persistent: true, members: ["qwen coder", llama]}
peers:
  there: {proxy: https://p.example/api, apiKey: sk-peer-literal, models: [a/b]}
"""


def test_there_is_one_backend_and_an_expert_for_each_model(bring: Bring) -> None:
    brought = bring("llama-swap", FILE)
    composition = brought.composition

    assert [backend.type for backend in composition.backends.values()] == ["llama_swap"]
    assert {name: expert.model for name, expert in composition.experts.items()} == {
        "qwen-coder": "qwen coder",
        "llama": "llama",
        "shared": "shared",
        "far": "far",
        "a/b": "a/b",
    }
    assert composition.experts["llama"].description == "for all"


def test_the_context_is_that_of_the_command(bring: Bring) -> None:
    experts = bring("llama-swap", FILE).composition.experts

    assert experts["qwen-coder"].context == 8192
    assert experts["llama"].context == 4096
    assert experts["shared"].context is None  # four slots share it


def test_the_first_key_is_a_reference(bring: Bring) -> None:
    brought = bring("llama-swap", FILE)
    referring = bring("llama-swap", FILE.replace('"sk-swap-literal", ', ""))

    assert brought.variables == {"LLAMA_SWAP_API_KEY"}
    assert referring.variables == {"OTHER"}
    for secret in ("sk-swap", "sk-peer", "hf_secret"):
        assert secret not in brought.text


def test_aliases_and_groups_are_told(bring: Bring) -> None:
    brought = bring("llama-swap", FILE)
    told = {note.path: note.message for note in brought.notes("left out")}

    assert "`coder`" in told["models.qwen coder.aliases[0]"]
    assert "`gpt-4o-mini`" in told["models.qwen coder.aliases[1]"]
    assert "all may run at once" in told["groups.big"]
    assert "others are stopped" in told["groups.big"]
    assert "never stopped" in told["groups.big"]
    assert {"models.qwen coder.ttl", "models.shared.concurrencyLimit", "startPort"} <= set(told)


def test_the_address_is_to_be_filled_in(bring: Bring) -> None:
    (note, *_) = bring("llama-swap", FILE).notes("to do")

    assert "address" in note.message


def test_macros_that_name_themselves_end(bring: Bring) -> None:
    text = 'macros: {a: "${a} ${a} ${a}"}\nmodels: {m: {cmd: "x ${a} -c 512"}}\n'

    assert bring("llama-swap", text).composition.experts["m"].context == 512
