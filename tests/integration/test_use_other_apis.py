"""The how-to on other APIs is run as it is written, but for the port and the experts."""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
from pathlib import Path

import pytest

from .conftest import Gateways

pytestmark = pytest.mark.anyio

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "use-other-apis.md"
RESPONSES, MESSAGES, COMPLETIONS = re.findall(
    r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL
)


@pytest.mark.parametrize(
    ("snippet", "said"),
    [
        pytest.param(RESPONSES, 'call add {"a": 1}\necho: 2\n', id="responses"),
        pytest.param(MESSAGES, "call add {'a': 1}\necho: 2\n", id="messages"),
        pytest.param(COMPLETIONS, "echo: how many feet are 12 metres\n", id="completions"),
    ],
)  # fmt: skip
async def test_a_snippet_of_the_page_runs(gateways: Gateways, snippet: str, said: str) -> None:
    if snippet != COMPLETIONS:
        gateways.upstream.plan(["tools", "ok"])
    async with gateways.start() as running:
        code = snippet.replace("http://127.0.0.1:8088", running.url.removesuffix("/v1"))

        assert await asyncio.to_thread(_printed, code) == said


def _printed(code: str) -> str:
    """Run a script; return what it prints."""
    out = io.StringIO()
    names: dict[str, object] = {}
    with contextlib.redirect_stdout(out):
        exec(code, names)  # noqa: S102 - it is our own page
    names["client"].close()  # type: ignore[attr-defined]
    return out.getvalue()
