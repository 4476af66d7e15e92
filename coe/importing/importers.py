"""The gateways whose files can be imported, and which of them a file comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from coe.importing import litellm, llama_swap, semantic_router, vllm_sr
from coe.importing.carried import Carried
from coe.importing.source import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Importer:
    """One of them.

    Attributes:
        title: its name for people.
        needs: what a file of it has, as the end of a sentence.
        recognises: whether a file's content looks like its own.
        carry: makes a composition of a file; raises CompositionError.
    """

    title: str
    needs: str
    recognises: Callable[[Any], bool]
    carry: Callable[[Source], Carried]


IMPORTERS: Mapping[str, Importer] = MappingProxyType(
    {
        "litellm": Importer(
            title="LiteLLM",
            needs="`model_list`",
            recognises=litellm.recognises,
            carry=litellm.carry,
        ),
        "llama-swap": Importer(
            title="llama-swap",
            needs="`models`, each with a `cmd`",
            recognises=llama_swap.recognises,
            carry=llama_swap.carry,
        ),
        "semantic-router": Importer(
            title="semantic-router",
            needs="`routes`, each with `utterances`",
            recognises=semantic_router.recognises,
            carry=semantic_router.carry,
        ),
        "vllm-sr": Importer(
            title="vLLM Semantic Router",
            needs="`vllm_endpoints` or `providers`",
            recognises=vllm_sr.recognises,
            carry=vllm_sr.carry,
        ),
    }
)


def carry(kind: str, source: Source) -> Carried:
    """Return what an importer makes of a file.

    Raises:
        CompositionError: the file is of another kind, or cannot be understood.
    """
    importer = IMPORTERS[kind]
    if not importer.recognises(source.content):
        message = f"this is no file of {importer.title}'s: it has no {importer.needs}"
        source.stop((), message, _guess(source))
    return importer.carry(source)


def _guess(source: Source) -> str:
    content = source.content
    if content is None:
        return "the file is empty"
    if isinstance(content, dict) and {"backends", "experts"} <= set(content):
        return "it is a composition already: `coe check` reads it"
    for name, other in IMPORTERS.items():
        if other.recognises(content):
            return f"it looks like one of {other.title}'s: `coe import {name}`"
    return f"known are files of {', '.join(one.title for one in IMPORTERS.values())}"
