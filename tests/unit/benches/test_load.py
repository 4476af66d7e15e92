import pytest

from benches.load import LoadFailed, parse

OUTPUT = """Running 3s test @ http://127.0.0.1:1/v1/chat/completions
  1 threads and 64 connections
  100 requests in 2.00s, 1.00MB read
Requests/sec:     50.00

BENCH {"requests":100,"micros":2000000,"bytes":70000,"statuses":3,"sockets":1,\
"p50":1500.0,"p99":9000.0}
"""


def test_counts_are_read_from_the_line_of_the_script() -> None:
    load = parse(OUTPUT)

    assert (load.requests, load.seconds, load.failures) == (100, 2.0, 4)
    assert (load.p50_ms, load.p99_ms) == (1.5, 9.0)
    assert load.bytes_each == 700


def test_failed_responses_do_not_count_as_rate() -> None:
    assert parse(OUTPUT).rate == 48


def test_no_response_at_all_is_a_rate_of_zero() -> None:
    nothing = OUTPUT.replace('"requests":100', '"requests":0')

    assert parse(nothing).rate == 0


def test_output_without_counts_is_refused_and_shown() -> None:
    with pytest.raises(LoadFailed, match="unable to connect"):
        parse("unable to connect to 127.0.0.1:1 Connection refused\n")
