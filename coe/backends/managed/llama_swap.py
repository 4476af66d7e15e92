"""llama-swap: a request for a model swaps; it can also be asked to unload one.

Source: the project's README (`/running`, `/upstream/:model`, `/api/models/unload/:model`). Which
models make room for one that is loaded is its own decision, by the groups of its configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from coe.backends.managed.base import PATIENT, ManagedBackend, check_options, rows
from coe.backends.openai import OPTIONS
from coe.protocols import BackendSpec, ExpertSite

_BAD_GATEWAY = 500


def build(spec: BackendSpec) -> LlamaSwapBackend:
    """llama-swap, which starts and stops the servers of models.

    Raises:
        ConfigError: no usable address, an unknown option, or a header that cannot be sent.
    """
    check_options(spec, OPTIONS)
    return LlamaSwapBackend(spec)


class LlamaSwapBackend(ManagedBackend):
    """See `coe.protocols.Residency`."""

    async def resident(self) -> Mapping[str, int | None]:
        """Return the models that are ready; sizes are not told."""
        running = rows(await self._get("running"), "running", self.name)
        ready = {row.get("model") for row in running if row.get("state") == "ready"}
        return {name: None for name, site in self._sites.items() if site.model in ready}

    async def _load(self, site: ExpertSite) -> None:
        path = f"upstream/{quote(site.model, safe='')}/health"
        response = await self._beside.get(path, PATIENT)
        try:
            # A server without /health says 404 once it runs; it is llama-swap that says 5xx.
            if response.status >= _BAD_GATEWAY:
                raise await self._rejected(response)
        finally:
            response.close()

    async def _unload(self, site: ExpertSite) -> None:
        await self._post(f"api/models/unload/{quote(site.model, safe='')}", {})
