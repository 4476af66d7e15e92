"""Rounds of measurements: every stack in turn, cell by cell, so that a round's numbers compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benches.load import Load, Target, Wrk
from benches.processes import Process

LONGEST_S = 20.0
RESPONSES = 8
"""A run lasts at least as long as this many responses in a row, so that slow stacks count whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One kind of load."""

    name: str
    connections: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One line of measurements: a stack with a body, under one cell.

    Attributes:
        whole_bytes: size of the body of a right answer.
    """

    cell: Cell
    name: str
    target: Target
    whole_bytes: int
    process: Process | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one run gave: the load generator's view, the stack's processor time per request."""

    load: Load
    cpu_us: float
    whole_bytes: int


@dataclass(slots=True)
class Samples:
    """The samples of a whole bench, by cell and stack, in the order of rounds."""

    by_lane: dict[tuple[str, str], list[Sample]] = field(default_factory=dict)

    def add(self, lane: Lane, sample: Sample) -> None:
        """Keep a sample."""
        self.by_lane.setdefault((lane.cell.name, lane.name), []).append(sample)

    def of(self, cell: str, name: str) -> list[Sample]:
        """Return the samples of a stack in a cell; none where it was not measured."""
        return self.by_lane.get((cell, name), [])

    def rates(self, cell: str, name: str) -> list[float]:
        """Return good responses per second, by round."""
        return [sample.load.rate for sample in self.of(cell, name)]

    def p50s(self, cell: str, name: str) -> list[float]:
        """Return median latencies in ms, by round."""
        return [sample.load.p50_ms for sample in self.of(cell, name)]


def measure(
    wrk: Wrk,
    lanes: Sequence[Lane],
    *,
    rounds: int,
    seconds: float,
    say: Callable[[str], None],
) -> Samples:
    """Warm every lane up, then run all of them in order, `rounds` times.

    Raises:
        LoadFailed: the load generator broke.
    """
    lasting: dict[tuple[str, str], float] = {}
    for lane in lanes:
        warm = wrk(lane.target, connections=lane.cell.connections, seconds=1)
        lasting[lane.cell.name, lane.name] = run_s(warm, seconds)
    say(f"warm; {rounds} rounds of {sum(lasting.values()):.0f} s")
    samples = Samples()
    for number in range(rounds):
        for lane in lanes:
            samples.add(lane, _sample(wrk, lane, lasting[lane.cell.name, lane.name]))
        say(f"round {number + 1} of {rounds} done")
    return samples


def run_s(warm: Load, least_s: float) -> float:
    """Return how long a run must last, from how fast the warm-up was."""
    if not warm.requests:
        return LONGEST_S
    return min(LONGEST_S, max(least_s, RESPONSES * warm.p50_ms / 1e3))


def _sample(wrk: Wrk, lane: Lane, seconds: float) -> Sample:
    before = lane.process.cpu_s() if lane.process else 0.0
    load = wrk(lane.target, connections=lane.cell.connections, seconds=seconds)
    spent = (lane.process.cpu_s() if lane.process else 0.0) - before
    return Sample(
        load=load, cpu_us=1e6 * spent / max(load.requests, 1), whole_bytes=lane.whole_bytes
    )
