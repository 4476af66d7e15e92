"""The gateway and the embedded engine as one Ray Serve application. See ../README.md.

    serve run coe_on_ray:application config=/etc/coe/experts.yaml gateways=2

Every gateway is the whole of `coe serve` but for its listener, which is Serve's proxy. Backends of
type `ray` in the composition become deployments of their own, which hold the experts.
"""

# Serve reads the builder's annotation as it stands: it must not become text.
import asyncio
import logging
import os
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

# Before Ray is imported, and for every process that it starts: it reports to its makers otherwise.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

from pydantic import BaseModel, ConfigDict, Field
from ray import serve

from coe.api.app import App
from coe.backends import local
from coe.backends.ray import Failure, deployment_of, failure_of
from coe.cli.serve import read_settings
from coe.composition import load
from coe.errors import BackendError, CoEError, ConfigError, ExpertLoadFailed
from coe.premises import premises_of
from coe.protocols import BackendSpec, ExpertSite
from coe.telemetry import Telemetry, logs
from coe.types import Call, Dispatch
from coe.wiring import backend_spec, wire

TYPE = "ray"

logger = logging.getLogger("ray.serve")


class Wanted(BaseModel):
    """What the application is built with: `NAME=VALUE` after `serve run`, or `args` in a file.

    `gateway` and `engine` are Serve's own options of the two kinds of deployment, such as
    `ray_actor_options` or `autoscaling_config`.
    """

    model_config = ConfigDict(extra="forbid")

    config: Path = Path("experts.yaml")
    gateways: int = Field(default=1, ge=1)
    engines: int = Field(default=1, ge=1, description="of each backend of type `ray`")
    held: int = Field(default=4, ge=1, description="experts in the memory of one engine")
    gateway: dict[str, Any] = {}
    engine: dict[str, Any] = {}


def application(wanted: Wanted) -> serve.Application:
    """Return the application: some gateways, and engines for each backend that is on Ray.

    Raises:
        ConfigError: the composition cannot be used, or settings that mean something else here.
    """
    settings = read_settings(wanted.config, None, None)
    if settings.admin == "loopback":
        raise ConfigError(
            "COE_ADMIN=loopback: behind Serve's proxy everybody comes from this machine; leave it"
            " `off`"
        )
    composition = load(wanted.config)
    engines = []
    for name, entry in composition.backends.items():
        if entry.type == TYPE:
            deployment = serve.deployment(Engine, name=deployment_of(name))
            deployment = deployment.options(
                **{"num_replicas": wanted.engines, "max_ongoing_requests": 64, **wanted.engine}
            )
            engines.append(deployment.bind(backend_spec(composition, name), wanted.held))
    gateway = serve.deployment(serve.ingress()(Gateway), name="gateway")
    gateway = gateway.options(
        **{"num_replicas": wanted.gateways, "max_ongoing_requests": 1024, **wanted.gateway}
    )
    return gateway.bind(wanted.config, engines)


class Gateway:
    """One gateway: the composition and the settings as `coe serve` reads them."""

    def __init__(self, config: Path, engines: list[Any]) -> None:
        """Args are the composition file, and the engines, which are found by their names."""
        del engines
        self._config = config

    async def __serve_build_asgi_app__(self) -> App:
        """Return what Serve's proxy sends requests to."""
        settings = read_settings(self._config, None, None)
        logs.configure(settings.log_level, settings.log_format, sys.stderr)
        telemetry = Telemetry(
            log_requests=settings.log_level in {"debug", "info"},
            defer=asyncio.get_running_loop().call_later,
            log_form=settings.log_format,
        )
        premises = premises_of(settings)
        gateway = wire(load(settings.config), settings, telemetry, premises=premises)
        for note in gateway.notes:
            logger.warning(note)
        # Where Serve's proxy listens is not known here: anybody may reach it.
        return App(gateway, settings, reach="unguarded" if settings.unsafe_open else "network")


class Held:
    """An expert in an engine's memory, and how many calls are on it."""

    def __init__(self, expert: str) -> None:
        self.expert = expert
        self.left = asyncio.Event()
        self.left.set()
        self._calls = 0

    @contextmanager
    def called(self) -> Iterator[None]:
        """Keep it in memory."""
        self._calls += 1
        self.left.clear()
        try:
            yield
        finally:
            self._calls -= 1
            if not self._calls:
                self.left.set()


class Engine:
    """The embedded engine. Serve sends a call to a replica that holds its expert, if one does."""

    def __init__(self, spec: BackendSpec, held: int) -> None:
        """Args are the backend's entry, and how many experts may be in memory."""
        self._backend = local.build(replace(spec, type="local", experts=()))
        self._sites: dict[str, ExpertSite] = {}

        async def held_expert(expert: str) -> Held:
            return await self._bring(expert)

        self._held = serve.multiplexed(max_num_models_per_replica=held)(held_expert)

    async def answer(
        self, site: ExpertSite, call: Call, query_id: str
    ) -> AsyncGenerator[bytes | Failure, None]:
        """Yield what `LocalBackend.generate` yields; at the end what it raised, if it did."""
        try:
            self._learn(site)
            held = await self._held(site.expert)
            # Nothing is awaited in between: it cannot leave before it is counted.
            with held.called():
                frames = self._backend.generate(Dispatch(query_id=query_id, call=call))
                async with aclosing(frames):
                    async for frame in frames:
                        yield frame
        except CoEError as error:
            yield failure_of(error)

    async def resident(self) -> tuple[str, ...]:
        """Return the experts in memory, which also says that there is an engine."""
        return tuple(await self._backend.resident())

    def _learn(self, site: ExpertSite) -> None:
        """Take note of an expert, which a gateway may have learnt of after this engine began."""
        if self._sites.get(site.expert) == site:
            return
        if not self._backend.serve((site,)):
            raise ExpertLoadFailed(
                f"expert {site.expert!r} has other weights than when the engine began;"
                " deploy the application again"
            )
        self._sites[site.expert] = site

    async def _bring(self, expert: str) -> Held:
        await self._backend.load(expert)
        held = Held(expert)

        async def leave() -> None:
            # Others wait meanwhile to come in: there are never more than may be held.
            await held.left.wait()
            try:
                await self._backend.unload(expert)
            except BackendError as error:
                logger.warning("%s stays in memory: %s", expert, error.message)

        # Serve calls the attribute; as one of the instance, the garbage collector does not.
        held.__del__ = leave  # type: ignore[attr-defined]
        return held
