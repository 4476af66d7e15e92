"""The stacks that are compared: how each is started, asked and stopped."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from benches.installation import BUILD, HERE, ROOT, Installation, Missing
from benches.load import Target
from benches.processes import Process, free_port

START_S = 90.0
OURS, LOGGED = "coe", "coe_logged"
DIRECT = "direct"


class StackFailed(Exception):
    """A stack did not start; the message shows the end of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """One way to stand before the upstream.

    Attributes:
        port: that the command listens on; None when it prints `listening on URL` instead.
        base: path of the OpenAI API below the address (printed URLs contain it).
        ready: path that answers once requests are served.
        model: what a request asks for.
    """

    name: str
    label: str
    command: tuple[str, ...]
    port: int | None = None
    base: str = "/v1"
    ready: str = "/"
    model: str = "bench"
    headers: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A stack that serves; `process` is None for the upstream itself."""

    stack: Stack
    url: str
    process: Process | None

    def target(self, body: bytes) -> Target:
        """Return what the load generator asks."""
        return Target(url=f"{self.url}/chat/completions", body=body, headers=self.stack.headers)


@contextmanager
def running(stack: Stack, *, core: int | None) -> Iterator[Running]:
    """Start a stack, wait until it serves, stop it at the end.

    Raises:
        StackFailed: it ended, or did not serve in time.
    """
    log = BUILD / "logs" / f"{stack.name}.log"
    with Process(stack.command, core=core, log=log, extra=stack.environ) as process:
        deadline = time.monotonic() + START_S
        url = ""
        while not (url and _answers(url, stack.ready)):
            if not process.is_alive or time.monotonic() > deadline:
                raise StackFailed(f"{stack.label} does not serve: {process.output()[-600:]}")
            url = url or _address(stack, process)
            time.sleep(0.05)
        yield Running(stack=stack, url=url, process=process)


def _address(stack: Stack, process: Process) -> str:
    if stack.port is not None:
        return f"http://127.0.0.1:{stack.port}{stack.base}"
    printed = re.search(r"listening on (http://\S+)", process.output())
    return printed[1].rstrip("/") if printed else ""


def _answers(url: str, path: str) -> bool:
    where = urlsplit(url)
    connection = HTTPConnection(where.hostname or "", where.port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status < 500
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def upstream_stack(installation: Installation) -> Stack:
    """The zero-latency server behind everybody."""
    port = free_port()
    command = (str(installation.upstream), str(port))
    return Stack(name=DIRECT, label="direct to the upstream", command=command, port=port)


def stacks(installation: Installation, upstream: str) -> dict[str, Callable[[], Stack]]:
    """Return the makers of all stacks, ours first; `upstream` is the URL with /v1.

    A maker raises Missing when its stack is not installed.
    """
    return {
        OURS: lambda: ours(upstream),
        LOGGED: lambda: ours(upstream, logs=True),
        "litellm": lambda: _litellm(installation, upstream),
        "portkey": lambda: _portkey(installation, upstream),
        "tensorzero": lambda: _tensorzero(installation, upstream),
        "fastapi_httpx": lambda: _application(installation, upstream, "fastapi_httpx"),
        "starlette_aiohttp": lambda: _application(installation, upstream, "starlette_aiohttp"),
    }


def ours(upstream: str, *, logs: bool = False) -> Stack:
    """This project's gateway, one worker, as `coe serve` starts it; telemetry is on.

    Args:
        upstream: the URL of what it asks.
        logs: whether it writes each decision down, as it does unless told otherwise.
    """
    coe = Path(sys.executable).with_name("coe")
    if not coe.exists():
        raise Missing(f"{coe} is not there: pip install -e . in {ROOT}")
    port = free_port()
    config = rendered(HERE / "composition.yaml", upstream)
    if logs:
        config = config.with_name("composition-logged.yaml")
        text = (
            (HERE / "composition.yaml").read_text().replace("decisions: false", "decisions: true")
        )
        config.write_text(text.replace("UPSTREAM", upstream))
    return Stack(
        name=LOGGED if logs else OURS,
        label="coe serve, decisions logged" if logs else "coe serve",
        command=(str(coe), "serve", "--config", str(config), "--port", str(port)),
        port=port,
        ready="/health/live",
    )


def rendered(template: Path, upstream: str) -> Path:
    """Write the template with the upstream's URL for the word UPSTREAM; return where."""
    config = BUILD / "config" / template.name
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(template.read_text().replace("UPSTREAM", upstream))
    return config


def _python(installation: Installation) -> Path:
    if installation.python is None:
        raise Missing(installation.absent["python peers"])
    return installation.python


def _litellm(installation: Installation, upstream: str) -> Stack:
    python, port = _python(installation), free_port()
    config = rendered(HERE / "peers" / "litellm.yaml", upstream)
    command = [str(python.with_name("litellm")), "--config", str(config), "--num_workers", "1"]
    return Stack(
        name="litellm",
        label=f"LiteLLM proxy {installation.version('litellm')}",
        command=(*command, "--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"),
        port=port,
        ready="/health/liveliness",
        environ={
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # otherwise it fetches one at import
            "LITELLM_LOG": "ERROR",
            "LITELLM_MODE": "PRODUCTION",
            # With a key it is about a fifth slower; without one it insists on this.
            "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
        },
    )


def _portkey(installation: Installation, upstream: str) -> Stack:
    if installation.portkey is None:
        raise Missing(installation.absent["portkey"])
    port = free_port()
    loopback = HERE / "peers" / "loopback.cjs"
    command = ("node", "--require", str(loopback), str(installation.portkey))
    return Stack(
        name="portkey",
        label="Portkey gateway 1.15 (node)",
        command=(*command, f"--port={port}", "--headless"),
        port=port,
        headers={
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": upstream,
            "authorization": "Bearer none",
        },
        environ={"NODE_ENV": "production"},
    )


def _tensorzero(installation: Installation, upstream: str) -> Stack:
    python = _python(installation)
    config = rendered(HERE / "peers" / "tensorzero.toml", upstream)
    return Stack(
        name="tensorzero",
        label=f"TensorZero gateway {installation.version('tensorzero')} (Rust, embedded)",
        command=(str(python), str(HERE / "peers" / "tensorzero_gateway.py"), str(config)),
        ready="/health",
        model="tensorzero::model_name::bench",
    )


def _application(installation: Installation, upstream: str, name: str) -> Stack:
    python, port = _python(installation), free_port()
    framework, client = name.split("_")
    label = f"{framework} {installation.version(framework)} + {client}"
    return Stack(
        name=name,
        label=f"{label} {installation.version(client)}",
        command=(
            *(str(python), "-m", "uvicorn", "--app-dir", str(HERE / "peers"), f"{name}:app"),
            *("--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"),
            *("--no-access-log", "--loop", "uvloop", "--http", "httptools"),
        ),
        port=port,
        environ={"BENCH_UPSTREAM": upstream},
    )
