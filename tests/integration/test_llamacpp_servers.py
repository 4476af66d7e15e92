"""Real llama.cpp servers with real models, which load and unload; skipped where there are none.

LLAMACPP_PYTHON   a Python that has `llama-cpp-python[server]`, `gguf` and `safetensors`
LLAMA_SERVER      the program `llama-server`; needs the Python, too, for the models
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import orjson
import pytest

from coe.backends.managed import llama_cpp_python, llamacpp
from coe.errors import ExpertLoadFailed
from coe.protocols import BackendSpec, ExpertSite
from coe.testing.residency import (
    RESIDENCY_CHECKS,
    ManagedBackend,
    ResidencyCheck,
    ResidencySubject,
)
from coe.testing.subject import Unchecked

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
NAMES = ("base", "sql", "json", "python")
PYTHON = os.environ.get("LLAMACPP_PYTHON", "")
SERVER = os.environ.get("LLAMA_SERVER", "")
needs_python = pytest.mark.skipif(not PYTHON, reason="LLAMACPP_PYTHON is not set")
needs_server = pytest.mark.skipif(
    not (PYTHON and SERVER), reason="LLAMA_SERVER and LLAMACPP_PYTHON are not set"
)
CHECKS = pytest.mark.parametrize(
    "check", RESIDENCY_CHECKS, ids=lambda c: c.__name__.removeprefix("check_")
)


@dataclass(frozen=True)
class Running:
    """A server in a process of its own.

    Attributes:
        log: what it has written.
    """

    url: str
    log: Path

    @property
    def loads(self) -> int:
        """Models that it has read since it started, its first one included."""
        return len(re.findall("loaded meta data with", self.log.read_text(errors="replace")))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gguf")
    script = ROOT / "benches" / "gguf_models.py"
    subprocess.run([PYTHON, str(script), str(folder), *NAMES], check=True)
    return folder


@contextmanager
def serving(command: list[str], log: Path, port: int, ready: str) -> Iterator[Running]:
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(600):
            assert process.poll() is None, log.read_text(errors="replace")[-2000:]
            try:
                with urlopen(f"{url}/{ready}", timeout=5):  # noqa: S310 - our own address
                    break
            except (URLError, OSError):
                time.sleep(0.1)
        yield Running(f"{url}/v1", log)
    finally:
        process.terminate()
        process.wait(20)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def one_place(models: Path) -> Iterator[Running]:
    """llama_cpp.server: four models, of which one is loaded."""
    port = free_port()
    entries = [
        {"model": str(models / f"{name}.gguf"), "model_alias": name, "n_ctx": 512, "n_threads": 1}
        for name in NAMES
    ]
    config = {"host": "127.0.0.1", "port": port, "interrupt_requests": False, "models": entries}
    (models / "server.json").write_bytes(orjson.dumps(config))
    command = [PYTHON, "-m", "llama_cpp.server", "--config_file", str(models / "server.json")]
    with serving(command, models / "python.log", port, "v1/models") as running:
        yield running


@pytest.fixture(scope="module")
def router(models: Path) -> Iterator[Running]:
    """llama-server in router mode, with a file that is no model beside the four."""
    folder = models / "router"
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.gguf").symlink_to(models / f"{name}.gguf")
    (folder / "damaged.gguf").write_bytes(b"GGUF but no more")
    port = free_port()
    command = [SERVER, "--models-dir", str(folder), "--port", str(port), "-c", "512", "-t", "1"]
    with serving(command, models / "router.log", port, "health") as running:
        yield running


def spec(kind: str, url: str, *more: str) -> BackendSpec:
    sites = tuple(ExpertSite(expert=f"the-{name}", model=name) for name in (*NAMES, *more))
    return BackendSpec(name="real", type=kind, url=url, experts=sites)


@asynccontextmanager
async def managed(backend: ManagedBackend) -> AsyncIterator[ManagedBackend]:
    try:
        for expert in await backend.resident():
            await backend.unload(expert)
        yield backend
    finally:
        await backend.aclose()


def subject(backend: ManagedBackend, broken: str, *, together: bool) -> ResidencySubject:
    return ResidencySubject(
        backend=backend,
        sites=(
            ExpertSite(expert="the-sql", model="sql"),
            ExpertSite(expert="the-json", model="json"),
        ),
        broken=f"the-{broken}",
        body={"max_tokens": 24},
        together=together,
    )


@needs_python
@CHECKS
async def test_llama_cpp_python_keeps_the_contract(
    one_place: Running, check: ResidencyCheck
) -> None:
    built = llama_cpp_python.build(spec("llama_cpp_python", one_place.url, "nowhere"))
    async with managed(built) as backend:
        try:
            await check(subject(backend, "nowhere", together=False))
        except Unchecked as why:
            pytest.skip(str(why))


@needs_server
@CHECKS
async def test_llama_server_keeps_the_contract(router: Running, check: ResidencyCheck) -> None:
    async with managed(llamacpp.build(spec("llamacpp", router.url, "damaged"))) as backend:
        await check(subject(backend, "damaged", together=True))


@needs_python
async def test_a_load_is_the_swap_and_calls_of_the_loaded_expert_are_none(
    one_place: Running,
) -> None:
    built = llama_cpp_python.build(spec("llama_cpp_python", one_place.url))
    async with managed(built) as backend:
        asked = [0, 1, 1, 0, 1, 0, 0, 0, 1, 0, 1, 1]
        await backend.load("the-python")
        both = subject(backend, "", together=False)

        before = one_place.loads
        for place in asked:
            await both.ask(place)
        as_they_come = one_place.loads - before
        await backend.load("the-python")

        before = one_place.loads
        for place in sorted(asked):
            await backend.load(both.names[place])
            await both.ask(place)
        by_expert = one_place.loads - before

    switches = sum(one != two for one, two in zip([-1, *asked], asked, strict=False))
    assert (as_they_come, by_expert) == (switches, 2)


@needs_server
async def test_llama_server_tells_the_bytes_of_the_weights(router: Running, models: Path) -> None:
    async with managed(llamacpp.build(spec("llamacpp", router.url))) as backend:
        await backend.load("the-sql")
        (size,) = (await backend.resident()).values()

    file = (models / "sql.gguf").stat().st_size
    assert size is not None
    assert 0.9 * file < size <= file


@needs_server
async def test_llama_server_says_how_the_process_of_a_damaged_model_ended(router: Running) -> None:
    async with managed(llamacpp.build(spec("llamacpp", router.url, "damaged"))) as backend:
        with pytest.raises(ExpertLoadFailed, match="`the-damaged`: cannot load damaged: its proc"):
            await backend.load("the-damaged")


@needs_python
async def test_llama_server_with_one_model_keeps_it(models: Path, tmp_path: Path) -> None:
    if not SERVER:
        pytest.skip("LLAMA_SERVER is not set")
    port = free_port()
    command = [SERVER, "-m", str(models / "sql.gguf"), "--alias", "sql", "--port", str(port)]
    with serving([*command, "-t", "1"], tmp_path / "log", port, "health") as running:
        backend = llamacpp.build(spec("llamacpp", running.url))
        try:
            await backend.load("the-sql")
            with pytest.raises(ExpertLoadFailed, match="no such model"):
                await backend.load("the-json")
            assert (await backend.resident()).keys() == {"the-sql"}
        finally:
            await backend.aclose()
