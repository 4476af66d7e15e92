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
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from pydantic import ValidationError

from coe.access.ring import Keyring
from coe.api.access import Reach, is_loopback
from coe.api.app import App
from coe.applied import expect_map
from coe.cli.draining import CUT_S, Drain, Server
from coe.cli.protocol import limited
from coe.composition import Composition, load
from coe.composition.check_backends import split_address
from coe.errors import CoEError, ConfigError
from coe.premises import premises_of
from coe.settings import Settings
from coe.telemetry import Telemetry, logs
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
    operations = _operations_listener(settings.metrics_listen)
    logs.configure(settings.log_level, settings.log_format, sys.stderr)
    # A request makes hundreds of small objects that reference counting frees; the default threshold
    # looks for cycles among them every few requests, which is a tenth of our CPU (measured).
    gc.set_threshold(20_000, 50, 100)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        failure = runner.run(_serve(settings, composition, listener, operations))
    if failure is not None:
        raise failure


def _pin_blas(threads: int) -> None:
    # Read once, when numpy is loaded, which is when the first router is built. A second thread
    # gains nothing on one text, spins while it waits, and takes the core that serves from.
    for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        os.environ.setdefault(variable, str(threads))


async def _serve(
    settings: Settings,
    composition: Composition,
    listener: socket.socket,
    operations: socket.socket | None,
) -> ConfigError | None:
    """Run the server; return the config error that stopped it, if one did."""
    loop = asyncio.get_running_loop()
    telemetry = Telemetry(
        log_requests=settings.log_level in {"debug", "info"},
        defer=loop.call_later,
        log_form=settings.log_format,
    )
    premises = premises_of(settings)
    if premises.ledger is not None:
        await premises.ledger.open()
    gateway = wire(composition, settings, telemetry, premises=premises)
    expect_map(composition, gateway.applied)
    for note in gateway.notes:
        logger.warning(note)
    failures: list[ConfigError] = []

    def stop(error: ConfigError) -> None:
        failures.append(error)
        server.should_exit = True

    host, port = listener.getsockname()[:2]
    reach = reach_of(host, settings)
    app = App(gateway, settings, on_failure=stop, reach=reach)
    reloads: set[asyncio.Task[bool]] = set()

    def reload() -> None:
        if drain.has_begun:
            return
        task = loop.create_task(app.following.read("signal"))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, reload)
    server = Server(
        uvicorn.Config(
            app,
            http=limited(settings.max_header_bytes),
            ws="none",
            lifespan="on",
            access_log=False,
            log_config=None,
            server_header=False,
            date_header=False,
            proxy_headers=False,  # the peer is whoever it is, not whom it names
            timeout_keep_alive=75,
            timeout_graceful_shutdown=int(settings.drain_s) + CUT_S,
        )
    )
    drain = Drain(app, server, settings)
    shown = f"[{host}]" if ":" in host else host
    print(
        f"CoE gateway: http://{shown}:{port}/v1  "
        f"({len(composition.experts)} experts, {len(composition.categories)} categories, "
        f"composition {composition.fingerprint})",
        file=sys.stderr,
    )
    print(await _who_is_let_in(composition, reach, premises.keys), file=sys.stderr)
    async with _operations(app, operations):
        with drain.on_signals():
            await server.serve(sockets=[listener])
    return failures[0] if failures else None


def reach_of(host: str, settings: Settings) -> Reach:
    """Return who can reach a gateway that listens on an address of this machine."""
    if is_loopback(host):
        return "loopback"
    return "unguarded" if settings.unsafe_open else "network"


async def _who_is_let_in(composition: Composition, reach: Reach, ring: Keyring | None) -> str:
    """Say who may use the gateway, and how to be one of them."""
    if composition.server.auth != "keys":
        if reach == "loopback":
            return (
                "open to everybody on this machine, as it listens on loopback alone; "
                "`server: {auth: keys}` asks them for keys"
            )
        if reach == "unguarded":
            return (
                "WARNING: COE_UNSAFE_OPEN is set: no keys are asked for, and ANYONE WHO REACHES "
                "THIS ADDRESS CAN USE IT, spend its money and read its metrics"
            )
    try:
        if ring is not None:
            await ring.refresh()
    except CoEError as error:
        return f"keys are asked for, and cannot be read now: {error.message}"
    if ring is not None and ring.working:
        return "keys are asked for"
    return (
        "keys are asked for, and there is none yet: NOBODY IS LET IN. Make one on this machine: "
        f"coe keys add NAME --config {composition.source}"
    )


def _operations_listener(text: str) -> socket.socket | None:
    """Return a socket for COE_METRICS_LISTEN; None where that is not set. Raises ConfigError."""
    if not text:
        return None
    try:
        host, port = split_address(f"127.0.0.1:{text}" if text.isdecimal() else text)
    except ValueError as error:
        raise ConfigError(
            f"COE_METRICS_LISTEN: {error}; such as `9090` or `10.0.0.5:9090`"
        ) from None
    return bind(host, port, "COE_METRICS_LISTEN")


@asynccontextmanager
async def _operations(app: App, listener: socket.socket | None) -> AsyncIterator[None]:
    """Serve metrics and health on a port of their own meanwhile, in the same loop."""
    if listener is None:
        yield
        return
    config = uvicorn.Config(
        app.operations,
        interface="asgi3",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
    )
    config.load()
    # Not `serve`: it would take over the signals, which are the other server's.
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup([listener])
    host, port = listener.getsockname()[:2]
    print(f"metrics and health, without keys: http://{host}:{port}/metrics", file=sys.stderr)
    try:
        yield
    finally:
        await server.shutdown([listener])


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


def bind(
    host: str, port: int, said_by: str = "--port N, COE_PORT or server.listen"
) -> socket.socket:
    """Return a socket that listens on the address; `said_by` names what it is from.

    Raises:
        ConfigError: the address is in use, or is not one of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With its protocol said, asyncio sets TCP_NODELAY on what it accepts, as uvloop always does.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)  # from now on who connects waits instead of being refused
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"{host}:{port} is in use: stop what listens there, or choose another port "
                f"({said_by})"
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
