"""vLLM: adapters are loaded and unloaded by name; a whole server is sent to sleep and woken.

Sources: docs.vllm.ai/en/latest/features/lora and features/sleep_mode. Adapters need
`--enable-lora` and VLLM_ALLOW_RUNTIME_LORA_UPDATING; sleep needs `--enable-sleep-mode` and
VLLM_SERVER_DEV_MODE, on a network that is trusted.

Sleep has two levels. At level 1 the weights are in host memory: the base is parked. At level 2 they
are gone, and a server that is woken answers nonsense until it was told to read them again; that
fails where it was started with `--enable-lora` (github.com/vllm-project/vllm/issues/39934). So a
base under adapters sleeps at level 1 whatever is asked for.
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
    """See `coe.protocols.Residency` and `coe.protocols.Parking`: the base model leaves by sleep."""

    LOAD = "v1/load_lora_adapter"
    UNLOAD = "v1/unload_lora_adapter"
    ALLOWED_BY = "--enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1"

    def __init__(self, spec: BackendSpec) -> None:
        super().__init__(spec)
        # Of its sleep; None where somebody else put it to sleep: the server does not tell.
        self._level: int | None = None

    async def park(self, expert: str) -> None:
        """See `coe.protocols.Parking`; of adapters vLLM keeps copies by a rule of its own.

        Raises:
            BackendError: it is an adapter, a call is in flight, or the server does not sleep.
        """
        site = self._site(expert)
        if site.adapter is not None:
            raise BackendRejected(
                f"expert `{expert}` is not parked: backend `{self.name}` keeps adapters in host"
                " memory by a rule of its own (--max-cpu-loras)",
                backend_status=409,
            )
        async with self._change(site):
            if expert in await self.resident():
                self._check_idle(site)
                await self._sleep(site, level=1)
                await self._until(self._is_asleep)

    async def parked(self) -> Mapping[str, int | None]:
        """Return the experts that are the base where it sleeps at level 1; no sizes."""
        bases = (name for name, site in self._sites.items() if site.adapter is None)
        return dict.fromkeys(bases) if await self._is_asleep() and self._level == 1 else {}

    async def unload(self, expert: str) -> None:
        """See `coe.protocols.Residency`.

        From host memory there is no way to nowhere but through the accelerator: it is woken for
        that. A base under adapters stays in host memory.
        """
        site = self._site(expert)
        async with self._change(site):
            if expert in await self.parked() and not self._has_adapters:
                await self._wake()
        await super().unload(expert)

    async def resident(self) -> Mapping[str, int | None]:
        """Return the experts that the server lists, none while it sleeps; no sizes."""
        return {} if await self._is_asleep() else await super().resident()

    async def _load(self, site: ExpertSite) -> None:
        if await self._is_asleep():
            await self._wake()
            if site.expert in await self.resident():  # adapters wake with their base
                return
        await super()._load(site)

    async def _unload_base(self, site: ExpertSite) -> None:
        await self._sleep(site, level=1 if self._has_adapters else 2)

    @property
    def _has_adapters(self) -> bool:
        return any(site.adapter is not None for site in self._sites.values())

    async def _wake(self) -> None:
        """Wake it, with weights: they are read again unless host memory has them, or must have."""
        if self._level == 1 or (self._level is None and self._has_adapters):
            await self._post("wake_up", {})
        else:
            await self._post("wake_up?tags=weights", {})
            await self._post("collective_rpc", {"method": "reload_weights"})
            await self._post("wake_up?tags=kv_cache", {})
        await self._until(self._is_awake)
        self._level = None

    async def _sleep(self, site: ExpertSite, *, level: int) -> None:
        self._level = level  # before: it may fall asleep and not be able to say so
        try:
            await self._post(f"sleep?level={level}", {})
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
