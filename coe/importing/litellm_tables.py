"""What LiteLLM's keys are to us: which have a counterpart, and why the others have none."""

from __future__ import annotations

import re
from types import MappingProxyType

EMBEDDING = "embedding"
_CHAT = "chat"
_MODES = frozenset({_CHAT, "completion", EMBEDDING, "responses"})
_EMBEDS = re.compile(r"embed", re.IGNORECASE)
_NEITHER = re.compile(r"dall-e|gpt-image|whisper|\btts\b|rerank|moderation", re.IGNORECASE)
ROUTERS = ("auto_router/", "smart_router/")
# Fields of a request; a deployment's own values hold unless the client sets them.
REQUEST_FIELDS = (
    "temperature",
    "top_p",
    "top_k",
    "max_tokens",
    "max_completion_tokens",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "reasoning_effort",
)
# What the library alone understands, by how the key begins.
LIBRARY_ONLY = (
    "api_version",
    "aws_",
    "azure_",
    "client_",
    "organization",
    "region_name",
    "tenant_id",
    "vertex_",
    "watsonx_",
)
# Of those, the ones that are no secrets.
PLAIN = frozenset(
    {"api_version", "aws_region_name", "region_name", "vertex_location", "vertex_project"}
)
_LOAD = "load is not shared out: experts are ranked, and the next one answers when one fails"
_LIMIT = "limits of a backend are not kept here"
_CALLERS = "who may call is not carried over"
_STORE = "what is remembered of requests is set by `observe` and by the process's own settings"
_RETRY = "a request goes on to the next expert of its ranking; see `fallbacks`"
_CACHE = "answers are not cached"
_LIST = "write `capabilities` as a whole list: what it does not name is ruled out"
REASONS = MappingProxyType(
    {
        "allowed_fails": _RETRY,
        "budget_duration": _LIMIT,
        "cache": _CACHE,
        "cache_params": _CACHE,
        "callbacks": _STORE,
        "content_policy_fallbacks": "a refusal counts as an answer",
        "cooldown_time": _RETRY,
        "credential_list": "no model that is carried over needs it",
        "database_url": "there is no database of keys and spending",
        "environment_variables": "set it where the gateway runs; its value is not copied",
        "failure_callback": _STORE,
        "fallbacks": "falls back from or to a model that is not carried over",
        "context_window_fallbacks": "falls back from or to a model that is not carried over",
        "general_settings": "a setting of LiteLLM's own server",
        "guardrails": "prompts and answers are not filtered",
        "include": "files that it includes are not read: import each of them, or join them first",
        "litellm_params": "a parameter that is sent to no backend here",
        "litellm_settings": "a setting of LiteLLM's own library",
        "master_key": _CALLERS,
        "max_budget": _LIMIT,
        "max_parallel_requests": "`concurrency` of the backend is what comes near",
        "model_info": "nothing here reads it",
        "num_retries": _RETRY,
        "redis_host": "there is no shared store for load",
        "redis_password": "there is no shared store for load",
        "redis_port": "there is no shared store for load",
        "router_settings": "a setting of LiteLLM's own router",
        "routing_strategy": _LOAD,
        "rpm": _LIMIT,
        "success_callback": _STORE,
        "supports_audio_input": _LIST,
        "supports_function_calling": _LIST,
        "supports_response_schema": _LIST,
        "supports_vision": _LIST,
        "tpm": _LIMIT,
        "weight": _LOAD,
    }
)


def mode_of(model: str, mode: str) -> str:
    """Return what a model is for; empty where it is nothing that is served here.

    Args:
        model: such as `azure/gpt-4o-eu`.
        mode: what the file says of it; where that is nothing, the name tells.

    Example:
        >>> mode_of("text-embedding-3-small", ""), mode_of("whisper-1", ""), mode_of("gpt-4o", "")
        ('embedding', '', 'chat')
    """
    if mode:
        return mode if mode in _MODES else ""
    if _EMBEDS.search(model):
        return EMBEDDING
    return "" if _NEITHER.search(model) else _CHAT
