"""`coe sim` and `coe plan`: the same trace under every rule."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coe.cli.plan import Place, compare, make_trace, read_trace
from coe.errors import ConfigError

PLACE = Place(slots=1, width=None, concurrency=2, load_s=1.0, slowdown=None)


def written(folder: Path, *lines: str) -> Path:
    file = folder / "trace.jsonl"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def test_a_trace_is_played_under_every_rule(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = (f'{{"at_s": {n / 10}, "expert": "{"ab"[n % 2]}", "work_s": 2}}' for n in range(20))

    compare(read_trace(written(tmp_path, *calls), 1.0), PLACE, goal=0.5, as_json=True)

    said = json.loads(capsys.readouterr().out)
    loads = {name: round(rule["swaps"] * 20 / 1000) for name, rule in said["rules"].items()}
    assert loads["first come"] == loads["fifo"] == 20
    assert loads["affinity"] < loads["coalescing"]
    assert said["best_hit_rate_by_slots"] == {"1": 0.0, "2": 0.9}


def test_the_table_names_the_rules(capsys: pytest.CaptureFixture[str]) -> None:
    trace = make_trace("bursty", experts=4, rate=1.0, calls=50, call_s=2.0, seed=1)

    compare(trace, PLACE, goal=0.5, as_json=False)

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
    "line", ["nonsense", '{"expert": "a"}', "[]", '{"at_s": "x", "expert": 1}']
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


def test_an_unknown_kind_of_arrivals_is_an_error() -> None:
    with pytest.raises(ConfigError, match="there are: poisson, bursty, sessions"):
        make_trace("tidal", experts=1, rate=1.0, calls=1, call_s=1.0, seed=0)
