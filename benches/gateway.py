"""The gateway beside its peers, in one run: `python -m benches.gateway [--quick] [--only NAMES]`.

One worker of each stack on one processor; a zero-latency upstream (upstream.c) and the load
generator (wrk) on another. Every stack must first answer correctly, streamed and not. Then rounds
over all stacks in turn; ratios and differences are taken within a round, and their median counts:
the absolute numbers of a shared machine mean little. Writes build/bench/gateway.json.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from statistics import median

from rich.console import Console

from benches.answers import WrongAnswer
from benches.goals import C1, C64, CELLS, GOALS, STREAMS, metrics_of
from benches.installation import BUILD, Installation, Missing, install
from benches.lanes import lanes_of
from benches.load import LoadFailed, Wrk
from benches.processes import cores
from benches.report import Metric, console, goals_table, table, write_metrics
from benches.rounds import Lane, Samples, measure
from benches.stacks import OURS, Running, StackFailed, ours, running, stacks, upstream_stack
from benches.startup import encoder_cold_start_s, listen_s

BUSY = 0.5
"""Load average above which others visibly take part of the processors."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Set up, measure, print, write; 1 when our own gateway could not be measured."""
    options = _options(arguments)
    out = console()
    # So that a terminated bench ends what it started, as an interrupted one does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    try:
        installation = install(out.print)
        return Bench(installation, options, out).run()
    except (Missing, StackFailed, WrongAnswer, LoadFailed) as reason:
        out.print(f"[red]bench failed:[/] {reason}", markup=True)
        return 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benches.gateway", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--only", help="stacks to run, by name, with commas between")
    options = parser.parse_args(arguments)
    options.only = options.only.split(",") if options.only else None
    return options


class Bench:
    """One run: what is measured, what is absent and why."""

    def __init__(
        self, installation: Installation, options: argparse.Namespace, out: Console
    ) -> None:
        self.installation = installation
        self.only: list[str] | None = options.only
        self.rounds, self.seconds, self.starts = (1, 1.0, 1) if options.quick else (4, 3.0, 5)
        self.out = out
        self.absent: dict[str, str] = {}
        self.metrics: list[Metric] = []

    def run(self) -> int:
        """Measure everything; the stacks stop when this returns or raises."""
        gateway_core, load_core = cores()
        if gateway_core == load_core:
            self.out.print("[yellow]one processor only: stacks and load share it[/]")
        if os.getloadavg()[0] > BUSY:
            self.out.print(
                f"[yellow]this machine is busy: load average {os.getloadavg()[0]:.1f}[/]"
            )
        wrk = Wrk(self.installation.wrk, core=load_core, folder=BUILD)
        with running(upstream_stack(self.installation), core=load_core) as direct:
            with ExitStack() as started:
                present, lanes = self._start(started, direct, gateway_core)
                samples = measure(
                    wrk,
                    lanes,
                    rounds=self.rounds,
                    seconds=self.seconds,
                    say=self.out.print,
                )
                memory = {one.stack.name: one.process.rss_mb() for one in present if one.process}
            self._startups(direct.url)
        found, problems = metrics_of(samples)
        self.metrics += found
        self.absent |= problems
        if OURS in memory:
            self._add("gateway_rss_mb", [memory[OURS]])
        self.out.print(_stacks_table(present, samples, memory))
        self._report(samples)
        return 1 if OURS in self.absent else 0

    def _start(
        self, started: ExitStack, direct: Running, core: int
    ) -> tuple[list[Running], list[Lane]]:
        """Start every stack and check its answers; those that fail are absent, aloud."""
        present, lanes = [direct], lanes_of(direct)
        for name, make in stacks(self.installation, direct.url).items():
            if self.only and name not in self.only:
                self.absent[name] = "left out with --only"
                continue
            attempt = ExitStack()
            try:
                one = attempt.enter_context(running(make(), core=core))
                lanes += lanes_of(one)
            except (Missing, StackFailed, WrongAnswer) as reason:
                attempt.close()
                self.absent[name] = str(reason)
                self.out.print(f"[yellow]absent: {name}:[/] {reason}")
                continue
            started.enter_context(attempt)
            present.append(one)
            self.out.print(f"{one.stack.label} answers correctly")
        lanes.sort(key=lambda lane: CELLS.index(lane.cell))  # cell by cell, stacks in turn
        return present, lanes

    def _startups(self, upstream: str) -> None:
        """Measure fresh starts, with nothing else of ours running."""
        try:
            cold = [encoder_cold_start_s() for _ in range(self.starts)]
            self._add("encoder_cold_start_s", cold)
        except StackFailed as reason:
            self.absent["encoder"] = str(reason)
        if OURS not in self.absent:
            log = BUILD / "logs" / "listen.log"
            starts = [listen_s(ours(upstream), log) for _ in range(self.starts)]
            self._add("listen_s", starts)

    def _add(self, name: str, rounds: Sequence[float]) -> None:
        self.metrics.append(GOALS[name].measured(rounds))

    def _report(self, samples: Samples) -> None:
        """Print goals and what is missing; write the metrics and every sample."""
        order = list(GOALS)
        self.metrics.sort(key=lambda metric: order.index(metric.metric))
        write_metrics(BUILD / "gateway.json", self.metrics)
        rounds = {
            f"{cell} {name}": [asdict(sample) for sample in taken]
            for (cell, name), taken in samples.by_lane.items()
        }
        (BUILD / "gateway-rounds.json").write_text(json.dumps(rounds, indent=1) + "\n")
        self.out.print(goals_table(self.metrics))
        for name, reason in self.absent.items():
            self.out.print(f"[yellow]absent: {name}:[/] {reason}")
        measured = {metric.metric for metric in self.metrics}
        left_out = [name for name in GOALS if name not in measured]
        if left_out:
            self.out.print(f"[yellow]not measured:[/] {', '.join(left_out)}")
        self.out.print(f"written: {BUILD / 'gateway.json'}")


def _stacks_table(present: Sequence[Running], samples: Samples, memory: dict[str, float]) -> object:
    """All stacks side by side, medians over rounds."""
    columns = ("stack", "c=64 req/s", "p50 ms", "p99 ms", "CPU us/req", "c=1 p50 ms", "c=1 p99")
    rows = []
    for one in present:
        name = one.stack.name
        at64, at1 = samples.of(C64.name, name), samples.of(C1.name, name)
        loads = [
            sample.load
            for lane in samples.by_lane.items()
            if lane[0][1] == name
            for sample in lane[1]
        ]
        rows.append(
            (
                one.stack.label,
                f"{median(samples.rates(C64.name, name)):,.0f}",
                f"{median(sample.load.p50_ms for sample in at64):.2f}",
                f"{median(sample.load.p99_ms for sample in at64):.2f}",
                f"{median(sample.cpu_us for sample in at64):,.0f}" if one.process else "-",
                f"{median(sample.load.p50_ms for sample in at1):.3f}",
                f"{median(sample.load.p99_ms for sample in at1):.2f}",
                f"{median(samples.rates(STREAMS.name, name)):,.1f}",
                f"{memory[name]:,.0f}" if name in memory else "-",
                f"{sum(load.failures for load in loads)}",
            )
        )
    return table(
        "Side by side, medians over rounds", (*columns, "streams/s", "RSS MB", "failed"), rows
    )


if __name__ == "__main__":
    sys.exit(main())
