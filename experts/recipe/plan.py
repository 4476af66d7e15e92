"""The sizes and lengths of the whole recipe, in one place."""

from dataclasses import dataclass, field
from pathlib import Path

EXPERTS = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How long and how fast to train."""

    steps: int
    tokens: int
    rate: float
    warmup: int = 50
    decay: float = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that the recipe may be asked to change."""

    seed: int = 0
    vocabulary: int = 1024
    context: int = 512
    width: int = 256
    inner_width: int = 768
    layers: int = 4
    heads: int = 8
    rank: int = 16
    base: Course = field(
        default_factory=lambda: Course(steps=5500, tokens=5120, rate=2e-3, warmup=200, decay=0.05)
    )
    adapter_tokens: int = 5120
    adapter_rate: float = 4e-3
    adapter_steps: dict[str, int] = field(
        default_factory=lambda: {
            "arithmetic": 1600,
            "units": 2200,
            "dates": 1200,
            "sql": 600,
            "json": 1400,
            "phrasebook": 600,
            "python": 950,
            "facts": 950,
            "general": 2000,
            "monolith": 900,
        }
    )
    heldout: int = 200

    def course(self, name: str) -> Course:
        """Say how to train the adapter of that name."""
        return Course(
            steps=self.adapter_steps[name], tokens=self.adapter_tokens, rate=self.adapter_rate
        )
