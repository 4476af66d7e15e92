import pytest

from benches.load import Load
from benches.rounds import LONGEST_S, run_s


def warm(requests: int, p50_ms: float) -> Load:
    return Load(
        requests=requests, seconds=1, failures=0, bytes_each=1, p50_ms=p50_ms, p99_ms=p50_ms
    )


@pytest.mark.parametrize(
    ("seen", "seconds"),
    [
        (warm(9000, 0.3), 3.0),
        (warm(10, 1500.0), 12.0),
        (warm(2, 9000.0), LONGEST_S),
        (warm(0, 0.0), LONGEST_S),
    ],
)
def test_slow_stacks_run_long_enough_to_finish_several_responses(
    seen: Load, seconds: float
) -> None:
    assert run_s(seen, 3.0) == seconds
