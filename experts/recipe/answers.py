"""Greedy answers of a model to many prompts at once."""

from collections.abc import Sequence

import torch
from experts.recipe.tokens import render
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

LONGEST_ANSWER = 160


@torch.inference_mode()
def answer_all(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[str],
    *,
    batch: int = 100,
) -> list[str]:
    """Answer each prompt, in the order given."""
    order = sorted(range(len(prompts)), key=lambda at: len(prompts[at]))
    answers = [""] * len(prompts)
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        texts = [render(prompts[at]) for at in chosen]
        encoded = tokenizer(texts, padding=True, return_tensors="pt", padding_side="left")
        ids = encoded["input_ids"].to(model.device)
        written = model.generate(
            input_ids=ids,
            attention_mask=encoded["attention_mask"].to(model.device),
            max_new_tokens=LONGEST_ANSWER,
            do_sample=False,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
        decoded = tokenizer.batch_decode(written[:, ids.shape[1] :], skip_special_tokens=True)
        for at, text in zip(chosen, decoded, strict=True):
            answers[at] = text
    return answers
