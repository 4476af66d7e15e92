from __future__ import annotations

import os
import subprocess
import sys

import pytest

from coe.settings import Settings


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"HOME": "/home/ada"}, "/home/ada/.cache/coe"),
        ({"HOME": "/home/ada", "XDG_CACHE_HOME": "/var/cache"}, "/var/cache/coe"),
        ({"HOME": "/home/ada", "XDG_CACHE_HOME": "relative"}, "/home/ada/.cache/coe"),
        ({"COE_CACHE_DIR": "/data"}, "/data"),
        ({"HOME": "/home/ada", "COE_CACHE_DIR": "~/coe"}, "/home/ada/coe"),
        ({"COE_CACHE_DIR": "off"}, ""),
    ],
)
def test_the_cache_is_where_the_environment_says(
    variables: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("COE_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert Settings().cache_folder == folder


@pytest.mark.parametrize(("given", "threads"), [(None, 1), ("2", 2)])
def test_matrix_products_take_one_thread_unless_told_otherwise(
    given: str | None, threads: int
) -> None:
    """BLAS reads its variable when numpy is loaded: nothing that serves may load it earlier."""
    pytest.importorskip("threadpoolctl")
    program = (
        "import sys; from coe.cli.serve import Settings, _pin_blas\n"
        "assert 'numpy' not in sys.modules\n"
        "_pin_blas(Settings().blas_threads)\n"
        "import numpy, threadpoolctl\n"
        "print(max(pool['num_threads'] for pool in threadpoolctl.threadpool_info()))"
    )
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    if given is not None:
        environment["COE_BLAS_THREADS"] = given

    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )

    # A machine with one core has one thread whatever is asked for.
    assert int(done.stdout) == min(threads, os.cpu_count() or 1)
