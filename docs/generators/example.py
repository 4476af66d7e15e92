"""An application that is not served, from which pages read what every application has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from coe.api.app import App
from coe.composition import load
from coe.premises import premises_of
from coe.settings import Settings
from coe.telemetry import Telemetry
from coe.wiring import wire

# Any composition has the same endpoints and metrics: this one needs no weights and no server.
SMALLEST = """\
version: 1
backends: {server: http://127.0.0.1:1}
experts: {general: server/model}
default: general
"""


@asynccontextmanager
async def application() -> AsyncIterator[App]:
    """Build the application with the default settings, whatever the environment says.

    One that shares its state has the metrics of that, too: nobody connects.
    """
    with TemporaryDirectory() as folder:
        file = _written(Path(folder))
        settings = Settings.model_construct(config=file, redis_url="redis://127.0.0.1:1/0")
        premises = premises_of(settings)
        gateway = wire(load(file), settings, Telemetry(log_requests=False), premises=premises)
        try:
            yield App(gateway, settings)
        finally:
            await gateway.aclose()


def _written(folder: Path) -> Path:
    file = folder / "experts.yaml"
    file.write_text(SMALLEST, encoding="utf-8")
    return file
