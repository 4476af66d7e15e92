"""The parts of `make bench-load`; see `benches.production`."""
