"""How long the bandit takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Literal

import numpy as np
from rich.console import Console

from benches import report
from coe.learning.bandit import Bandit
from coe.learning.belief import Belief, Settings
from coe.learning.pacer import Pacer

ROUNDS = 7
CALLS = 2000
SIZES = ((4, 11), (4, 26), (20, 26))
"""Experts and features; the first is that of ParetoBandit's rewards."""


def decisions(console: Console) -> Iterator[float]:
    """Yield milliseconds per decision of 4 experts and 11 features; print what else takes time."""
    rows = []
    for experts, features in SIZES:
        for method in ("ucb", "thompson"):
            spent = _choosing(experts, features, method)
            rows.append([f"choose, {method}", str(experts), str(features), f"{spent:.4f}"])
        spent = _learning(experts, features)
        rows.append(["learn", str(experts), str(features), f"{spent:.4f}"])
    console.print(report.table("Time", ("what", "experts", "features", "ms"), rows))
    for _ in range(ROUNDS):
        yield _choosing(*SIZES[0], "ucb")


def _bandit(experts: int, features: int, method: Literal["ucb", "thompson"]) -> Bandit:
    generator = np.random.default_rng(0)
    return Bandit(
        settings=Settings(method=method),
        beliefs={
            f"e{i}": Belief.of(np.eye(features) * 100, generator.random(features) / features)
            for i in range(experts)
        },
        pacer=Pacer(ceiling=1.0),
    )


def _choosing(experts: int, features: int, method: Literal["ucb", "thompson"]) -> float:
    bandit = _bandit(experts, features, method)
    names = tuple(bandit.beliefs)
    prices = dict.fromkeys(names, 1.0)
    generator = np.random.default_rng(1)
    x, uniforms = generator.random(features), generator.random(CALLS).tolist()
    began = time.perf_counter()
    for uniform in uniforms:
        bandit.choose(x, prices, names, may_explore=True, uniform=uniform)
    return 1000 * (time.perf_counter() - began) / CALLS


def _learning(experts: int, features: int) -> float:
    bandit = _bandit(experts, features, "ucb")
    x = np.random.default_rng(1).random(features)
    began = time.perf_counter()
    for _ in range(CALLS):
        bandit = bandit.update(x, "e0", 0.5, 1.0)
    return 1000 * (time.perf_counter() - began) / CALLS
