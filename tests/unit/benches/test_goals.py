from benches.goals import CELLS, GOALS, metrics_of
from benches.load import Load, Target
from benches.rounds import Cell, Lane, Sample, Samples

ROUTED_LANES = ("explicit", "seen", "unseen")
STACKS = ("direct", "coe", "litellm", "portkey", "tensorzero")


def load(requests: int = 1000, failures: int = 0, p50_ms: float = 1.0) -> Load:
    return Load(
        requests=requests, seconds=1, failures=failures, bytes_each=900, p50_ms=p50_ms, p99_ms=9
    )


def samples(**changed: Load) -> Samples:
    """Every lane with one round of the same load, save those named `cell_lane`."""
    taken = Samples()
    for cell in CELLS:
        for name in ROUTED_LANES if cell.name == "routed" else STACKS:
            add(taken, cell, name, changed.get(f"{cell.name}_{name}", load()))
    return taken


def add(taken: Samples, cell: Cell, name: str, seen: Load) -> None:
    target = Target(url="http://127.0.0.1:1", body=b"{}")
    lane = Lane(cell=cell, name=name, target=target, whole_bytes=700, process=None)
    taken.add(lane, Sample(load=seen, cpu_us=1, whole_bytes=lane.whole_bytes))


def test_a_whole_run_gives_every_metric_that_load_can_measure() -> None:
    metrics, problems = metrics_of(samples())

    started_apart = {"encoder_cold_start_s", "listen_s", "gateway_rss_mb"}
    assert {metric.metric for metric in metrics} == set(GOALS) - started_apart
    assert problems == {}


def test_throughput_is_a_ratio_and_latency_a_difference() -> None:
    metrics, _ = metrics_of(
        samples(c64_coe=load(5000), c1_coe=load(p50_ms=1.25), routed_unseen=load(p50_ms=4.5))
    )

    values = {metric.metric: metric.value for metric in metrics}
    assert values["rps_c64_vs_litellm"] == 5
    assert values["added_p50_ms_c1"] == 0.25
    assert values["routed_added_p50_ms"] == 3.5
    assert values["routed_cached_added_p50_ms"] == 0


def test_metrics_of_a_failing_peer_are_left_out_with_the_reason() -> None:
    metrics, problems = metrics_of(samples(streams_litellm=load(failures=500)))

    assert "streams_vs_litellm" not in {metric.metric for metric in metrics}
    assert "rps_c64_vs_litellm" in {metric.metric for metric in metrics}
    assert problems == {"streams litellm": "500 of 1000 requests failed"}


def test_a_peer_that_answers_nothing_in_time_is_left_out() -> None:
    metrics, problems = metrics_of(samples(streams_litellm=load(requests=0)))

    assert "streams_vs_litellm" not in {metric.metric for metric in metrics}
    assert problems == {"streams litellm": "no request was answered in time"}


def test_streams_that_end_early_are_not_counted() -> None:
    cut = Load(requests=1000, seconds=1, failures=0, bytes_each=350, p50_ms=1, p99_ms=1)

    metrics, problems = metrics_of(samples(streams_coe=cut))

    assert not [metric for metric in metrics if metric.metric.startswith("streams")]
    assert problems == {"streams coe": "answers were cut short: 50% of a whole one"}


def test_metrics_of_an_absent_peer_are_left_out() -> None:
    taken = samples()
    for key in [key for key in taken.by_lane if key[1] == "tensorzero"]:
        del taken.by_lane[key]

    metrics, problems = metrics_of(taken)

    assert not [metric for metric in metrics if metric.metric.endswith("tensorzero")]
    assert problems == {}
