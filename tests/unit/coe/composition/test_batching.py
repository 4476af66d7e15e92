"""What may be said of batching and memory: what it means, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from coe.composition import Batching, check, load
from coe.errors import Problem

BASE = """\
version: 1
backends:
  gpu: {type: local, memory: 10GiB, reserve: 1GiB, max_loras: 2, concurrency: 4}
experts:
  base: {backend: gpu, model: hub/base, memory: 4GiB}
  other: {backend: gpu, model: hub/other, memory: 3GiB}
  one: {base: base, adapter: hub/one, memory: 1GiB}
  two: {base: base, adapter: hub/two, memory: 1GiB}
  three: {base: base, adapter: hub/three, memory: 2GiB}
default: base
"""


def errors(folder: Path, text: str) -> list[Problem]:
    path = folder / "experts.yaml"
    path.write_text(text)
    return [problem for problem in check(path, {}) if problem.severity == "error"]


def told(folder: Path, text: str) -> list[Problem]:
    """Return what is said of host memory and of loads, of any severity."""
    path = folder / "experts.yaml"
    path.write_text(text)
    return [one for one in check(path, {}) if {"host_memory", "load_time"} & {*one.path.split(".")}]


def test_everything_has_a_default(tmp_path: Path) -> None:
    assert errors(tmp_path, BASE) == []

    composition = load(tmp_path / "experts.yaml", {})

    assert composition.batching == Batching()
    assert composition.backends["gpu"].max_loras == 2
    assert not composition.experts["one"].pinned


def test_everything_can_be_said(tmp_path: Path) -> None:
    text = BASE.replace(
        "other, memory: 3GiB", "other, memory: 2GiB, residency: pinned, load_time: 9s"
    )
    text += """\
batching:
  strategy: affinity
  evict: lru
  goal: 0.2
  max_wait: 20s
  ageing: 0.5
  min_residency: 10s
  load_limit: 1m
  fair_share: none
  queue: {max: 50, per_key: 5}
  lanes: {bulk: {share: 0.1, max_wait: 1h}}
  status_frames: false
