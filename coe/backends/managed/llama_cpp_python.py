"""llama-cpp-python's server with several models: it holds one, and a request for another swaps.

Source: llama_cpp/server/model.py and app.py of 0.3. There is no address that loads, but counting
the tokens of nothing does; and none that says which model is loaded, so that is remembered here.
A name that it does not know is answered by its first model without a word, which `load` refuses.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from coe.backends.managed.base import ManagedBackend, check_options
from coe.backends.openai import OPTIONS
from coe.errors import BackendError, BackendRejected
from coe.protocols import BackendSpec, ExpertSite
from coe.types import Dispatch


def build(spec: BackendSpec) -> LlamaCppPythonBackend:
    """llama-cpp-python's server (llama_cpp.server), which holds one of several models.

    Raises:
        ConfigError: no usable address, an unknown option, or a header that cannot be sent.
    """
    check_options(spec, OPTIONS)
    return LlamaCppPythonBackend(spec)


class LlamaCppPythonBackend(ManagedBackend):
    """See `coe.protocols.Residency`. Unloading gives the only place away; a load then takes it."""

    def __init__(self, spec: BackendSpec) -> None:
        super().__init__(spec)
        self._held: str | None = None
        self._is_closed = False

    async def generate(self, dispatch: Dispatch) -> AsyncGenerator[bytes, None]:
        """See `Backend.generate`; a call swaps, as the server has it."""
        async with aclosing(super().generate(dispatch)) as items:
            async for item in items:
                self._held = dispatch.call.model
                yield item

    async def resident(self) -> Mapping[str, int | None]:
        """Return who was brought last through this backend; the server tells nothing."""
        if self._is_closed:
            raise BackendError(f"backend `{self.name}` is closed")
        return {name: None for name, site in self._sites.items() if site.model == self._held}

    async def aclose(self) -> None:
        """See `Backend.aclose`."""
        self._is_closed = True
        await super().aclose()

    async def _load(self, site: ExpertSite) -> None:
        others = {name for name in self._sites if self._at_work[name]} - self._leavers(site)
        if others:
            # The server would end their streams in the middle.
            raise BackendRejected(
                f"{', '.join(sorted(others))} is at work, and the server holds one model",
                backend_status=409,
            )
        known = [row.get("id") for row in await self._listed()]
        if site.model not in known:
            raise self._failed(site, "the server's configuration has no such model_alias")
        self._held = None  # the server lets go of the old one before it reads the new one
        await self._post("extras/tokenize/count", {"model": site.model, "input": ""})
        self._held = site.model

    async def _unload(self, site: ExpertSite) -> None:
        del site
        self._held = None
