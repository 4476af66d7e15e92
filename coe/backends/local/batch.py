"""Rows of one base model that share a forward pass and a key-value cache.

Rows join and leave between two steps (Yu et al. 2022, Orca): shorter rows are padded on the left
by zeros that the mask hides, which changes no row's positions and so no row's result.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import pad
from transformers import DynamicCache

from coe.backends.local.row import Row
from coe.backends.local.weights import Base

NextLogits = torch.Tensor
"""Shape (rows, vocabulary): what each row says of its next token."""


class Batch:
    """Rows that are decoded together; `rows` is in the order of the tensors' first dimension."""

    def __init__(self, base: Base, rows: Sequence[Row]) -> None:
        self.base = base
        self.rows = list(rows)
        self._cache = DynamicCache() if base.mixable else DynamicCache(config=base.model.config)
        self._mask = torch.empty(0)
        self._lengths = torch.empty(0)

    def prefill(self) -> NextLogits:
        """Read the prompts. Called once, before the first `step`."""
        width = max(len(row.prompt) for row in self.rows)
        tokens = torch.zeros(len(self.rows), width, dtype=torch.long)
        self._mask = torch.zeros_like(tokens)
        for place, row in enumerate(self.rows):
            tokens[place, width - len(row.prompt) :] = torch.tensor(row.prompt)
            self._mask[place, width - len(row.prompt) :] = 1
        positions = (self._mask.cumsum(-1) - 1).clamp(min=0)
        device = self.base.device
        self._mask = self._mask.to(device)
        self._lengths = self._mask.sum(-1, keepdim=True)
        return self._forward(tokens.to(device), positions.to(device))

    def step(self, tokens: Sequence[int]) -> NextLogits:
        """Read one more token of each row."""
        device = self.base.device
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(self.rows), 1)], dim=1)
        positions, self._lengths = self._lengths, self._lengths + 1
        return self._forward(torch.tensor(tokens, device=device)[:, None], positions)

    def keep(self, places: Sequence[int]) -> None:
        """Let all other rows go, and the columns that only they needed."""
        if len(places) == len(self.rows):
            return
        self.rows = [self.rows[place] for place in places]
        if not self.rows:
            return
        chosen = torch.tensor(places, device=self.base.device)
        self._mask, self._lengths = self._mask[chosen], self._lengths[chosen]
        self._cache.batch_select_indices(chosen)
        unused = self._mask.shape[1] - int(self._lengths.max())
        if self.base.mixable and unused:
            self._mask = self._mask[:, unused:]
            for layer in self._cache.layers:
                layer.keys = layer.keys[:, :, unused:]
                layer.values = layer.values[:, :, unused:]

    def absorb(self, other: Batch) -> None:
        """Take over the rows of another batch of the same base; it is of no use afterwards."""
        ours, theirs = self._mask.shape[1], other._mask.shape[1]
        left, right = max(theirs - ours, 0), max(ours - theirs, 0)
        self.rows += other.rows
        self._mask = torch.cat([pad(self._mask, (left, 0)), pad(other._mask, (right, 0))])
        self._lengths = torch.cat([self._lengths, other._lengths])
        for mine, new in zip(self._cache.layers, other._cache.layers, strict=True):
            mine.keys = _stacked(mine.keys, left, new.keys, right)
            mine.values = _stacked(mine.values, left, new.values, right)

    def _forward(self, tokens: torch.Tensor, positions: torch.Tensor) -> NextLogits:
        self.base.bank.select([row.slot for row in self.rows])
        arguments = {
            "input_ids": tokens,
            "attention_mask": self._mask,
            "position_ids": positions,
            "past_key_values": self._cache,
            "use_cache": True,
            "logits_to_keep": 1,
        }
        accepted = {key: arguments[key] for key in arguments if key in self.base.accepts}
        logits: NextLogits = self.base.model(**accepted).logits[:, -1]
        return logits


def _stacked(mine: torch.Tensor, left: int, new: torch.Tensor, right: int) -> torch.Tensor:
    """Stack keys or values, shape (rows, heads, tokens, size), padding tokens on the left."""
    return torch.cat([pad(mine, (0, 0, left, 0)), pad(new, (0, 0, right, 0))])
