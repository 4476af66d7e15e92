import os
import sys
from pathlib import Path

import pytest

from benches.processes import Process, environment, free_port, pinned

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

# The parent says that it is ready once its child runs; both then wait to be ended.
FAMILY = "import os, signal; os.fork() and print('ready', flush=True); signal.pause()"


def started(tmp_path: Path) -> Process:
    return Process([sys.executable, "-c", FAMILY], core=None, log=tmp_path / "log")


def wait_until_ready(process: Process) -> None:
    while "ready" not in process.output():
        os.sched_yield()


def test_leaving_ends_the_whole_family_and_nothing_else(tmp_path: Path) -> None:
    with started(tmp_path) as other, started(tmp_path / "second") as process:
        wait_until_ready(other)
        wait_until_ready(process)
        family = len(list(process._stats()))
        process.__exit__(None, None, None)
        while list(process._stats()):  # killed, but the kernel may take a moment; see `timeout`
            os.sched_yield()

        assert family == 2
        assert other.is_alive


def test_memory_and_processor_time_cover_the_family(tmp_path: Path) -> None:
    with started(tmp_path) as process:
        wait_until_ready(process)

        assert process.rss_mb() > 1
        assert process.cpu_s() >= 0


def test_proxies_and_settings_do_not_reach_children(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("COE_LOG_LEVEL", "DEBUG")

    handed_down = environment({"BENCH_UPSTREAM": "here"})

    assert "HTTPS_PROXY" not in handed_down
    assert "COE_LOG_LEVEL" not in handed_down
    assert handed_down["BENCH_UPSTREAM"] == "here"


def test_a_pinned_command_runs_under_taskset() -> None:
    assert pinned(["wrk", "-v"], 1) == ["taskset", "-c", "1", "wrk", "-v"]
    assert pinned(["wrk", "-v"], None) == ["wrk", "-v"]


def test_a_free_port_is_above_the_privileged_ones() -> None:
    assert free_port() > 1024
