"""One entry of LiteLLM's `model_list`: a model, where it runs, what it costs. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Self

from coe.composition.document import KeyPath
from coe.composition.units import format_duration, format_price
from coe.importing.carried import Kind
from coe.importing.credentials import address, is_placeholder
from coe.importing.litellm_tables import (
    EMBEDDING,
    LIBRARY_ONLY,
    PLAIN,
    REQUEST_FIELDS,
    ROUTERS,
    mode_of,
)
from coe.importing.part import Part
from coe.importing.providers import LITELLM, Site, key_name, site

_MILLION = 1_000_000
_PATH = re.compile(r"://[^/]+/+[^/]|^\$\{env:\w+\}$")  # a reference may hold one
_WORD = re.compile(r"[\w.:-]{1,60}", re.ASCII)  # neither a reference nor part of one
_ANY = "*"


class Secret(str):
    """A secret as the foreign file has it, with its place, until a reference replaces it.

    Attributes:
        wish: what a variable for it might be called.
    """

    __slots__ = ("path", "wish")
    path: KeyPath
    wish: str

    def __new__(cls, text: str, path: KeyPath, wish: str) -> Self:
        """Keep `text`, and remember where it stood."""
        made = super().__new__(cls, text)
        made.path, made.wish = path, wish
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """An entry, read.

    Attributes:
        backend: keys of its backend, with `Secret`s in them.
        provider: what its backend might be called.
        expert: keys of its expert, but for the backend's name.
        order: its rank among those of its group, the least first.
        notes: on the backend.
    """

    entry: Part
    params: Part
    backend: dict[str, Any]
    provider: str
    expert: dict[str, Any]
    order: Decimal
    notes: tuple[tuple[Kind, KeyPath, str], ...]

    @property
    def is_chat(self) -> bool:
        """Whether it may answer anything; else it makes embeddings."""
        return "capabilities" not in self.expert


def not_an_expert(group: str, model: str, mode: str) -> str:
    """Return why an entry is no expert; empty where it is one."""
    if _ANY in group or _ANY in model:
        return "a wildcard, and an expert is one model: name each"
    if model.startswith(ROUTERS):
        return "a router of LiteLLM's: `categories` and `routers` do this here"
    if "${" in model or not model.isprintable():
        return "a model name that cannot be written here"
    return "" if mode_of(model, mode) else "neither chat nor embeddings: only these are served"


def read_deployment(
    entry: Part, params: Part, info: Part, shared: Mapping[str, Part]
) -> Deployment:
    """Read an entry.

    Args:
        entry: of `model_list`.
        params: its `litellm_params`.
        info: its `model_info`; an empty part where it has none.
        shared: the entries of `credential_list`, by name.
    """
    notes: list[tuple[Kind, KeyPath, str]] = []
    lent = shared.get(params.text("litellm_credential_name"))
    values = lent.part("credential_values") if lent is not None else None
    parts = [part for part in (params, values) if part is not None]
    base, at = _base(parts, notes)
    where = site(params.text("model"), params.text("custom_llm_provider"), base)
    if where.type not in {LITELLM, "ollama"} and base and not _PATH.search(base):
        notes.append(("changed", at, "an address without a path: calls go to `/v1` under it"))
    backend: dict[str, Any] = {"type": where.type}
    if where.url and where.type != LITELLM:
        backend["url"] = where.url
    _add_key(backend, where, parts, notes)
    _add_headers(backend, where, parts)
    if where.type == LITELLM:
        _add_parameters(backend, where, parts)
    _add_timeouts(backend, params)
    return Deployment(
        entry=entry,
        params=params,
        backend=backend,
        provider=where.name,
        expert={"model": where.model, **_facts(params, info)},
        order=params.number("order") or Decimal(0),
        notes=tuple(notes),
    )


def _base(parts: Sequence[Part], notes: list[tuple[Kind, KeyPath, str]]) -> tuple[str, KeyPath]:
    """Return the address that an entry gives, and where it stands; empty where there is none."""
    for part in parts:
        for key in ("api_base", "base_url"):
            if written := part.text(key):
                base, gone = address(written)
                if gone:
                    notes.append(("to do", part.at(key), f"not carried over: {gone}"))
                return base, part.at(key)
    return "", ()


def _add_key(
    backend: dict[str, Any],
    where: Site,
    parts: Sequence[Part],
    notes: list[tuple[Kind, KeyPath, str]],
) -> None:
    for part in parts:
        text = part.text("api_key")
        if text and is_placeholder(text):
            message = "it says that no key is needed, and none is sent"
            notes.append(("changed", part.at("api_key"), message))
            return
        if text:
            backend["api_key"] = Secret(text, part.at("api_key"), key_name(where.name))
            return
    if where.key:
        backend["api_key"] = f"${{env:{where.key}}}"


def _add_headers(backend: dict[str, Any], where: Site, parts: Sequence[Part]) -> None:
    """Add headers. Any of them may carry a secret, so that each becomes a reference."""
    for part in parts:
        for key in ("extra_headers", "headers"):
            headers = part.part(key)
            for name in headers.keys if headers is not None else ():
                if headers is not None and (text := headers.text(name)):
                    value = Secret(text, headers.at(name), f"{where.name}_{name}")
                    backend.setdefault("headers", {})[name] = value


def _add_parameters(backend: dict[str, Any], where: Site, parts: Sequence[Part]) -> None:
    """Add what the library alone understands; its address too, as a `url` would end in `/v1`."""
    found: dict[str, Any] = {"api_base": where.url} if where.url else {}
    for part in parts:
        for key in part.keys:
            if key.startswith(LIBRARY_ONLY) and (text := part.text(key)):
                is_plain = key in PLAIN and _WORD.fullmatch(text)
                found[key] = text if is_plain else Secret(text, part.at(key), key)
    if found:
        backend["options"] = {"parameters": found}


def _add_timeouts(backend: dict[str, Any], params: Part) -> None:
    limits = {}
    for key, ours in (("timeout", "total"), ("stream_timeout", "first_token")):
        if seconds := params.number(key):
            limits[ours] = format_duration(float(seconds))
    if limits:
        backend["timeouts"] = limits


def _facts(params: Part, info: Part) -> dict[str, Any]:
    """Return what is known of the expert: sizes, prices, and request fields that hold for it."""
    facts: dict[str, Any] = {}
    for key, ours in (("max_input_tokens", "context"), ("max_output_tokens", "max_output")):
        count = info.number(key)
        if count and count == int(count):
            facts[ours] = int(count)
    prices = {}
    for ours in ("input", "output"):
        key = f"{ours}_cost_per_token"
        prices[ours] = next(
            (p for p in (params.number(key), info.number(key)) if p is not None), None
        )
    if set(prices.values()) != {None}:  # one that is missing is zero there
        facts["cost"] = {
            ours: format_price(float((price or 0) * _MILLION), "USD")
            for ours, price in prices.items()
        }
    if mode_of(params.text("model"), info.text("mode")) == EMBEDDING:
        facts["capabilities"] = ["embeddings"]
    defaults = {key: params.raw(key) for key in REQUEST_FIELDS if key in params}
    if defaults:
        params.skip(*defaults)
        facts["defaults"] = defaults
    return facts
