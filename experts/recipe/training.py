"""The training loop, for the base model and for adapters alike."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from shutil import which

import torch
from experts.recipe.batches import Batch
from experts.recipe.plan import Course
from torch.nn.functional import cross_entropy
from transformers import LlamaForCausalLM

Loss = Callable[[LlamaForCausalLM, torch.Tensor, torch.Tensor], torch.Tensor]


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
        parameters, lr=course.rate, betas=(0.9, 0.98), weight_decay=course.decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: _share(step, course.warmup, course.steps)
    )
    loss_of = compiled(weighted_loss)
    started, seen, recent = time.monotonic(), 0, 0.0
    for step in range(1, course.steps + 1):
        batch = next(source)
        loss = loss_of(model, batch.ids.to(here), batch.weights.to(here))
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


def weighted_loss(
    model: LlamaForCausalLM, ids: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Average the cross-entropy of the next token by its weight."""
    with torch.autocast(ids.device.type, torch.bfloat16):
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    losses = cross_entropy(
        logits.float().flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
    ).view(ids.shape[0], -1)
    kept = weights[:, 1:]
    return (losses * kept).sum() / kept.sum()


def compiled(loss: Loss) -> Loss:
    """Fuse the loss into few kernels, twice as fast, where there is a compiler to do it."""
    if torch.cuda.is_available() or which("g++"):
        return torch.compile(loss, dynamic=True)
    print("no C++ compiler found: training goes on without, at half the speed", flush=True)
    return loss


def _share(step: int, warmup: int, steps: int) -> float:
    if step < warmup:
        return (step + 1) / warmup
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
