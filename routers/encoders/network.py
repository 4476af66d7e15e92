"""The BERT encoder in torch, and how it learns: the same weights by the same names as in `graph`.

    token ids (n, n_tokens)  ->  unit vectors (n, dim)

Texts are padded and masked here, and nothing is quantised. Imports torch: only tuning imports it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from routers.encoders.graph import Shape, Weights

Tokens = Sequence[Sequence[int]]
Parameters = Mapping[str, Tensor]
Arrays = Mapping[str, NDArray[np.float32]]

# Only what starts so learns: a word that no text has must not be left behind by the others.
LEARNING = "encoder."
CENTRES = "centres"
MOMENTS = ("exp_avg", "exp_avg_sq")  # AdamW's, by torch's own names
TEXTS_PER_PASS = 32
LONGEST_GRADIENT = 1.0


def embed(weights: Parameters, tokens: Tokens, *, shape: Shape, dropout: float = 0.0) -> Tensor:
    """Return unit vectors, shape (n_texts, dim).

    Args:
        weights: as in the checkpoint of a Hugging Face `BertModel`.
        tokens: ids of each text, one at least.
        shape: the sizes.
        dropout: share of the activations that is left out, where BERT was trained so.
    """
    # Texts of a like length go together, so that little is padded.
    order = sorted(range(len(tokens)), key=lambda place: len(tokens[place]))
    parts = [order[at : at + TEXTS_PER_PASS] for at in range(0, len(order), TEXTS_PER_PASS)]
    found = [
        _embedded(weights, *_padded([tokens[place] for place in part]), shape, dropout)
        for part in parts
    ]
    return torch.cat(found)[torch.tensor(order).argsort()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast is learnt.

    Attributes:
        rate: of the encoder's weights.
        centre_rate: of the categories' centres.
        decay: share of a weight matrix that is taken off, times the rate, at every step.
    """

    rate: float
    centre_rate: float
    decay: float


class Student:
    """Weights that learn to put texts near their category's centre. Not thread-safe."""

    def __init__(
        self, weights: Weights, centres: NDArray[np.float32], *, shape: Shape, pace: Pace
    ) -> None:
        """Copy what is learnt from.

        Args:
            weights: of the encoder; those without a use in it are left alone.
            centres: unit vectors, one per category, shape (n_categories, dim).
            shape: of the encoder.
            pace: at full speed.
        """
        self._shape = shape
        self._weights = {name: torch.from_numpy(array.copy()) for name, array in weights.items()}
        self._learning = {
            name: tensor.requires_grad_()
            for name, tensor in sorted(self._weights.items())
            if name.startswith(LEARNING)
        }
        self._learning[CENTRES] = torch.from_numpy(centres.copy()).requires_grad_()
        matrices, vectors = (
            [
                tensor
                for name, tensor in self._learning.items()
                if name != CENTRES and (tensor.dim() > 1) == is_matrix
            ]
            for is_matrix in (True, False)
        )
        self._rates = (pace.rate, pace.rate, pace.centre_rate)
        self._optimiser = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": pace.decay},
                {"params": vectors, "weight_decay": 0.0},
                {"params": [self._learning[CENTRES]], "weight_decay": 0.0},
            ],
            betas=(0.9, 0.98),
        )

    def learn(
        self,
        tokens: Tokens,
        labels: NDArray[np.intp],
        *,
        temperature: float,
        dropout: float,
        speed: float,
        seed: int,
    ) -> float:
        """Take one step and return the loss before it.

        Args:
            tokens: ids of each text.
            labels: the row of each text's centre.
            temperature: that the cosines are divided by.
            dropout: see `embed`.
            speed: share of the full pace.
            seed: of what is left out.
        """
        for group, rate in zip(self._optimiser.param_groups, self._rates, strict=True):
            group["lr"] = speed * rate
        with torch.random.fork_rng(devices=[]), _precision():
            torch.manual_seed(seed)
            vectors = embed(self._weights, tokens, shape=self._shape, dropout=dropout)
        centres = functional.normalize(self._learning[CENTRES], dim=-1)
        logits = vectors @ centres.T / temperature
        loss = functional.cross_entropy(logits, torch.from_numpy(labels))
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(list(self._learning.values()), LONGEST_GRADIENT)
        self._optimiser.step()
        return float(loss.detach())

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """Return the encoder as it is now."""
        return {name: tensor.detach().numpy() for name, tensor in self._weights.items()}

    def state(self) -> dict[str, NDArray[np.float32]]:
        """Return all that a later `restore` needs to go on as if nothing had happened."""
        found = {}
        for name, tensor in self._learning.items():
            found[name] = tensor.detach().numpy()
            for moment in MOMENTS:
                found[f"{name}:{moment}"] = self._optimiser.state[tensor][moment].numpy()
        return found

    def restore(self, state: Arrays, *, steps: int) -> None:
        """Become what `state` was taken of, after so many steps.

        Raises:
            KeyError: an array is missing.
            ValueError: one has another shape.
        """
        arrays = {name: state[name] for name in self._learning} | {
            key: state[key] for name in self._learning for key in _moments(name)
        }
        for name, tensor in self._learning.items():
            for key in (name, *_moments(name)):
                if arrays[key].shape != tuple(tensor.shape):
                    raise ValueError(f"{key} has shape {arrays[key].shape}")
        with torch.no_grad():
            for name, tensor in self._learning.items():
                tensor.copy_(torch.from_numpy(arrays[name]))
                self._optimiser.state[tensor] = {
                    "step": torch.tensor(float(steps)),
                    **{
                        moment: torch.from_numpy(arrays[key].copy())
                        for moment, key in zip(MOMENTS, _moments(name), strict=True)
                    },
                }


