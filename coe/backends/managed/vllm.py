"""vLLM: adapters are loaded and unloaded by name; a whole server is sent to sleep and woken.

Sources: docs.vllm.ai/en/latest/features/lora and features/sleep_mode. Adapters need
`--enable-lora` and VLLM_ALLOW_RUNTIME_LORA_UPDATING; sleep needs `--enable-sleep-mode` and
VLLM_SERVER_DEV_MODE, on a network that is trusted.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from coe.backends.managed.base import ManagedBackend, check_options, lacks_route
from coe.backends.openai import OPTIONS as _COMMON
from coe.errors import BackendProtocolError, BackendRejected
from coe.protocols import BackendSpec, ExpertSite

ADAPTER_FOLDER = "adapter_folder"
OPTIONS = _COMMON | {ADAPTER_FOLDER}


def build(spec: BackendSpec) -> VllmBackend:
    """VLLM, which loads and unloads adapters, and sleeps with its base model.

    Raises:
        ConfigError: no usable address, an unknown option, or a header that cannot be sent.
    """
    check_options(spec, OPTIONS)
    return VllmBackend(spec)


class AdapterServer(ManagedBackend):
    """A server of one base model that is told which adapters to hold.

    Attributes:
        LOAD: the path that loads an adapter.
        UNLOAD: the path that unloads one.
        ALLOWED_BY: what the server has to be started with, for who forgot it.
    """

    LOAD: str
    UNLOAD: str
    ALLOWED_BY: str

    def __init__(self, spec: BackendSpec) -> None:
        super().__init__(spec)
        self._folder = str(spec.options.get(ADAPTER_FOLDER, "")).rstrip("/")

    async def resident(self) -> Mapping[str, int | None]:
        """Return the experts that the server lists; it does not tell sizes."""
        listed = {row.get("id") for row in await self._listed()}
        return {
            name: None
            for name, site in self._sites.items()
            if (site.adapter or site.model) in listed
        }

    async def _load(self, site: ExpertSite) -> None:
        if site.adapter is None:
            await self._load_base(site)
            return
        path = f"{self._folder}/{site.adapter}" if self._folder else site.adapter
        await self._change_adapter(self.LOAD, {"lora_name": site.adapter, "lora_path": path})

    async def _unload(self, site: ExpertSite) -> None:
        if site.adapter is None:
            await self._unload_base(site)
            return
        await self._change_adapter(self.UNLOAD, {"lora_name": site.adapter})

    async def _load_base(self, site: ExpertSite) -> None:
        listed = ", ".join(str(row.get("id")) for row in await self._listed())
        raise self._failed(site, f"this server holds {listed} and loads no other model")

    async def _unload_base(self, site: ExpertSite) -> None:
        raise BackendRejected(
            f"expert `{site.expert}` is not unloaded: backend `{self.name}` holds its base model"
            " as long as it runs",
            backend_status=409,
        )

    async def _change_adapter(self, path: str, body: Mapping[str, str]) -> None:
        try:
            await self._post(path, body)
        except BackendRejected as error:
            if lacks_route(error):
                raise BackendRejected(
                    f"backend `{self.name}` has no /{path}: start it with {self.ALLOWED_BY}",
                    backend_status=error.backend_status,
                ) from error
            raise


class VllmBackend(AdapterServer):
    """See `coe.protocols.Residency`. The base model leaves by sleep, level 1: to host memory."""

    LOAD = "v1/load_lora_adapter"
    UNLOAD = "v1/unload_lora_adapter"
    ALLOWED_BY = "--enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1"

    async def resident(self) -> Mapping[str, int | None]:
        """Return the experts that the server lists, none while it sleeps; no sizes."""
        return {} if await self._is_asleep() else await super().resident()

    async def _load(self, site: ExpertSite) -> None:
        if await self._is_asleep():
            await self._post("wake_up", {})
            await self._until(self._is_awake)
            if site.expert in await self.resident():  # adapters wake with their base
                return
        await super()._load(site)

    async def _unload_base(self, site: ExpertSite) -> None:
        try:
            await self._post("sleep?level=1", {})
        except BackendRejected as error:
            if lacks_route(error):
                raise BackendRejected(
                    f"expert `{site.expert}` is not unloaded: backend `{self.name}` has no /sleep:"
                    " start it with --enable-sleep-mode and VLLM_SERVER_DEV_MODE=1, on a network"
                    " that is trusted",
                    backend_status=409,
                ) from error
            raise

    def _leavers(self, site: ExpertSite) -> set[str]:
        return super()._leavers(site) if site.adapter else set(self._sites)

    async def _is_awake(self) -> bool:
        return not await self._is_asleep()

    async def _is_asleep(self) -> bool:
        try:
            answer = await self._get("is_sleeping")
        except BackendRejected as error:
            if lacks_route(error):
                return False  # a server that cannot sleep
            raise
        asleep = answer.get("is_sleeping") if isinstance(answer, dict) else None
        if not isinstance(asleep, bool):
            raise BackendProtocolError(
                f"backend `{self.name}`: GET /is_sleeping answered {orjson.dumps(answer)[:80]!r}"
            )
        return asleep
