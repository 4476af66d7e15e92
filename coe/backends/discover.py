"""What can run experts here: model servers on this machine, and services with a key."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coe.backends.found import Found
from coe.backends.starter import write_composition

if TYPE_CHECKING:
    from aiohttp import ClientSession

__all__ = ["SITES", "Found", "Site", "discover", "write_composition"]

MAX_BYTES = 4_000_000

Probe = Callable[["ClientSession", str], Awaitable[Found | None]]


@dataclass(frozen=True, slots=True)
class Site:
    """An address to look at, and what may be there, the surest sign first."""

    url: str
    probes: tuple[Probe, ...]


@dataclass(frozen=True, slots=True)
class _Service:
    name: str
    keys: tuple[str, ...]
    url: str
    model: str


_SERVICES = (
    _Service("openai", ("OPENAI_API_KEY",), "https://api.openai.com/v1", "gpt-4o-mini"),
    _Service(
        "anthropic", ("ANTHROPIC_API_KEY",), "https://api.anthropic.com/v1", "claude-sonnet-4-5"
    ),
    _Service("mistral", ("MISTRAL_API_KEY",), "https://api.mistral.ai/v1", "mistral-small-latest"),
    _Service("groq", ("GROQ_API_KEY",), "https://api.groq.com/openai/v1", "llama-3.1-8b-instant"),
    _Service(
        "openrouter",
        ("OPENROUTER_API_KEY",),
        "https://openrouter.ai/api/v1",
        "meta-llama/llama-3.1-8b-instruct",
    ),
    _Service(
        "gemini",
        ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        "https://generativelanguage.googleapis.com/v1beta/openai",
        "gemini-2.5-flash",
    ),
    _Service("deepseek", ("DEEPSEEK_API_KEY",), "https://api.deepseek.com/v1", "deepseek-chat"),
    _Service(
        "together",
        ("TOGETHER_API_KEY",),
        "https://api.together.xyz/v1",
        "meta-llama/Llama-3.3-70B-Instruct-Turbo",
    ),
    _Service("xai", ("XAI_API_KEY",), "https://api.x.ai/v1", "grok-3-mini"),
    _Service("cerebras", ("CEREBRAS_API_KEY",), "https://api.cerebras.ai/v1", "llama3.1-8b"),
)


async def discover(
    env: Mapping[str, str], sites: Sequence[Site] | None = None, *, limit_s: float = 1.5
) -> list[Found]:
    """Return the servers that answer at the usual local ports, then the services with a key.

    Nothing is sent anywhere but to the sites, and no key is used.

    Args:
        env: where keys are looked for; `OLLAMA_HOST` names one more place for Ollama.
        sites: where servers are looked for; the usual ports on this machine if None.
        limit_s: seconds that one site may take.
    """
    import aiohttp

    places = [*_ollama_host(env), *(SITES if sites is None else sites)]
    unique = {site.url: site for site in reversed(places)}
    timeout = aiohttp.ClientTimeout(total=limit_s)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        rows = await asyncio.gather(
            *(_look(session, unique[url], limit_s) for url in reversed(unique))
        )
    return [row for row in rows if row is not None] + _services(env)


async def ollama(session: ClientSession, url: str) -> Found | None:
    """Recognise Ollama by its list of tags."""
    tags = await _json(session, f"{url}/api/tags")
    if not isinstance(tags, dict) or not isinstance(tags.get("models"), list):
        return None
    return Found(name="ollama", type="ollama", url=url, models=_texts(tags["models"], "name"))


async def llama_swap(session: ClientSession, url: str) -> Found | None:
    """Recognise llama-swap by its list of running models."""
    running = await _json(session, f"{url}/running")
    if not isinstance(running, dict) or not isinstance(running.get("running"), list):
        return None
    models, _ = await _models(session, url)
    return Found(name="llama-swap", type="llama_swap", url=url, models=models or ())


async def llamacpp(session: ClientSession, url: str) -> Found | None:
    """Recognise the server of llama.cpp by its properties."""
    props = await _json(session, f"{url}/props")
    if not isinstance(props, dict) or "default_generation_settings" not in props:
        return None
    models, _ = await _models(session, url)
    return Found(name="llamacpp", type="llamacpp", url=url, models=models or ())


async def openai_compatible(session: ClientSession, url: str) -> Found | None:
    """Recognise any OpenAI-compatible server by its list of models, vLLM by the owner it names."""
    models, owners = await _models(session, url)
    if models is None:
        return None
    for owner in ("vllm", "llamacpp"):
        if owner in owners:
            return Found(name=owner, type=owner, url=url, models=models)
    return Found(name="server", type="openai", url=url, models=models)


async def lm_studio(session: ClientSession, url: str) -> Found | None:
    """Recognise LM Studio by its port and its list of models."""
    models, _ = await _models(session, url)
    return (
        None if models is None else Found(name="lm-studio", type="openai", url=url, models=models)
    )


SITES = (
    Site("http://127.0.0.1:11434", (ollama,)),
    Site("http://127.0.0.1:8000", (openai_compatible,)),
    Site("http://127.0.0.1:8080", (llama_swap, llamacpp, openai_compatible)),
    Site("http://127.0.0.1:1234", (lm_studio,)),
)


async def _look(session: ClientSession, site: Site, limit_s: float) -> Found | None:
    """Return what is at a site; None where nothing answers in time."""
    try:
        async with asyncio.timeout(limit_s):
            for probe in site.probes:
                if (found := await probe(session, site.url)) is not None:
                    return found
    except TimeoutError:
        pass
    return None


async def _models(
    session: ClientSession, url: str
) -> tuple[tuple[str, ...] | None, frozenset[str]]:
    """Return (model names, their owners); (None, ()) where there is no such list."""
    listing = await _json(session, f"{url}/v1/models")
    if not isinstance(listing, dict) or not isinstance(listing.get("data"), list):
        return None, frozenset()
    owners = frozenset(_texts(listing["data"], "owned_by"))
    return _texts(listing["data"], "id"), owners


async def _json(session: ClientSession, url: str) -> Any:
    """Return the JSON at an address; None where there is none that can be read."""
    import aiohttp

    try:
        async with session.get(url, allow_redirects=False) as response:
            if response.status != 200:  # noqa: PLR2004 - HTTP's own number
                return None
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > MAX_BYTES:
                    return None
            return json.loads(body)
    except (aiohttp.ClientError, OSError, ValueError, RecursionError):
        return None


def _texts(rows: list[Any], key: str) -> tuple[str, ...]:
    """Return the texts under a key of rows of a stranger's JSON, each once."""
    values = (row.get(key) for row in rows if isinstance(row, dict))
    return tuple(dict.fromkeys(value for value in values if isinstance(value, str) and value))


def _services(env: Mapping[str, str]) -> list[Found]:
    rows = []
    for service in _SERVICES:
        key = next((name for name in service.keys if env.get(name)), None)
        if key is not None:
            models = (service.model,)
            rows.append(
                Found(name=service.name, type="openai", url=service.url, models=models, key=key)
            )
    return rows


def _ollama_host(env: Mapping[str, str]) -> list[Site]:
    """Return the site that Ollama's own variable names: `HOST`, `HOST:PORT` or a URL."""
    host = env.get("OLLAMA_HOST", "").strip().rstrip("/")
    if not host:
        return []
    url = host if "://" in host else f"http://{host}"
    if ":" not in url.partition("://")[2]:
        url += ":11434"
    # What a server listens on is not always where it can be reached.
    return [Site(url.replace("//0.0.0.0:", "//127.0.0.1:"), (ollama,))]
