"""Benchmarks: `make bench` runs `python -m benches.gateway`."""
