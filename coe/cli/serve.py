"""`coe serve`: settings and composition -> a listening server."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from pydantic import ValidationError

from coe.api.app import App
from coe.applied import expect_map
from coe.composition import Composition, load
from coe.errors import CoEError, ConfigError
from coe.live import Live
from coe.premises import premises_of
from coe.settings import Settings
from coe.telemetry import Telemetry
from coe.wiring import wire

logger = logging.getLogger(__name__)


def run(config: Path | None, host: str | None, port: int | None) -> None:
    """Serve until a signal says stop.

    Raises:
        ConfigError: the composition, a setting or the address cannot be used.
    """
    settings = read_settings(config, host, port)
    _pin_blas(settings.blas_threads)
    composition = load(settings.config)
    host = settings.host or composition.server.host
    listener = bind(host, composition.server.port if settings.port is None else settings.port)
    logging.basicConfig(
        level=settings.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        stream=sys.stderr,
    )
    # A request makes hundreds of small objects that reference counting frees; the default threshold
    # looks for cycles among them every few requests, which is a tenth of our CPU (measured).
    gc.set_threshold(20_000, 50, 100)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        failure = runner.run(_serve(settings, composition, listener))
    if failure is not None:
        raise failure


def _pin_blas(threads: int) -> None:
    # Read once, when numpy is loaded, which is when the first router is built. A second thread
    # gains nothing on one text, spins while it waits, and takes the core that serves from.
    for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        os.environ.setdefault(variable, str(threads))


async def _serve(
    settings: Settings, composition: Composition, listener: socket.socket
) -> ConfigError | None:
    """Run the server; return the config error that stopped it, if one did."""
    loop = asyncio.get_running_loop()
    telemetry = Telemetry(
        log_requests=settings.log_level in {"debug", "info"}, defer=loop.call_later
    )
    gateway = wire(composition, settings, telemetry, premises=premises_of(settings))
    expect_map(composition, gateway.applied)
    for note in gateway.notes:
        logger.warning(note)
    failures: list[ConfigError] = []

    def stop(error: ConfigError) -> None:
        failures.append(error)
        server.should_exit = True

    app = App(gateway, settings, on_failure=stop)
    reloads: set[asyncio.Task[None]] = set()

    def reload() -> None:
        task = loop.create_task(_reload(app.live))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, reload)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            lifespan="on",
            access_log=False,
            log_config=None,
            server_header=False,
            date_header=False,
            proxy_headers=False,  # the peer is whoever it is, not whom it names
            timeout_keep_alive=75,
            timeout_graceful_shutdown=int(settings.drain_s),
        )
    )
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    print(
        f"CoE gateway: http://{shown}:{port}/v1  "
        f"({len(composition.experts)} experts, {len(composition.categories)} categories, "
        f"composition {composition.fingerprint})",
        file=sys.stderr,
    )
    if not host.startswith("127.") and host != "::1":
        print(
            f"warning: listening on {host} without keys: anyone who reaches it can use it",
            file=sys.stderr,
        )
    await server.serve(sockets=[listener])
    return failures[0] if failures else None


async def _reload(live: Live) -> None:
    """Serve the composition file as it is now; go on with the old one where that cannot be."""
    try:
        composition = await live.edit()
    except CoEError as error:
        logger.error("the composition was not replaced: %s", error.message)  # noqa: TRY400
    else:
        logger.info("serving composition %s", composition.fingerprint)


def read_settings(config: Path | None, host: str | None, port: int | None) -> Settings:
    """Return the settings, with the command line's options over the environment's.

    Raises:
        ConfigError: an environment variable has a value that cannot be used.
    """
    given: dict[str, Any] = {"config": config, "host": host, "port": port}
    try:
        return Settings(**{key: value for key, value in given.items() if value is not None})
    except ValidationError as error:
        rows = [f"COE_{str(row['loc'][0]).upper()}: {row['msg']}" for row in error.errors()]
        raise ConfigError("; ".join(rows)) from None


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens on the address.

    Raises:
        ConfigError: the address is in use, or is not one of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)  # from now on who connects waits instead of being refused
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"{host}:{port} is in use: stop what listens there, or choose another port "
                "(--port N, COE_PORT or server.listen)"
            ) from None
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    return listener


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's loop where it is installed: a third more requests/s than asyncio's."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
