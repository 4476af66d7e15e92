"""From logits to a token, and what a client may ask of that choice.

Pure: the random number is given. Imports torch, so only the engine's thread loads it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import torch

from coe.backends.local.request import Sampling

Logits = Annotated[torch.Tensor, "(vocabulary,), any float type"]


def penalized(logits: Logits, sampling: Sampling, counts: Mapping[int, int]) -> Logits:
    """Return the logits less OpenAI's presence and frequency penalties.

    Args:
        logits: not changed.
        sampling: holds the two penalties.
        counts: how often each token was generated so far.
    """
    if not counts or not (sampling.presence_penalty or sampling.frequency_penalty):
        return logits
    tokens = torch.tensor(list(counts), device=logits.device)
    often = torch.tensor(list(counts.values()), device=logits.device, dtype=logits.dtype)
    logits = logits.clone()
    logits[tokens] -= sampling.frequency_penalty * often + sampling.presence_penalty
    return logits


def pick(logits: Logits, sampling: Sampling, uniform: float) -> int:
    """Return the token: the likeliest at temperature 0, else a draw by inverse transform.

    The likeliest come first in the cumulative sum, so that the same `uniform` gives the same token
    whatever the order of the vocabulary's tail, and a cut at top-k or top-p is a cut at the end.

    Args:
        logits: unscaled.
        sampling: temperature, top_p and top_k.
        uniform: a draw from [0, 1).
    """
    if sampling.temperature == 0:
        return int(logits.argmax())
    probabilities = torch.softmax(logits.float() / sampling.temperature, dim=-1)
    ordered, tokens = probabilities.sort(descending=True, stable=True)
    if sampling.top_k:
        ordered, tokens = ordered[: sampling.top_k], tokens[: sampling.top_k]
    cumulative = ordered.cumsum(dim=-1)
    if sampling.top_p < 1:
        kept = int((cumulative - ordered < sampling.top_p).sum())
        cumulative = cumulative[: max(kept, 1)]
    place = int(torch.searchsorted(cumulative, uniform * cumulative[-1], right=True))
    return int(tokens[min(place, len(cumulative) - 1)])


def logprob_entry(
    logits: Logits, token: int, top: int, decode: Callable[[list[int]], str]
) -> dict[str, Any]:
    """Return OpenAI's `logprobs.content` item for a token, from the unscaled distribution."""
    logprobs = torch.log_softmax(logits.float(), dim=-1)
    item = _item(token, float(logprobs[token]), decode)
    best = torch.topk(logprobs, min(top, len(logprobs)))
    item["top_logprobs"] = [
        _item(int(other), float(value), decode)
        for value, other in zip(best.values, best.indices, strict=True)
    ]
    return item


def _item(token: int, logprob: float, decode: Callable[[list[int]], str]) -> dict[str, Any]:
    text = decode([token])
    # A token that is a part of a character has no text of its own, hence no bytes that we know.
    known = "\ufffd" not in text
    # JSON has no infinity; -9999 is what OpenAI's API documents for "very unlikely".
    return {
        "token": text,
        "logprob": max(logprob, -9999.0),
        "bytes": list(text.encode()) if known else None,
    }
