"""The training loop, for the base model and for adapters alike."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from experts.recipe.batches import Batch
from experts.recipe.plan import Course
from torch.nn.functional import cross_entropy
from transformers import LlamaForCausalLM


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What a training took."""

    name: str
    steps: int
    tokens: int
    seconds: float
    loss: float


def device() -> torch.device:
    """Choose a GPU when there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fit(
    name: str,
    model: LlamaForCausalLM,
    parameters: list[torch.nn.Parameter],
    source: Iterator[Batch],
    course: Course,
) -> Training:
    """Minimise the weighted loss over the batches, in bfloat16, and print how it goes."""
    here = device()
    model.to(here).train()
    optimiser = torch.optim.AdamW(
        parameters, lr=course.rate, betas=(0.9, 0.98), weight_decay=course.decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: _share(step, course.warmup, course.steps)
    )
    started, seen, recent = time.monotonic(), 0, 0.0
    for step in range(1, course.steps + 1):
        batch = next(source)
        loss = weighted_loss(model, batch, here)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad(set_to_none=True)
        seen += batch.ids.numel()
        recent = loss.item() if step == 1 else 0.98 * recent + 0.02 * loss.item()
        if step % 50 == 0 or step == course.steps:
            seconds = time.monotonic() - started
            print(
                f"{name}: step {step}/{course.steps} loss {recent:.4f} {seconds:.0f} s "
                f"{seen / seconds:.0f} tokens/s",
                flush=True,
            )
    seconds = time.monotonic() - started
    return Training(name=name, steps=course.steps, tokens=seen, seconds=seconds, loss=recent)


def weighted_loss(model: LlamaForCausalLM, batch: Batch, here: torch.device) -> torch.Tensor:
    """Average the cross-entropy of the next token by its weight."""
    ids, weights = batch.ids.to(here), batch.weights.to(here)[:, 1:]
    counted = weights > 0
    with torch.autocast(here.type, torch.bfloat16):
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
        logits = model.lm_head(hidden[:, :-1][counted])
    losses = cross_entropy(logits.float(), ids[:, 1:][counted], reduction="none")
    kept = weights[counted]
    return (losses * kept).sum() / kept.sum()


def _share(step: int, warmup: int, steps: int) -> float:
    if step < warmup:
        return (step + 1) / warmup
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
