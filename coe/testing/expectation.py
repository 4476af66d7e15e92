"""A sentence of a contract, and whether it holds."""

from __future__ import annotations


def expect(holds: bool, sentence: str) -> None:  # noqa: FBT001 - reads as a sentence
    """Raise AssertionError with the sentence where it does not hold."""
    if not holds:
        raise AssertionError(f"contract broken: {sentence}")
