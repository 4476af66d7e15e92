"""Starts TensorZero's gateway from its PyPI package: `tensorzero_gateway.py CONFIG`.

The package carries the whole Rust gateway and starts it, HTTP server included, for
`tensorzero.patch_openai_client`. Python only waits: no request passes through it. The gateway
chooses its own port, so the address is printed.
"""

import signal
import sys

from tensorzero.tensorzero import _start_http_gateway  # type: ignore[import-not-found]


def main() -> None:
    """Serve until a signal ends the process."""
    gateway = _start_http_gateway(
        config_file=sys.argv[1],
        clickhouse_url=None,
        postgres_url=None,
        valkey_url=None,
        async_setup=False,
    )
    print(f"listening on {gateway.base_url}", flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
