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
    vocabulary: int = 2048
    context: int = 512
    width: int = 256
    inner_width: int = 768
    layers: int = 4
    heads: int = 4
    rank: int = 16
    base: Course = field(
        default_factory=lambda: Course(steps=1800, tokens=2560, rate=2e-3, warmup=100, decay=0.05)
    )
    base_again: Course = field(
        default_factory=lambda: Course(steps=3000, tokens=1024, rate=1.5e-3, warmup=50, decay=0.05)
    )
    adapter_tokens: int = 1536
    adapter_rate: float = 5e-3
    later_rate: float = 3e-3
    adapter_steps: dict[str, tuple[int, ...]] = field(
        default_factory=lambda: {
            "arithmetic": (1600, 1500, 2400),
            "units": (1300, 1300, 1300),
            "dates": (1100, 1100),
            "sql": (600, 400),
            "json": (500, 700),
            "phrasebook": (450, 400, 130),
            "python": (450, 380, 150),
            "facts": (550, 170),
            "general": (600,),
            "monolith": (900,),
        }
    )
    heldout: int = 200

    def courses(self, name: str) -> list[Course]:
        """Say how to train the adapter of that name: course after course, each from the last."""
        return [
            Course(
                steps=steps,
                tokens=self.adapter_tokens,
                rate=self.later_rate if number else self.adapter_rate,
            )
            for number, steps in enumerate(self.adapter_steps[name])
        ]
