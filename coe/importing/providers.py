"""Providers as LiteLLM names them, and how each is reached from here.

What speaks OpenAI's API is called directly; the rest goes through the `litellm` library.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

LITELLM = "litellm"
_OPENAI = ("https://api.openai.com/v1", "OPENAI_API_KEY")

# provider -> (address of its OpenAI-compatible interface, LiteLLM's variable for its key)
_SERVICES = MappingProxyType(
    {
        "openai": _OPENAI,
        "text-completion-openai": _OPENAI,
        "anthropic": ("https://api.anthropic.com/v1", "ANTHROPIC_API_KEY"),
        "cerebras": ("https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
        "deepinfra": ("https://api.deepinfra.com/v1/openai", "DEEPINFRA_API_KEY"),
        "deepseek": ("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
        "fireworks_ai": ("https://api.fireworks.ai/inference/v1", "FIREWORKS_AI_API_KEY"),
        "gemini": (
            "https://generativelanguage.googleapis.com/v1beta/openai",
            "GEMINI_API_KEY",
        ),
        "groq": ("https://api.groq.com/openai/v1", "GROQ_API_KEY"),
        "mistral": ("https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
        "nvidia_nim": ("https://integrate.api.nvidia.com/v1", "NVIDIA_NIM_API_KEY"),
        "openrouter": ("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
        "together_ai": ("https://api.together.xyz/v1", "TOGETHERAI_API_KEY"),
        "xai": ("https://api.x.ai/v1", "XAI_API_KEY"),
    }
)
# Their own address, where one is given, need not speak OpenAI's API.
_OWN_PROTOCOL = frozenset({"anthropic", "gemini"})
# provider -> type of the server that an `api_base` leads to
_SERVERS = MappingProxyType(
    {
        "custom_openai": "openai",
        "hosted_vllm": "vllm",
        "litellm_proxy": "openai",
        "llamafile": "openai",
        "lm_studio": "openai",
        "openai_like": "openai",
        "vllm": "vllm",
    }
)
_OLLAMA = frozenset({"ollama", "ollama_chat"})
_BARE = (
    (("gpt-", "o1", "o3", "o4", "chatgpt-", "text-embedding-"), "openai"),
    (("claude-",), "anthropic"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """How a model is reached.

    Attributes:
        name: what its backend might be called.
        url: empty where the library knows it.
        key: the variable that LiteLLM reads where no key is given; empty where none is needed.
        model: as the backend knows it.
    """

    name: str
    type: str
    url: str
    key: str
    model: str


def site(model: str, provider: str, base: str) -> Site:
    """Return how LiteLLM's model name is reached.

    Args:
        model: such as `azure/gpt-4o-eu`.
        provider: where it is said apart from the model; else empty.
        base: the address that the file gives; else empty.

    Example:
        >>> site("groq/llama-3.1-8b", "", "").url
        'https://api.groq.com/openai/v1'
    """
    first, slash, rest = model.partition("/")
    known = {*_SERVICES, *_SERVERS, *_OLLAMA}
    if not provider and slash and first in known:
        provider, bare = first, rest
    else:
        bare = rest if slash and first == provider else model
        provider = provider or _guessed(model)
    if provider in _OLLAMA:
        url = base or "http://127.0.0.1:11434"
        return Site(name="ollama", type="ollama", url=url, key="", model=bare)
    if provider in _SERVERS and base:
        return Site(name=provider, type=_SERVERS[provider], url=base, key="", model=bare)
    if provider in _SERVICES and base and provider not in _OWN_PROTOCOL:
        return Site(name=provider, type="openai", url=base, key="", model=bare)
    if provider in _SERVICES and not base:
        url, key = _SERVICES[provider]
        return Site(name=provider, type="openai", url=url, key=key, model=bare)
    whole = f"{provider}/{bare}" if provider and bare == model and not slash else model
    name = provider or (first if slash else LITELLM)
    return Site(name=name, type=LITELLM, url=base, key="", model=whole)


def key_name(provider: str) -> str:
    """Return what a variable for a provider's key might be called."""
    return _SERVICES[provider][1] if provider in _SERVICES else f"{provider}_API_KEY"


def _guessed(model: str) -> str:
    """Return the provider of a model that names none, as far as its name tells."""
    names = (provider for starts, provider in _BARE if model.startswith(starts))
    return next(names, "")
