"""What a server tells of a model besides its answers: how much fits, and what it takes in memory.

Nothing of OpenAI's API says so; some servers have an address of their own for it. Where nobody
answers there, nothing is told.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import orjson

from coe.backends.http import Client, client
from coe.errors import BackendError, ConfigError
from coe.protocols import BackendSpec
from coe.types import Timeouts

_SOON = Timeouts(connect_s=3.0, total_s=5.0)
_OK = 200
_BELOW = "/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What was told; None where it was not.

    Attributes:
        context: tokens of prompt and answer together, as the server runs the model.
        memory: bytes that the model takes now; None also where it is not loaded.
        by: the address that said so.
    """

    context: int | None = None
    memory: int | None = None
    by: str = ""


async def told(spec: BackendSpec, model: str) -> Told:
    """Ask a server what it knows of a model: vLLM, llama.cpp and Ollama say something."""
    if spec.url is None:
        return Told()
    found = Told()
    for path, read in (("v1/models", _vllm), ("props", _llamacpp), ("api/ps", _ollama)):
        here = read(await _get(spec, path), model)
        if here is not None:
            found = replace(
                found,
                context=found.context or here.context,
                memory=found.memory or here.memory,
                by=found.by or f"/{path}",
            )
    return found


def is_listed(model: str, names: tuple[str, ...]) -> bool:
    """Whether a model is among those that a server lists; Ollama's `latest` need not be said."""
    return model in names or f"{model}:latest" in names


async def _get(spec: BackendSpec, path: str) -> Any:
    """Return the JSON at a path beside the OpenAI API; None where there is none."""
    parts = urlsplit(spec.url or "")
    base = parts.path.rstrip("/").removesuffix(_BELOW)
    root = f"{parts.scheme}://{parts.netloc}{base}"
    try:
        asked: Client = client(replace(spec, url=root))
    except ConfigError:
        return None
    try:
        response = await asked.get(path, _SOON)
        try:
            return orjson.loads(await response.read()) if response.status == _OK else None
        finally:
            response.close()
    except (BackendError, orjson.JSONDecodeError):
        return None
    finally:
        await asked.aclose()


def _vllm(answer: Any, model: str) -> Told | None:
    for row in _rows(answer, "data"):
        context = row.get("max_model_len")
        if row.get("id") == model and isinstance(context, int):
            return Told(context=context)
    return None


def _llamacpp(answer: Any, model: str) -> Told | None:
    del model  # it serves one
    settings = answer.get("default_generation_settings") if isinstance(answer, dict) else None
    context = settings.get("n_ctx") if isinstance(settings, dict) else None
    return Told(context=context) if isinstance(context, int) and context > 0 else None


def _ollama(answer: Any, model: str) -> Told | None:
    for row in _rows(answer, "models"):
        if is_listed(model, (str(row.get("name")),)):
            size, context = row.get("size"), row.get("context_length")
            return Told(
                memory=size if isinstance(size, int) else None,
                context=context if isinstance(context, int) else None,
            )
    return None


def _rows(answer: Any, key: str) -> list[dict[str, Any]]:
    rows = answer.get(key) if isinstance(answer, dict) else None
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
