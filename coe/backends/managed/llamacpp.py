"""llama.cpp's `llama-server` in router mode: models are loaded and unloaded by name.

Source: the server's README, "Using multiple models". A load and an unload only begin with the
request; the list of models says how they go on. A server that was started with one model holds it
as long as it runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coe.backends.managed.base import ManagedBackend, check_options, rows
from coe.backends.openai import OPTIONS
from coe.errors import BackendRejected
from coe.protocols import BackendSpec, ExpertSite

_COMING = {"loading", "downloading", "downloaded"}


def build(spec: BackendSpec) -> LlamacppBackend:
    """llama.cpp's llama-server, which loads and unloads models where it is a router.

    Raises:
        ConfigError: no usable address, an unknown option, or a header that cannot be sent.
    """
    check_options(spec, OPTIONS)
    return LlamacppBackend(spec)


class LlamacppBackend(ManagedBackend):
    """See `coe.protocols.Residency`."""

    async def resident(self) -> Mapping[str, int | None]:
        """Return the bytes of the weights, without caches; None where the server does not tell."""
        listed = await self._models()
        held = {name: _row(listed, site.model) for name, site in self._sites.items()}
        return {name: _size(row) for name, row in held.items() if _state(row) == "loaded"}

    async def _load(self, site: ExpertSite) -> None:
        row = _row(await self._models(), site.model)
        if row is None:
            raise self._failed(site, "the server has no such model")
        if _state(row) == "sleeping":  # its process is there and its weights are not
            await self._unload(site)
        if _state(row) not in _COMING:
            await self._post("models/load", {"model": site.model})
        await self._until(lambda: self._is_through(site))
        row = _row(await self._models(), site.model)
        if _state(row) != "loaded":
            status = (row or {}).get("status") or {}
            raise self._failed(
                site,
                f"its process ended with {status.get('exit_code')}"
                if status.get("failed")
                else "the server unloaded it again; see its --models-max",
            )

    async def _unload(self, site: ExpertSite) -> None:
        row = _row(await self._models(), site.model)
        if row is not None and "status" not in row:
            raise BackendRejected(
                f"expert `{site.expert}` is not unloaded: backend `{self.name}` was started with"
                " one model; start it without -m, with --models-dir or --models-preset",
                backend_status=409,
            )
        await self._post("models/unload", {"model": site.model})
        await self._until(lambda: self._is_stopped(site))

    async def _is_through(self, site: ExpertSite) -> bool:
        return _state(_row(await self._models(), site.model)) not in _COMING

    async def _is_stopped(self, site: ExpertSite) -> bool:
        return _state(_row(await self._models(), site.model)) == "unloaded"

    async def _models(self) -> list[dict[str, Any]]:
        return rows(await self._get("models"), "data", self.name)


def _row(listed: list[dict[str, Any]], model: str) -> dict[str, Any] | None:
    for row in listed:
        if model in (row.get("id"), *(row.get("aliases") or ())):
            return row
    return None


def _state(row: dict[str, Any] | None) -> str:
    """Return `unloaded`, `loading`, `loaded`, `sleeping`, or what later versions may say."""
    if row is None:
        return "unloaded"
    status = row.get("status")
    # A server with one model lists it without a status.
    return str(status.get("value")) if isinstance(status, dict) else "loaded"


def _size(row: dict[str, Any] | None) -> int | None:
    meta = (row or {}).get("meta")
    size = meta.get("size") if isinstance(meta, dict) else None
    return size if isinstance(size, int) and size > 0 else None
