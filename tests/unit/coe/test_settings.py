from __future__ import annotations

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
