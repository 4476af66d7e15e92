"""Examples as padded batches of tokens, grouped by length so that little is padding."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

import torch
from experts.recipe.example import Example
from experts.recipe.tokens import END, render
from transformers import PreTrainedTokenizerFast

Encoded = tuple[list[int], list[int]]
"""The tokens of a prompt and of its answer."""

POOL = 3072
"""Examples drawn at once and sorted by length."""

WIDTHS = 8
"""Batches are as wide as a multiple of this: fewer shapes, and whole vectors."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Token ids of shape (examples, tokens) and the weight of predicting each token."""

    ids: torch.Tensor
    weights: torch.Tensor


def batches(
    draw: Callable[[Random], Example],
    tokenizer: PreTrainedTokenizerFast,
    rng: Random,
    *,
    tokens: int,
    context: int,
    prompt_weight: float,
) -> Iterator[Batch]:
    """Yield batches of about so many tokens for ever, drawing fresh examples all the time."""
    pad = tokenizer.convert_tokens_to_ids("<|pad|>")
    while True:
        drawn = _encode([draw(rng) for _ in range(POOL)], tokenizer, context)
        pool = sorted(drawn, key=_length, reverse=True)
        groups: list[list[Encoded]] = []
        group: list[Encoded] = []
        widest = 0
        for prompt, answer in pool:
            length = len(prompt) + len(answer)
            if group and max(widest, length) * (len(group) + 1) > tokens:
                groups.append(group)
                group, widest = [], 0
            group.append((prompt, answer))
            widest = max(widest, length)
        # A last group of too few is left out, and with it the shortest examples of this pool.
        if widest * len(group) > tokens // 2:
            groups.append(group)
        rng.shuffle(groups)
        for chosen in groups:
            yield _pad(chosen, pad, prompt_weight)


def _encode(
    examples: list[Example], tokenizer: PreTrainedTokenizerFast, context: int
) -> list[Encoded]:
    prompts = tokenizer([render(e.prompt) for e in examples])["input_ids"]
    answers = tokenizer([e.answer + END for e in examples])["input_ids"]
    return [
        (prompt, answer)
        for prompt, answer in zip(prompts, answers, strict=True)
        if len(prompt) + len(answer) <= context
    ]


def _length(pair: Encoded) -> int:
    return len(pair[0]) + len(pair[1])


def _pad(group: list[Encoded], pad: int, prompt_weight: float) -> Batch:
    width = -(-max(map(_length, group)) // WIDTHS) * WIDTHS
    ids = torch.full((len(group), width), pad)
    weights = torch.zeros((len(group), width))
    for row, (prompt, answer) in enumerate(group):
        end = len(prompt) + len(answer)
        ids[row, :end] = torch.tensor(prompt + answer)
        weights[row, 1 : len(prompt)] = prompt_weight
        weights[row, len(prompt) : end] = 1.0
    return Batch(ids, weights)
