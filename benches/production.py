"""The gateway as it stands in production: `python -m benches.production [--only PARTS]`.

Open-loop load on loopback with an upstream of our own. The parts, each of which may be asked for
alone: overhead, budget, labels, fuzz, redis, soak. `--soak-minutes` shortens the hour of the last.
Writes build/bench/load.json; a part that was left out keeps what an earlier run wrote of it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median

from rich.console import Console

from benches.installation import BUILD, HERE, Installation, Missing, install
from benches.load import LoadFailed, Wrk
from benches.load_parts import budget, documented, fuzz, labels, overhead, replicas, soak
from benches.processes import cores, environment, free_port
from benches.report import Goal, Metric, console, goals_table, table, write_metrics
from benches.stacks import DIRECT, OURS, Running, Stack, StackFailed, ours, running, upstream_stack

FULL = "coe_production"
WRITTEN = BUILD / "load.json"
GOALS = {
    goal.metric: goal
    for goal in (
        Goal(metric="overhead_vs_bare", unit="x", better="lower", goal=1.25),
        Goal(metric="soak_errors", unit="requests", better="lower", goal=0),
        Goal(metric="soak_rss_mb_per_h", unit="MB/h", better="lower", goal=2),
        Goal(metric="redis_frozen_p99_ratio", unit="x", better="lower", goal=2),
        Goal(metric="budget_excess_calls", unit="calls", better="lower", goal=1),
        Goal(metric="fuzz_500s", unit="requests", better="lower", goal=0),
        Goal(metric="new_series_from_random_labels", unit="series", better="lower", goal=0),
    )
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for, print, write; 1 where something could not be measured."""
    options = _options(arguments)
    out = console()
    try:
        installation = install(out.print, peers=False)
        bench = Bench(installation, options, out)
        for name in options.only:
            out.print(f"[bold]{name}[/]")
            PARTS[name](bench)
    except (Missing, StackFailed, LoadFailed) as reason:
        out.print(f"[red]bench failed:[/] {reason}", markup=True)
        return 1
    bench.report()
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benches.production", description=__doc__)
    parser.add_argument("--only", help="parts, with commas between", default=",".join(PARTS))
    parser.add_argument("--soak-minutes", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1, help="of what is sent by `fuzz`")
    options = parser.parse_args(arguments)
    options.only = options.only.split(",")
    if unknown := set(options.only) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return options


class Bench:
    """One run: what is measured so far."""

    def __init__(
        self, installation: Installation, options: argparse.Namespace, out: Console
    ) -> None:
        self.installation = installation
        self.options = options
        self.out = out
        self.metrics: list[Metric] = []
        self.gateway_core, self.load_core = cores()
        self.wrk = Wrk(installation.wrk, core=self.load_core, folder=BUILD)

    def add(self, name: str, rounds: Sequence[float]) -> None:
        """Keep a metric."""
        self.metrics.append(GOALS[name].measured(rounds))

    @contextmanager
    def upstream(self) -> Iterator[Running]:
        """Have the upstream running."""
        with running(upstream_stack(self.installation), core=self.load_core) as direct:
            yield direct

    @contextmanager
    def production(self, direct: Running) -> Iterator[Running]:
        """Have a gateway with everything running."""
        with running(full(direct.url), core=self.gateway_core) as one:
            yield one

    def report(self) -> None:
        """Print the goals; write the metrics, those of earlier runs included."""
        measured = {metric.metric: metric for metric in self.metrics}
        self.out.print(goals_table(self.metrics))
        kept = json.loads(WRITTEN.read_text()) if WRITTEN.exists() else []
        for row in kept:
            if row["metric"] in GOALS and row["metric"] not in measured:
                goal = GOALS[row["metric"]]
                measured[goal.metric] = goal.measured([row["value"]])
                self.out.print(f"of an earlier run: {goal.metric} = {row['value']:g} {goal.unit}")
        write_metrics(WRITTEN, [measured[name] for name in GOALS if name in measured])
        if left_out := [name for name in GOALS if name not in measured]:
            self.out.print(f"[yellow]not measured:[/] {', '.join(left_out)}")
        self.out.print(f"written: {WRITTEN}")


def full(upstream: str) -> Stack:
    """Return this project's gateway with keys, limits, budgets, the decision log and logs."""
    bare = ours(upstream)
    config = BUILD / "config" / "production.yaml"
    config.write_text((HERE / "production.yaml").read_text().replace("UPSTREAM", upstream))
    state = BUILD / "state-production"
    shutil.rmtree(state, ignore_errors=True)
    environ = {"COE_STATE_DIR": str(state), "COE_LOG_FORMAT": "json", "COE_ADMIN": "off"}
    port = free_port()
    command = (bare.command[0], "serve", "--config", str(config), "--port", str(port))
    key = new_key(Path(bare.command[0]), config, environ, "data")
    return replace(
        bare,
        name=FULL,
        label="coe serve with everything",
        command=command,
        port=port,
        headers={"authorization": f"Bearer {key}"},
        environ=environ,
    )


