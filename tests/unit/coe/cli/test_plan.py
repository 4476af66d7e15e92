"""`coe sim` and `coe plan`: the same trace under every rule."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coe.cli.cases import Numbers, of_composition, of_numbers
from coe.cli.plan import compare, make_trace, read_trace
from coe.errors import ConfigError

NUMBERS = Numbers(concurrency=2, load_s=1.0)


def written(folder: Path, *lines: str) -> Path:
    file = folder / "trace.jsonl"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def test_a_trace_is_played_under_every_rule(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = (f'{{"at_s": {n / 10}, "expert": "{"ab"[n % 2]}", "work_s": 2}}' for n in range(20))

    trace = read_trace(written(tmp_path, *calls), 1.0)

    compare(trace, of_numbers(trace, NUMBERS), as_json=True)

    said = json.loads(capsys.readouterr().out)
    loads = {name: round(rule["swaps"] * 20 / 1000) for name, rule in said["rules"].items()}
    assert loads["first come"] == loads["fifo"] == 20
    assert loads["affinity"] < loads["coalescing"]
    assert said["best_hit_rate_by_slots"] == {"1": 0.0, "2": 0.9}


def test_the_table_names_the_rules(capsys: pytest.CaptureFixture[str]) -> None:
    trace = make_trace("bursty", experts=4, rate=1.0, calls=50, call_s=2.0, seed=1)

    compare(trace, of_numbers(trace, NUMBERS))

    said = capsys.readouterr().out
    assert "llama-swap's rule" in said
    assert "Best hit rate by slots" in said


def test_lines_are_put_in_order_and_unknown_lengths_are_guessed(tmp_path: Path) -> None:
    file = written(
        tmp_path, '{"at_s": 2, "expert": "a", "work_s": 9}', "", '{"at_s": 1, "expert": "b"}'
    )

    assert [(c.at_s, c.expert, c.work_s) for c in read_trace(file, 4.0)] == [
        (1.0, "b", 4.0),
        (2.0, "a", 9.0),
    ]


@pytest.mark.parametrize(
    "line",
    [
        *("nonsense", '{"expert": "a"}', "[]", '{"at_s": "x", "expert": 1}'),
        *('{"at_s": NaN, "expert": "a"}', '{"at_s": 1, "expert": "a", "work_s": 0}'),
    ],
)
def test_a_line_that_is_no_call_is_named_with_its_place(tmp_path: Path, line: str) -> None:
    file = written(tmp_path, '{"at_s": 0, "expert": "a"}', line)

    with pytest.raises(ConfigError, match=r"trace\.jsonl:2: not a call"):
        read_trace(file, 1.0)


def test_a_trace_that_is_empty_or_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no calls"):
        read_trace(written(tmp_path), 1.0)
    with pytest.raises(ConfigError, match="No such file"):
        read_trace(tmp_path / "nothing", 1.0)
    (tmp_path / "latin").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_trace(tmp_path / "latin", 1.0)


def test_an_unknown_kind_of_arrivals_is_an_error() -> None:
    with pytest.raises(ConfigError, match="there are: poisson, bursty, sessions"):
        make_trace("tidal", experts=1, rate=1.0, calls=1, call_s=1.0, seed=0)


# ---------------------------------------------------------------- sizes from a composition

FILE = """\
version: 1
backends:
  big: {type: vllm, url: http://127.0.0.1:1, memory: 40GiB, reserve: 4GiB, concurrency: 4}
  small: {type: ollama, url: http://127.0.0.1:2, memory: 8GiB}
  other: http://127.0.0.1:3
experts:
  large: {backend: big, model: l, memory: 30GiB, load_time: 20s}
  medium: {backend: big, model: m, memory: 12GiB, load_time: 8s}
  tiny: {backend: big, model: t, memory: 6GiB, load_time: 3s, residency: pinned}
  one: {backend: small, model: one, memory: 5GiB}
  two: {backend: small, model: two, memory: 5GiB}
  free: {backend: other, model: free}
default: tiny
batching: {goal: 1.0}
"""


def composition(folder: Path, text: str = FILE) -> Path:
    file = folder / "experts.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def calls_of(folder: Path, *experts: str) -> Path:
    lines = (f'{{"at_s": {n}, "expert": "{name}"}}' for n, name in enumerate(experts))
    return written(folder, *lines)


def test_a_composition_says_sizes_load_times_slots_and_who_is_pinned(tmp_path: Path) -> None:
    file = calls_of(tmp_path, "large", "medium", "tiny")
    trace = read_trace(file, 1.0)

    case = of_composition(trace, composition(tmp_path), "big", Numbers(), source=str(file))

    assert case.layout.pools[0].memory == 36 * 2**30
    said = [(e.name, e.memory, e.load_s, e.concurrency, e.pinned) for e in case.layout.experts]
    assert said == [
        ("large", 30 * 2**30, 20.0, 4, False),
        ("medium", 12 * 2**30, 8.0, 4, False),
        ("tiny", 6 * 2**30, 3.0, 4, True),
    ]
    assert case.slots == 2
    assert sorted(case.rules) == ["affinity", "edf", "fifo"]
    assert "36GiB for 3 experts, at most 2 of them at once; loads take 3 to 20 s" in case.said


def test_experts_that_are_alike_are_compared_with_what_others_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = read_trace(calls_of(tmp_path, "one", "two", "one", "two"), 1.0)

    case = of_composition(trace, composition(tmp_path), "small", Numbers(), source="t")
    compare(trace, case, as_json=True)

    said = json.loads(capsys.readouterr().out)["rules"]
    assert set(said) >= {"first come", "coalescing", "llama-swap's rule", "affinity"}
    assert said["fifo"]["swaps"] == 1000


def test_host_memory_is_played_for_every_rule_that_could_park(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = """\
version: 1
backends: {gpu: {type: local, memory: 5GiB, host_memory: 12GiB}}
experts:
  one: {backend: gpu, model: hub/one, memory: 5GiB, load_time: {disk: 20s, host: 2s}}
  two: {backend: gpu, model: hub/two, memory: 5GiB, load_time: 20s}
default: one
"""
    trace = read_trace(calls_of(tmp_path, *("one", "two") * 4), 1.0)

    case = of_composition(trace, composition(tmp_path, text), None, Numbers(), source="t")
    compare(trace, case, as_json=True)

    assert "loads take 20 s, and 2 s from host memory, of which there are 12GiB" in case.said
    said = json.loads(capsys.readouterr().out)["rules"]
    for name in ("fifo", "first come"):
        assert (said[name]["swaps"], said[name]["fetches"]) == (1000, 250)
        assert said[name]["worst_s"] == pytest.approx(20 + 1 + 20 + 1 + 6 * 2 + 5 - 7)


def test_adapters_are_played_beside_their_base(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = """\
version: 1
backends: {gpu: {type: vllm, url: http://127.0.0.1:1, memory: 20GiB, max_loras: 2}}
experts:
  base: {backend: gpu, model: b, memory: 16GiB, load_time: 9s}
  a: {base: base, adapter: lora-a, memory: 1GiB, load_time: 1s}
  b: {base: base, adapter: lora-b, memory: 1GiB, load_time: 1s}
  c: {base: base, adapter: lora-c, memory: 1GiB, load_time: 1s}
default: base
"""
    trace = read_trace(calls_of(tmp_path, "a", "b", "c", "a"), 1.0)

    case = of_composition(trace, composition(tmp_path, text), None, Numbers(), source="t")
    compare(trace, case, as_json=True)

    said = json.loads(capsys.readouterr().out)["rules"]
    assert case.slots == 3
    assert [rule["swaps"] for rule in said.values()] == [1000] * 3  # each of them, and the base


@pytest.mark.parametrize(
    ("backend", "experts", "numbers", "message"),
    [
        (
            "big",
            ("large", "one", "smaall"),
            Numbers(),
            r"t\.jsonl:2: backend `big` .* `one`, and 1",
        ),
        ("small", ("one", "tow"), Numbers(), r"t\.jsonl:2: .* `tow`; did you mean `two`\?"),
        ("small", ("zebra",), Numbers(), r"it has one, two"),
        (None, ("one",), Numbers(), r"say which with --backend: big, small"),
        ("bog", ("one",), Numbers(), r"no backend `bog`; with `memory` there are: big, small"),
        ("other", ("free",), Numbers(), r"backends\.other has no `memory`"),
        ("big", ("large",), Numbers(slots=2), r"--slots: .*experts\.yaml says that"),
        ("big", ("large",), Numbers(load_s=0.0), r"--load: .*experts\.yaml says that"),
    ],
)
def test_what_does_not_fit_together_is_named(
    tmp_path: Path, backend: str | None, experts: tuple[str, ...], numbers: Numbers, message: str
) -> None:
    trace = read_trace(calls_of(tmp_path, *experts), 1.0)

    with pytest.raises(ConfigError, match=message):
        of_composition(trace, composition(tmp_path), backend, numbers, source="t.jsonl")


def test_a_composition_that_packs_nothing_is_named(tmp_path: Path) -> None:
    trace = read_trace(calls_of(tmp_path, "one"), 1.0)
    nothing = "version: 1\nbackends: {b: http://127.0.0.1:1}\nexperts: {one: b/m}\ndefault: one\n"
    unsized = FILE.replace("model: two, memory: 5GiB", "model: two").partition("batching")[0]

    with pytest.raises(ConfigError, match="no backend has `memory`"):
        of_composition(trace, composition(tmp_path, nothing), None, Numbers(), source="t")
    with pytest.raises(ConfigError, match="`memory` of two is missing"):
        of_composition(trace, composition(tmp_path, unsized), "small", Numbers(), source="t")
    with pytest.raises(ConfigError, match="with --composition"):
        Numbers().refuse_backend("big")


def test_width_and_goal_count_beside_a_composition(tmp_path: Path) -> None:
    trace = read_trace(calls_of(tmp_path, "large"), 1.0)

    numbers = Numbers(width=1, goal=0.0)
    case = of_composition(trace, composition(tmp_path), "big", numbers, source="t")

    assert case.layout.pools[0].width == 1
    assert {rule.options.goal for rule in case.rules.values()} == {0.0}  # type: ignore[attr-defined]