def encode(weights: Weights, tokens: Tokens, *, shape: Shape) -> NDArray[np.float32]:
    """Return unit vectors, shape (n_texts, dim)."""
    parameters = {name: torch.from_numpy(array) for name, array in weights.items()}
    with torch.inference_mode(), _precision():
        return embed(parameters, tokens, shape=shape).numpy()


def _moments(name: str) -> tuple[str, ...]:
    return tuple(f"{name}:{moment}" for moment in MOMENTS)


def _precision() -> torch.autocast:
    """Products in 16 bits where the processor has them: twice as fast, and as good for learning."""
    # Older versions of torch do not tell.
    has: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    is_fast = bool(has.get("amx_bf16") or has.get("avx512_bf16"))
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_fast)


def _padded(tokens: Tokens) -> tuple[Tensor, Tensor]:
    """Return ids, zeros where a text has ended, and where they are a text's; (n, longest) each."""
    longest = max(len(ids) for ids in tokens)
    rows = [[*ids, *[0] * (longest - len(ids))] for ids in tokens]
    lengths = torch.tensor([len(ids) for ids in tokens])
    return torch.tensor(rows), torch.arange(longest)[None] < lengths[:, None]


def _embedded(
    weights: Parameters, ids: Tensor, mask: Tensor, shape: Shape, dropout: float
) -> Tensor:
    x = weights["embeddings.word_embeddings.weight"][ids]
    places = weights["embeddings.position_embeddings.weight"][: ids.shape[1]]
    x = x + places + weights["embeddings.token_type_embeddings.weight"][0]
    x = _drop(_normalised(weights, "embeddings.LayerNorm", x, shape), dropout)
    for layer in range(shape.layers):
        x = _layer(weights, f"encoder.layer.{layer}", x, mask, shape=shape, dropout=dropout)
    inside = mask[:, :, None].float()
    mean = (x.float() * inside).sum(dim=1) / inside.sum(dim=1)
    return functional.normalize(mean, dim=-1)


def _layer(
    weights: Parameters, prefix: str, x: Tensor, mask: Tensor, *, shape: Shape, dropout: float
) -> Tensor:
    attention = f"{prefix}.attention"
    split = (*x.shape[:2], shape.heads, -1)
    query, key, value = (
        _dense(weights, f"{attention}.self.{part}", x).view(split).transpose(1, 2)
        for part in ("query", "key", "value")
    )
    context = functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask[:, None, None, :], dropout_p=dropout
    )
    context = context.transpose(1, 2).reshape(x.shape)
    context = _drop(_dense(weights, f"{attention}.output.dense", context), dropout)
    x = _normalised(weights, f"{attention}.output.LayerNorm", x + context, shape)
    wide = functional.gelu(_dense(weights, f"{prefix}.intermediate.dense", x))
    narrow = _drop(_dense(weights, f"{prefix}.output.dense", wide), dropout)
    return _normalised(weights, f"{prefix}.output.LayerNorm", x + narrow, shape)


def _dense(weights: Parameters, prefix: str, x: Tensor) -> Tensor:
    return functional.linear(x, weights[f"{prefix}.weight"], weights[f"{prefix}.bias"])


def _normalised(weights: Parameters, prefix: str, x: Tensor, shape: Shape) -> Tensor:
    scale, shift = weights[f"{prefix}.weight"], weights[f"{prefix}.bias"]
    return functional.layer_norm(x, (shape.dim,), scale, shift, shape.epsilon)


def _drop(x: Tensor, share: float) -> Tensor:
    return functional.dropout(x, share) if share else x
