"""Ollama: a request without a prompt loads a model, and one with `keep_alive: 0` unloads it.

Source: docs.ollama.com/api (generate, ps).
"""

from __future__ import annotations

from collections.abc import Mapping

from coe.backends.managed.base import ManagedBackend, check_options, rows
from coe.backends.openai import OPTIONS
from coe.backends.told import is_listed
from coe.protocols import BackendSpec, ExpertSite

_FOR_EVER = -1


def build(spec: BackendSpec) -> OllamaBackend:
    """Ollama, which loads and unloads whole models.

    Raises:
        ConfigError: no usable address, an unknown option, or a header that cannot be sent.
    """
    check_options(spec, OPTIONS)
    return OllamaBackend(spec)


class OllamaBackend(ManagedBackend):
    """See `coe.protocols.Residency`."""

    async def resident(self) -> Mapping[str, int | None]:
        """Return the bytes on the accelerator; all of them where the model runs on the processor.

        Ollama makes room by itself where a model does not fit, so others may be gone after a load.
        """
        running = rows(await self._get("api/ps"), "models", self.name)
        sizes = {
            str(row.get("model") or row.get("name")): row.get("size_vram") or row.get("size")
            for row in running
        }
        return {
            name: next((_whole(sizes[key]) for key in sizes if is_listed(site.model, (key,))), None)
            for name, site in self._sites.items()
            if is_listed(site.model, tuple(sizes))
        }

    async def _load(self, site: ExpertSite) -> None:
        # The expiry that is set here holds until another request sets one; ours do not.
        await self._ask_for(site, keep_alive=_FOR_EVER)

    async def _unload(self, site: ExpertSite) -> None:
        await self._ask_for(site, keep_alive=0)

    async def _ask_for(self, site: ExpertSite, *, keep_alive: int) -> None:
        body = {"model": site.model, "keep_alive": keep_alive, "stream": False}
        await self._post("api/generate", body)


def _whole(size: object) -> int | None:
    return size if isinstance(size, int) and size > 0 else None