def new_key(coe: Path, config: Path, environ: dict[str, str], *scopes: str) -> str:
    """Make a key and return it.

    Raises:
        StackFailed: the command did not print one.
    """
    words = [word for scope in scopes for word in ("--scope", scope)]
    ran = subprocess.run(
        [str(coe), "keys", "add", f"bench-{'-'.join(scopes)}", *words, "--config", str(config)],
        capture_output=True,
        text=True,
        check=False,
        env=environment(environ),
    )
    found = re.search(r"coe-[A-Za-z0-9_-]{20,}", ran.stdout)
    if found is None:
        raise StackFailed(f"coe keys add: {ran.stdout}{ran.stderr}")
    return found[0]


def _bearer(one: Running, *scopes: str) -> dict[str, str]:
    """Return the header of a new key for a gateway that runs."""
    coe, config = Path(one.stack.command[0]), Path(one.stack.command[3])
    return {"authorization": f"Bearer {new_key(coe, config, dict(one.stack.environ), *scopes)}"}


def _overhead(bench: Bench) -> None:
    with (
        bench.upstream() as direct,
        running(ours(direct.url), core=bench.gateway_core) as bare,
        bench.production(direct) as whole,
    ):
        most = {one.stack.name: overhead.capacity(bench.wrk, one) for one in (bare, whole)}
        rate = most[FULL] / 2
        bench.out.print(
            f"at 64 connections: {most[OURS]:,.0f} req/s bare, {most[FULL]:,.0f} with everything "
            f"({most[OURS] / most[FULL]:.2f}x); asked at {rate:,.0f} req/s"
        )
        rounds = [
            overhead.measured([direct, bare, whole], rate=rate, seconds=6.0)
            for _ in range(bench.options.rounds)
        ]
    rows = [
        (
            name,
            *(f"{median(one.ms[name][q] for one in rounds):.3f}" for q in overhead.QUANTILES),
            f"{median(one.cpu_us[name] for one in rounds):.0f}" if name != DIRECT else "-",
        )
        for name in (DIRECT, OURS, FULL)
    ]
    columns = ("open loop, half load", "p50 ms", "p95 ms", "p99 ms", "CPU us/req")
    bench.out.print(table("Medians over rounds", columns, rows))
    failed = sum(one.errors for one in rounds)
    bench.out.print(f"{failed} wrong answers")
    for quantile in overhead.QUANTILES:
        added = [
            one.overhead(FULL, DIRECT, quantile) / one.overhead(OURS, DIRECT, quantile)
            for one in rounds
        ]
        bench.out.print(f"added {quantile}, with everything / bare: {median(added):.3f}")
        if quantile == "p50":
            bench.add("overhead_vs_bare", added)


def _budget(bench: Bench) -> None:
    bench.add("budget_excess_calls", [budget.excess(1000)])


def _labels(bench: Bench) -> None:
    with bench.upstream() as direct, bench.production(direct) as one:
        headers = _bearer(one, "data", "metrics")
        new = asyncio.run(labels.new_series(one.url.removesuffix("/v1"), headers=headers))
    bench.add("new_series_from_random_labels", [new])


def _fuzz(bench: Bench) -> None:
    seed = bench.options.seed
    with bench.upstream() as direct, bench.production(direct) as one:
        url = one.url.removesuffix("/v1")
        headers = _bearer(one, "data", "admin", "experiments", "metrics")
        found = asyncio.run(fuzz.send(url, fuzz.bodies(10_000, seed), headers))
        bench.out.print(f"10,000 bodies: {dict(sorted(found.statuses.items()))}")
        for finding in found.findings[:10]:
            bench.out.print(f"[red]{finding.what}[/] {finding.path} {finding.body[:200]!r}")
        tried, wrong = documented.tried(
            url,
            BUILD / "documented",
            models=["coe/auto", "bench", "minilm"],
            examples=60,
            seed=seed,
            headers=headers,
        )
        bench.out.print(f"schemathesis: {tried} requests, {len(wrong)} wrong", *wrong[:10])
    bench.add("fuzz_500s", [len(found.findings) + len(wrong)])


def _redis(bench: Bench) -> None:
    bench.add("redis_frozen_p99_ratio", [replicas.frozen(bench.installation, bench.out.print)])


def _soak(bench: Bench) -> None:
    seconds = 60 * bench.options.soak_minutes
    with bench.upstream() as direct, bench.production(direct) as one:
        rate = overhead.capacity(bench.wrk, one) / 2
        bench.out.print(f"{bench.options.soak_minutes:g} min at {rate:,.0f} req/s")
        found = soak.soaked(one, rate=rate, seconds=seconds, say=bench.out.print)
    bench.out.print(
        f"{found.seen.sent:,} requests, {found.seen.errors} errors {found.seen.wrong}, cut "
        f"{found.seen.cut}, hung {found.seen.hung}; p99 of ten seconds: median "
        f"{median(found.p99_ms):.1f} ms, worst {max(found.p99_ms):.1f} ms; memory "
        f"{found.memory[0][1]:.0f} -> {found.memory[-1][1]:.0f} MB"
    )
    bench.add("soak_errors", [found.seen.errors])
    bench.add("soak_rss_mb_per_h", [found.mb_per_hour])


PARTS: dict[str, Callable[[Bench], None]] = {
    "overhead": _overhead,
    "budget": _budget,
    "labels": _labels,
    "fuzz": _fuzz,
    "redis": _redis,
    "soak": _soak,
}


if __name__ == "__main__":
    sys.exit(main())
