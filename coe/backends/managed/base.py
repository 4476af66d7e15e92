"""What all managed servers share: names, one change of an expert at a time, honest errors."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import orjson

from coe.backends.http import Client, client
from coe.backends.openai import OpenAIBackend
from coe.errors import BackendProtocolError, BackendRejected, ConfigError, ExpertLoadFailed
from coe.protocols import BackendSpec, ExpertSite
from coe.types import Dispatch, Timeouts

ASK = Timeouts(connect_s=5.0, total_s=30.0)
# A large model may be read for many minutes; whoever asks sets the bound that matters.
PATIENT = Timeouts(connect_s=5.0, total_s=24 * 3600.0)
_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 1.0
_OK = 200
_NO_ROUTE = 404


class ManagedBackend(OpenAIBackend):
    """See `coe.protocols.Residency`; a server's own class says how it is asked."""

    def __init__(self, spec: BackendSpec) -> None:
        super().__init__(spec, client(spec))
        self._beside: Client = client(replace(spec, url=_beside(spec.url or "")))
        self._sites = {site.expert: site for site in spec.experts}
        self._at_work: Counter[str] = Counter()
        self._changes: dict[str, asyncio.Lock] = {}

    async def generate(self, dispatch: Dispatch) -> AsyncGenerator[bytes, None]:
        """See `Backend.generate`."""
        expert = dispatch.call.expert
        self._at_work[expert] += 1
        try:
            async with aclosing(super().generate(dispatch)) as items:
                async for item in items:
                    yield item
        finally:
            self._at_work[expert] -= 1

    async def load(self, expert: str) -> None:
        """See `coe.protocols.Residency`."""
        site = self._site(expert)
        async with self._change(site):
            if expert in await self.resident():
                return
            try:
                await self._load(site)
            except BackendRejected as error:
                raise self._failed(site, error.message) from error
            if expert not in await self.resident():
                raise self._failed(site, "the server said yes, and does not hold it")

    async def unload(self, expert: str) -> None:
        """See `coe.protocols.Residency`; calls of others than this gateway are not known."""
        site = self._site(expert)
        async with self._change(site):
            if expert not in await self.resident():
                return
            self._check_idle(site)
            await self._unload(site)
            await self._until(lambda: self._is_gone(expert))

    @abstractmethod
    async def resident(self) -> Mapping[str, int | None]:
        """See `coe.protocols.Residency`."""

    def serve(self, experts: tuple[ExpertSite, ...]) -> bool:
        """See `Backend`; an expert that is left out is not managed any more."""
        self._sites = {site.expert: site for site in experts}
        return True

    async def aclose(self) -> None:
        """See `Backend.aclose`."""
        await super().aclose()
        await self._beside.aclose()

    @abstractmethod
    async def _load(self, site: ExpertSite) -> None:
        """Have the server load it; it is not loaded. May raise BackendRejected."""

    @abstractmethod
    async def _unload(self, site: ExpertSite) -> None:
        """Have the server unload it; it is loaded and idle. It may take a while to be gone."""

    def _check_idle(self, site: ExpertSite) -> None:
        """Raise BackendRejected where an unload would take away what calls are on."""
        if working := sorted(name for name in self._leavers(site) if self._at_work[name]):
            raise BackendRejected(
                f"expert `{site.expert}` is not unloaded: {', '.join(working)} is at work",
                backend_status=409,
            )

    def _leavers(self, site: ExpertSite) -> set[str]:
        """Return the experts that an unload takes out of memory: those of the same model."""
        return {
            name
            for name, other in self._sites.items()
            if (other.model, other.adapter) == (site.model, site.adapter)
        }

    async def _get(self, path: str) -> Any:
        """Return the JSON that is at a path beside the OpenAI API.

        Raises:
            BackendError: it does not answer, or with something else.
        """
        response = await self._beside.get(path, ASK)
        try:
            if response.status != _OK:
                raise await self._rejected(response)
            return orjson.loads(await response.read())
        except orjson.JSONDecodeError as error:
            raise BackendProtocolError(
                f"backend `{self.name}`: GET /{path} did not return JSON"
            ) from error
        finally:
            response.close()

    async def _post(self, path: str, body: object) -> bytes:
        """Send JSON to a path beside the OpenAI API; return the answer's body.

        Raises:
            BackendError: it does not answer, or refuses.
        """
        response = await self._beside.post(path, orjson.dumps(body), PATIENT, streamed=False)
        try:
            if response.status != _OK:
                raise await self._rejected(response)
            return await response.read()
        finally:
            response.close()

    async def _listed(self) -> list[dict[str, Any]]:
        """Return the rows of the OpenAI API's list of models."""
        return rows(await self._get("v1/models"), "data", self.name)

    async def _until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        """Ask again and again, with growing pauses, until it holds."""
        pause_s = _FIRST_PAUSE_S
        while not await holds():
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _is_gone(self, expert: str) -> bool:
        return expert not in await self.resident()

    def _change(self, site: ExpertSite) -> asyncio.Lock:
        """Return the lock under which an expert's weights are loaded or unloaded."""
        return self._changes.setdefault(site.adapter or site.model, asyncio.Lock())

    def _site(self, expert: str) -> ExpertSite:
        if expert not in self._sites:
            raise BackendRejected(
                f"backend `{self.name}` has no expert `{expert}`", backend_status=404
            )
        return self._sites[expert]

    def _failed(self, site: ExpertSite, reason: str) -> ExpertLoadFailed:
        what = site.adapter or site.model
        return ExpertLoadFailed(f"expert `{site.expert}`: cannot load {what}: {reason}")


def check_options(spec: BackendSpec, known: frozenset[str]) -> None:
    """Check the keys of a backend.

    Raises:
        ConfigError: an unknown one.
    """
    if unknown := sorted(set(spec.options) - known):
        raise ConfigError(
            f"backends.{spec.name}: unknown key `{unknown[0]}` for type `{spec.type}`;"
            f" known: {', '.join(sorted(known))}"
        )


def rows(answer: Any, key: str, backend: str) -> list[dict[str, Any]]:
    """Return the objects that an answer lists under a key.

    Raises:
        BackendProtocolError: there is no such list.
    """
    listed = answer.get(key) if isinstance(answer, dict) else None
    if not isinstance(listed, list):
        raise BackendProtocolError(f"backend `{backend}`: the answer has no list `{key}`")
    return [row for row in listed if isinstance(row, dict)]


def lacks_route(error: BackendRejected) -> bool:
    """Whether a server has no such address, as FastAPI says it, and not no such model."""
    return error.backend_status == _NO_ROUTE and error.message.endswith(": Not Found")


def _beside(url: str) -> str:
    """Return the address at which the OpenAI API is a folder."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/").removesuffix("/v1")
    return f"{parts.scheme}://{parts.netloc}{path}"
