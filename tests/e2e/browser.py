"""A headless Chromium that a test looks through, by its own protocol over a websocket.

Reference: https://chromedevtools.github.io/devtools-protocol (domains Target, Page, Runtime, Log,
Network, Emulation).
"""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # it refuses to run as root with one; it shows our own page only
    "--disable-gpu",
    "--disable-dev-shm-usage",  # containers have little of it
    "--disable-extensions",
    "--disable-background-networking",
    "--no-first-run",
    "--remote-debugging-port=0",
)
# WCAG's contrast of every text with what it stands on: 4.5 is enough for any size (AA).
CONTRAST = """
(() => {
  const channel = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const parts = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const ground = node => {
    for (; node; node = node.parentElement) {
      const found = parts(getComputedStyle(node).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
  };
  const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  const texts = [...document.querySelectorAll('h1, h2, p, td, th, .name, .value, svg text')];
  return Math.min(...texts.filter(node => !node.classList.contains('count')).map(node => {
    const style = getComputedStyle(node);
    const ink = node.closest('svg') ? style.fill : style.color;
    return ratio(light(parts(ink)), light(ground(node)));
  }));
})()
"""
# Pixels by which a page is wider than its window.
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
LISTENS = re.compile(rb"DevTools listening on (\S+)")


def installed() -> str | None:
    """Return the path of a Chromium, or None."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


MARKS = [  # of tests that look through it
    pytest.mark.anyio,
    pytest.mark.timeout(240),  # it takes seconds to start, and more on a busy machine
    pytest.mark.skipif(
        installed() is None,
        reason="the page is looked at in no browser: there is no Chromium here "
        "(Debian: apt-get install chromium)",
    ),
]


@dataclass
class Page:
    """One tab.

    Attributes:
        said: what the page wrote to the console, its errors and the browser's warnings.
        requested: the addresses that it asked for.
    """

    socket: aiohttp.ClientWebSocketResponse
    session: str = ""
    said: list[str] = field(default_factory=list)
    requested: list[str] = field(default_factory=list)
    _ids: count[int] = field(default_factory=count)

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result; note the events that come before it."""
        number = next(self._ids)
        message = {"id": number, "method": method, "params": params}
        await self.socket.send_json(message | ({"sessionId": self.session} if self.session else {}))
        while True:
            came = await self.socket.receive_json(timeout=120)
            if came.get("id") == number:
                assert "error" not in came, came["error"]
                return dict(came["result"])
            self._note(came.get("method", ""), came.get("params", {}))

    async def open(self, file: Path) -> None:
        """Show a file, and return when it is loaded."""
        await self.send("Page.navigate", url=file.as_uri())
        while await self.value("document.readyState") != "complete":
            await asyncio.sleep(0.01)

    async def value(self, expression: str) -> Any:
        """Return what an expression is in the page, as JSON has it."""
        found = await self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    async def resize(self, width: int, height: int = 800) -> None:
        """Make the window so many pixels wide and high."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        await self.send("Emulation.setDeviceMetricsOverride", **size)

    async def theme(self, name: str) -> None:
        """Prefer the colours `light` or `dark`."""
        feature = {"name": "prefers-color-scheme", "value": name}
        await self.send("Emulation.setEmulatedMedia", features=[feature])

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requested.append(params["request"]["url"])
        elif method == "Log.entryAdded":
            self.said.append(params["entry"]["text"])
        elif method in {"Runtime.consoleAPICalled", "Runtime.exceptionThrown"}:
            self.said.append(str(params))


@asynccontextmanager
async def browsing(folder: Path) -> AsyncIterator[Page]:
    """Start a browser with its profile in a folder, and open a tab; end both afterwards."""
    program = installed()
    assert program is not None
    process = await asyncio.create_subprocess_exec(
        program,
        *FLAGS,
        f"--user-data-dir={folder}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stderr is not None
        async with asyncio.timeout(120):
            while not (found := LISTENS.search(line := await process.stderr.readline())):
                assert line, "the browser ended before it listened"
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(found[1].decode(), max_msg_size=0) as socket,
        ):
            page = Page(socket)
            made = await page.send("Target.createTarget", url="about:blank")
            target = {"targetId": made["targetId"], "flatten": True}
            page.session = (await page.send("Target.attachToTarget", **target))["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                await page.send(f"{domain}.enable")
            yield page
    finally:
        process.kill()
        await process.wait()
