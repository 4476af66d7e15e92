"""SGLang: adapters are loaded and unloaded by name; the base model stays.

Source: docs.sglang.io, "LoRA serving", and the server's list of models, which has the adapters.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from coe.backends.managed.base import check_options
from coe.backends.managed.vllm import OPTIONS, AdapterServer
from coe.protocols import BackendSpec
from coe.types import Dispatch


def build(spec: BackendSpec) -> SglangBackend:
    """SGLang, which loads and unloads adapters.

    Raises:
        ConfigError: no usable address, an unknown option, or a header that cannot be sent.
    """
    check_options(spec, OPTIONS)
    return SglangBackend(spec)


class SglangBackend(AdapterServer):
    """See `coe.protocols.Residency`."""

    LOAD = "load_lora_adapter"
    UNLOAD = "unload_lora_adapter"
    ALLOWED_BY = "--enable-lora"

    async def generate(self, dispatch: Dispatch) -> AsyncGenerator[bytes, None]:
        """See `Backend.generate`; an adapter is named beside the model, not in its place."""
        call = dispatch.call
        if call.adapter is not None:
            body = {**call.body, "lora_path": call.adapter}
            dispatch = replace(dispatch, call=replace(call, body=body, adapter=None))
        async with aclosing(super().generate(dispatch)) as items:
            async for item in items:
                yield item
