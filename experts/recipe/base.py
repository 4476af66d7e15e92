"""The base model: a small Llama that has learnt the primitives."""

import json
from pathlib import Path
from random import Random

import torch
from experts.recipe.batches import batches
from experts.recipe.plan import Plan
from experts.recipe.primitives import Primitives
from experts.recipe.skills import SKILLS
from experts.recipe.tokens import load_tokenizer, train_tokenizer
from experts.recipe.training import Training, fit
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

ATTENTION = "eager"
"""On a CPU and for short texts, twice as fast to train as the fused kernels."""

PROMPT_WEIGHT = 0.05
"""How much a token of a prompt counts beside one of its answer: prompts are mostly chance."""


def make_tokenizer(plan: Plan) -> PreTrainedTokenizerFast:
    """Train the tokenizer on the training text of all skills and on the primitives."""
    rng = Random(f"tokenizer {plan.seed}")
    primitives = Primitives(SKILLS, plan.seed)
    texts = []
    for skill in SKILLS:
        for _ in range(3000):
            example = skill.draw(rng, "train")
            texts += [example.prompt, example.answer]
    for _ in range(3000):
        example = primitives.draw(rng)
        texts += [example.prompt, example.answer]
    return train_tokenizer(texts, plan.vocabulary, plan.context)


def train_base(plan: Plan, folder: Path) -> Training:
    """Train the base model from nothing and save it, in half precision, with its tokenizer."""
    tokenizer = make_tokenizer(plan)
    torch.manual_seed(plan.seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=plan.width,
            intermediate_size=plan.inner_width,
            num_hidden_layers=plan.layers,
            num_attention_heads=plan.heads,
            max_position_embeddings=plan.context,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            attn_implementation=ATTENTION,
        )
    )
    source = batches(
        Primitives(SKILLS, plan.seed).draw,
        tokenizer,
        Random(f"base {plan.seed}"),
        tokens=plan.base.tokens,
        context=plan.context,
        prompt_weight=PROMPT_WEIGHT,
    )
    training = fit("base", model, list(model.parameters()), source, plan.base)
    _save(model, tokenizer, folder)
    return training


def load_base(folder: Path) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """Load a saved base model in single precision, and its tokenizer."""
    model = LlamaForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation=ATTENTION
    )
    return model, load_tokenizer(folder)


def _save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        max_new_tokens=160,
        do_sample=False,
    )
    model.to("cpu", torch.float16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["tokenizer_class"] = "PreTrainedTokenizerFast"  # the name that every version knows
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