"""
    assert errors(tmp_path, text) == []

    composition = load(tmp_path / "experts.yaml", {})

    assert composition.experts["other"].pinned
    assert composition.experts["other"].load_time_s == 9
    assert composition.batching == Batching(
        strategy="affinity",
        evict="lru",
        goal=0.2,
        max_wait_s=20,
        ageing=0.5,
        min_residency_s=10,
        load_limit_s=60,
        fair_share="none",
        max_queue=50,
        max_queue_per_key=5,
        bulk_share=0.1,
        bulk_max_wait_s=3600,
        status_frames=False,
    )


def test_a_queue_may_be_a_number(tmp_path: Path) -> None:
    assert errors(tmp_path, BASE + "batching: {queue: 7}\n") == []

    batching = load(tmp_path / "experts.yaml", {}).batching

    assert (batching.max_queue, batching.max_queue_per_key) == (7, 7)


@pytest.mark.parametrize(
    ("old", "new", "path", "message"),
    [
        ("", "batching: {strategy: afinity}\n", "batching.strategy", "is named `afinity`"),
        ("", "batching: {evict: oldest}\n", "batching.evict", "is named `oldest`"),
        (
            "",
            "batching: {strategy: edf, ageing: 2}\n",
            "batching.ageing",
            "`ageing` is for the strategy `affinity`",
        ),
        ("", "batching: {gather: 15ms}\n", "batching.gather", "`gather` is not supported yet"),
        ("", "batching: {goal: 2}\n", "batching.goal", "at most 1"),
        (
            "adapter: hub/one,",
            "adapter: hub/one, residency: pinned,",
            "experts.one.residency",
            "its base `base` may leave",
        ),
        (
            "memory: 3GiB",
            "memory: 3GiB, residency: pinned",
            "experts.base.memory",
            "never fits: 7GiB with room for its adapters beside what is pinned (3GiB)",
        ),
        (
            "max_loras: 2",
            "max_loras: 3",
            "",
            "",
        ),
        ("hub/base, memory: 4GiB", "hub/base, memory: 7GiB", "experts.base.memory", "never fits"),
    ],
)
def test_what_cannot_be_is_refused(
    old: str, new: str, path: str, message: str, tmp_path: Path
) -> None:
    text = BASE.replace(old, new) if old else BASE + new

    found = errors(tmp_path, text)

    assert [problem.path for problem in found] == ([path] if path else [])
    assert not found or message in found[0].message


def test_host_memory_and_loads_from_it(tmp_path: Path) -> None:
    text = BASE.replace("memory: 10GiB,", "memory: 10GiB, host_memory: 64GiB,")
    text = text.replace("memory: 4GiB}", "memory: 4GiB, load_time: {disk: 25s, host: 1.2s}}")
    text = text.replace("hub/one, memory: 1GiB", "hub/one, load_time: 3s")
    assert told(tmp_path, text) == []

    composition = load(tmp_path / "experts.yaml", {})
    experts = composition.experts

    assert composition.backends["gpu"].host_memory == 64 * 2**30
    assert (experts["base"].load_time_s, experts["base"].host_load_time_s) == (25, 1.2)
    assert experts["one"].load_time_s == 3
    assert experts["one"].host_load_time_s == pytest.approx(0.3)
    assert (experts["two"].load_time_s, experts["two"].host_load_time_s) == (5, 0.5)


@pytest.mark.parametrize(
    ("old", "new", "path", "message"),
    [
        (
            "type: local",
            "type: ollama, url: http://h",
            "backends.gpu.host_memory",
            "a backend of type `ollama` cannot park experts in host memory",
        ),
        (
            "memory: 10GiB, reserve: 1GiB, ",
            "",
            "backends.gpu.host_memory",
            "nobody leaves for host memory where `memory` is not managed",
        ),
        (
            "64GiB",
            "1MiB",
            "backends.gpu.host_memory",
            "too small for every expert: the smallest takes 1GiB",
        ),
        (
            "memory: 3GiB",
            "memory: 3GiB, load_time: {host: 8s}",
            "experts.other.load_time.host",
            "not faster than from disk (5s)",
        ),
        (
            "memory: 3GiB",
            "memory: 3GiB, load_time: {hots: 8s}",
            "experts.other.load_time.hots",
            "unknown key",
        ),
        ("64GiB", "64", "backends.gpu.host_memory", "the size 64 has no unit"),
    ],
)
def test_what_is_wrong_with_host_memory_is_told(
    old: str, new: str, path: str, message: str, tmp_path: Path
) -> None:
    text = BASE.replace("max_loras", "host_memory: 64GiB, max_loras").replace(old, new)

    (problem,) = told(tmp_path, text)

    assert problem.path == path
    assert message in problem.message


def test_a_load_from_host_memory_that_nobody_has_is_told(tmp_path: Path) -> None:
    text = BASE.replace("memory: 3GiB", "memory: 3GiB, load_time: {host: 1s}")

    (problem,) = told(tmp_path, text)

    assert (problem.path, problem.severity) == ("experts.other.load_time.host", "warning")
    assert "its backend has no `host_memory`" in problem.message


def test_too_much_that_is_pinned_is_refused(tmp_path: Path) -> None:
    text = BASE.replace("4GiB}", "4GiB, residency: pinned}").replace(
        "3GiB}", "3GiB, residency: pinned}"
    )

    (problem,) = errors(tmp_path, text)

    assert (problem.line, problem.path) == (3, "backends.gpu.memory")
    assert "base, other take 10GiB with their adapters" in problem.message


def test_a_size_is_asked_for_where_batching_is_set_up(tmp_path: Path) -> None:
    text = BASE.replace("model: hub/other, memory: 3GiB", "model: hub/other")
    assert errors(tmp_path, text) == []

    (problem,) = errors(tmp_path, text + "batching: {goal: 1}\n")

    assert problem.path == "experts.other"
    assert "`memory` is missing" in problem.message


def test_keys_without_effect_are_told(tmp_path: Path) -> None:
    path = tmp_path / "experts.yaml"
    path.write_text(
        "version: 1\nbackends: {a: http://h}\ndefault: x\n"
        "experts: {x: {backend: a, model: m, residency: pinned, load_time: 2s}}\n"
    )

    found = {(problem.path, problem.severity) for problem in check(path, {})}

    assert found == {("experts.x.residency", "warning"), ("experts.x.load_time", "warning")}
