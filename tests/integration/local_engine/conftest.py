"""Tiny random models, made on the spot, and what the tests of the embedded engine ask of them."""

from __future__ import annotations

import json
import warnings
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from coe.backends.local import LocalBackend, build
from coe.protocols import BackendSpec, ExpertSite
from coe.types import Call, Dispatch, Timeouts

# Long enough that an answer of this length is never over before a short one.
CONTEXT = 1024
TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}<|assistant|>"
SKILLS = ("red", "green", "blue")


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Two bases, three adapters of the first, and one that fits only the second."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("peft")
    torch.set_num_threads(1)  # two on a busy machine wait for each other: 10 to 20 times slower
    folder = tmp_path_factory.mktemp("zoo")
    made = Lab(folder)
    made.save_model(_llama(hidden=64), "base", seed=1)
    made.save_model(_llama(hidden=48), "other", seed=2)
    for seed, skill in enumerate(SKILLS):
        made.save_adapter("base", folder / skill, seed=seed, r=4 + 2 * seed)
    made.save_adapter("other", folder / "misfit", seed=9, r=4)
    return made


@dataclass(frozen=True)
class Lab:
    """A folder of models, and the verbs that the tests need.

    Attributes:
        skills: experts with an adapter of `base`; `plain` is `base` alone, `else` is `other`.
        context: of every model, in tokens.
    """

    folder: Path
    skills: tuple[str, ...] = SKILLS
    context: int = CONTEXT

    def spec(self, *sites: ExpertSite, **options: Any) -> BackendSpec:
        """A backend with these experts, or with all that the folder holds."""
        everyone = (
            ExpertSite(expert="plain", model="base"),
            *(ExpertSite(expert=skill, model="base", adapter=skill) for skill in SKILLS),
            ExpertSite(expert="else", model="other"),
        )
        return BackendSpec(
            name="local",
            type="local",
            experts=sites or everyone,
            options=options,
            folder=str(self.folder),
        )

    @asynccontextmanager
    async def running(self, *sites: ExpertSite, **options: Any) -> AsyncIterator[LocalBackend]:
        """A backend that is closed at the end."""
        backend = build(self.spec(*sites, **options))
        try:
            yield backend
        finally:
            await backend.aclose()

    def dispatch(
        self, expert: str, prompt: str = "the cat", *, timeouts: Timeouts | None = None, **body: Any
    ) -> Dispatch:
        """A call of 24 tokens, unless the body says otherwise."""
        body = {"messages": [{"role": "user", "content": prompt}], "max_tokens": 24, **body}
        return Dispatch(
            query_id="q1",
            call=Call(
                expert=expert,
                backend="local",
                model="base",
                body=body,
                stream=bool(body.get("stream")),
                timeouts=timeouts or Timeouts(),
            ),
        )

    async def ask(self, backend: LocalBackend, expert: str, *prompt: str, **body: Any) -> Any:
        """The one JSON object of a call that is not streamed."""
        wanted = self.dispatch(expert, *prompt, **body)
        items = [item async for item in backend.generate(wanted)]
        assert len(items) == 1
        return json.loads(items[0])

    async def tell(self, backend: LocalBackend, expert: str, *prompt: str, **body: Any) -> str:
        """The text of that object's first choice."""
        return self.text(await self.ask(backend, expert, *prompt, **body))

    async def stream(self, backend: LocalBackend, expert: str, *prompt: str, **body: Any) -> Any:
        """The chunks of a streamed call, from items that must be whole frames."""
        wanted = self.dispatch(expert, *prompt, stream=True, **body)
        return self.chunks([item async for item in backend.generate(wanted)])

    def text(self, answer: Any, choice: int = 0) -> str:
        content = answer["choices"][choice]["message"]["content"]
        assert isinstance(content, str)
        return content

    def spelt(self, chunks: Sequence[Any]) -> str:
        """The text of chunks with one choice each."""
        return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)

    def chunks(self, items: Sequence[bytes]) -> list[Any]:
        found = []
        for item in items:
            assert item.endswith(b"\n\n")
            for frame in item.split(b"\n\n")[:-1]:
                assert frame.startswith(b"data: {")
                found.append(json.loads(frame.removeprefix(b"data: ")))
        return found

    def oracle(
        self, model: str | Path, adapter: str | Path | None = None, prompt: str = "the cat"
    ) -> str:
        """What transformers' and peft's own generate says, greedily, alone in its batch."""
        import torch
        from peft import PeftModel
        from transformers import AutoModelForCausalLM, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(self.folder / model)
        network = AutoModelForCausalLM.from_pretrained(self.folder / model)
        if adapter is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # as in save_adapter
                network = PeftModel.from_pretrained(network, self.folder / adapter)
        prefix = f"<|user|>{prompt}<|end|><|assistant|>"
        ids = tokenizer(prefix, return_tensors="pt", add_special_tokens=False)["input_ids"]
        with torch.inference_mode():
            whole = network.eval().generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=24,
                do_sample=False,
                pad_token_id=tokenizer.eos_token_id,
            )
        decoded: str = tokenizer.decode(whole[0, ids.shape[1] :], skip_special_tokens=True)
        return decoded

    def save_model(self, config: Any, name: str | Path, *, seed: int) -> None:
        """Save a random model of that configuration that never ends, and the tokenizer."""
        import torch
        from transformers import AutoModelForCausalLM

        torch.manual_seed(seed)
        tokenizer = _tokenizer()
        model = AutoModelForCausalLM.from_config(config)
        with torch.no_grad():
            model.get_output_embeddings().weight[tokenizer.eos_token_id] = 0
        model.save_pretrained(self.folder / name)
        tokenizer.save_pretrained(self.folder / name)

    def save_adapter(self, base: str, folder: Path, *, seed: int, **config: Any) -> None:
        """Save a random adapter of a saved base."""
        import torch
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM

        torch.manual_seed(seed)
        plain = {"lora_alpha": 32, "target_modules": ["q_proj", "v_proj", "down_proj"]}
        wanted = LoraConfig(**{**plain, **config}, init_lora_weights=False, task_type="CAUSAL_LM")
        model = AutoModelForCausalLM.from_pretrained(self.folder / base)
        with warnings.catch_warnings():
            # peft 0.21 reads a property that transformers 5.23 has renamed.
            warnings.simplefilter("ignore", FutureWarning)
            get_peft_model(model, wanted).save_pretrained(folder)

    def config(self, kind: str, **changes: Any) -> Any:
        """A tiny configuration of a kind of model, e.g. `llama`."""
        from transformers import AutoConfig

        sizes = {
            "vocab_size": len(_tokenizer()),
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": CONTEXT,
            "initializer_range": 0.5,
            "bos_token_id": None,
            "eos_token_id": 0,
            "pad_token_id": None,
        }
        return AutoConfig.for_model(kind, **{**sizes, **changes})


def _llama(*, hidden: int) -> Any:
    return Lab(Path()).config(
        "llama", hidden_size=hidden, intermediate_size=2 * hidden, num_key_value_heads=2
    )


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|end|>", "<|user|>", "<|assistant|>", "<|system|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["the cat sat on the mat and then the hat"] * 4, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>")
    fast.chat_template = TEMPLATE
    return fast
