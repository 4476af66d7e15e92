"""The models of vLLM Semantic Router's file: endpoints become backends, models and LoRAs experts.

Reads both of its layouts: `vllm_endpoints` with `model_config`, and since v0.3 `providers` with
`routing.modelCards`.
"""

from __future__ import annotations

from decimal import Decimal
from types import MappingProxyType
from typing import Any

from coe.composition.check_experts import CAPABILITIES
from coe.composition.units import format_price
from coe.importing.carried import Carried
from coe.importing.credentials import address
from coe.importing.part import Part

_CLASSIFIER = "a classifier model that is not used here: give categories `utterances`"
_GUARD = "prompts and answers are not filtered"
_REASONING = "how much a model thinks is the request's to say, or an expert's `defaults`"
_CACHE = "answers are not cached"
_CARD = "nothing here reads it"
REASONS = MappingProxyType(
    {
        "bert_model": _CLASSIFIER,
        "categories": "a category without a model is not carried over",
        "classifier": _CLASSIFIER,
        "default_reasoning_effort": _REASONING,
        "embedding_models": _CLASSIFIER,
        "global": "a setting of the router's own server",
        "hallucination_mitigation": _GUARD,
        "jailbreak_enabled": _GUARD,
        "listeners": "where the gateway listens is `server.listen`",
        "mmlu_categories": _CLASSIFIER,
        "model_reasoning_configs": _REASONING,
        "modelCards": _CARD,
        "pii_model": _GUARD,
        "pii_policy": _GUARD,
        "plugins": "nothing here does what a plugin of a decision does",
        "priority": "the most probable category decides, not the one with the highest number",
        "prompt_guard": _GUARD,
        "reasoning": _REASONING,
        "reasoning_description": _REASONING,
        "reasoning_effort": _REASONING,
        "reasoning_families": _REASONING,
        "reasoning_family": _REASONING,
        "reliability": "experts are ranked, and the next one answers when one fails",
        "rules": "only single conditions, and any one of several, are carried over",
        "semantic_cache": _CACHE,
        "semantic_cache_enabled": _CACHE,
        "semantic_cache_similarity_threshold": _CACHE,
        "signals": "only keywords, embeddings and domains are carried over",
        "system_prompt": "a prompt of its own makes an expert a program; see `recipe`",
        "threshold": "a similarity, which says nothing here: `threshold` is a probability",
        "tools": "tools are the client's to offer",
        "use_reasoning": _REASONING,
        "weight": "load is not shared out: experts are ranked",
    }
)


class Models:
    """The experts of a file, by the model and the LoRA that it calls them by."""

    def __init__(self, carried: Carried) -> None:
        self._carried = carried
        self._endpoints: dict[str, tuple[str, Decimal]] = {}
        self._experts: dict[str, list[str]] = {}
        self._loras: dict[tuple[str, str], str] = {}

    def read(self, top: Part) -> None:
        """Add backends and experts. Raises CompositionError for what cannot be understood."""
        cards = _cards(top)
        for part in top.parts("vllm_endpoints"):
            self._add_endpoint(part)
        for part in top.parts("model_config"):
            self._add_configured(str(part.path[-1]), part)
        providers = top.part("providers")
        for part in providers.parts("models") if providers is not None else ():
            self._add_provided(part, cards)
        for name, card in cards.items():
            if name in self._experts:
                self._add_loras(name, card)

    def experts(self, model: str, lora: str = "") -> list[str]:
        """Return the experts of a model, best first; none where it is not in the file."""
        if lora and (model, lora) in self._loras:
            return [self._loras[model, lora]]
        if model and model not in self._experts and len(self._endpoints) == 1:
            # The old layout lets a model go without an entry of its own.
            ((backend, _),) = self._endpoints.values()
            self._add(model, model, [backend], {}, ("model_config",))
        return self._experts.get(model, [])

    def __len__(self) -> int:
        """Return how many models there are."""
        return len(self._experts)

    def _add_endpoint(self, part: Part) -> None:
        name, source = part.text("name"), part.source
        if not name:
            source.stop(part.path, "`name` is missing", "name the endpoint")
        if name in self._endpoints:
            source.stop(part.at("name"), f"there are two endpoints `{name:.60}`", "rename one")
        host, port = part.text("address"), part.text("port")
        if not host:
            source.stop(part.path, "`address` is missing", "such as `address: 127.0.0.1`")
        host = f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host
        url = f"{part.text('protocol') or 'http'}://{host}{f':{port}' if port else ''}"
        backend = self._backend(name, part, url if "://" not in host else host, "vllm")
        weight = part.number("weight")
        self._endpoints[name] = (backend, Decimal(1) if weight is None else weight)
        for _, model in part.texts("models"):
            self._add(model, model, [backend], {}, part.path)
        self._carried.leave(part, REASONS, ("backends", backend))

    def _add_configured(self, model: str, part: Part) -> None:
        wanted = [self._endpoint(path, name) for path, name in part.texts("preferred_endpoints")]
        found = sorted((one for one in wanted if one is not None), key=lambda one: -one[1])
        backends = [backend for backend, _ in found]
        if not backends and model not in self._experts:
            backends = [backend for backend, _ in list(self._endpoints.values())[:1]]
            if not backends:
                part.source.stop(part.path, "no endpoint can serve it", "add `vllm_endpoints`")
            if len(self._endpoints) > 1:
                message = "no endpoint is named: it is taken to be at the first"
                self._carried.note("to do", part.path, message)
        self._add(model, model, backends, self._facts(part), part.path)
        self._add_loras(model, part)
        self._carried.leave(part, REASONS, ("experts", self._experts[model][0]))

    def _endpoint(self, path: Any, name: str) -> tuple[str, Decimal] | None:
        if name not in self._endpoints:
            self._carried.note("left out", path, "there is no endpoint of that name")
        return self._endpoints.get(name)

    def _add_provided(self, part: Part, cards: dict[str, Part]) -> None:
        name, source = part.text("name"), part.source
        if not name:
            source.stop(part.path, "`name` is missing", "name the model")
        backends: list[tuple[str, Decimal]] = []
        for ref in part.parts("backend_refs"):
            url = ref.text("base_url") or ref.text("endpoint")
            if not url:
                source.stop(ref.path, "`endpoint` is missing", "such as `127.0.0.1:8000`")
            if "://" not in url and "${" not in url:
                url = f"{ref.text('protocol') or 'http'}://{url}"
            provider = ref.text("provider")
            kind = "openai" if provider == "openai" else "vllm"
            backend = self._backend(ref.text("name") or name, ref, url, kind)
            weight = ref.number("weight")
            backends.append((backend, Decimal(1) if weight is None else weight))
            self._carried.leave(ref, REASONS, ("backends", backend))
        if not backends:
            message = "a model without `backend_refs`: it is in a catalogue that is not read"
            self._carried.note("left out", part.path, message)
            part.close()
            return
        backends.sort(key=lambda one: -one[1])
        facts = {**self._facts(part), **(self._facts(cards[name]) if name in cards else {})}
        served = part.text("provider_model_id") or name
        self._add(name, served, [backend for backend, _ in backends], facts, part.path)
        self._carried.leave(part, REASONS, ("experts", self._experts[name][0]))

    def _backend(self, wish: str, part: Part, url: str, kind: str) -> str:
        """Add a backend; returns its name."""
        carried, since = self._carried, len(self._carried.notes)
        where, gone = address(url)
        if not where:
            part.source.stop(part.path, "its address cannot be used", "write HOST and PORT")
        if gone:
            carried.note("to do", part.path, f"of its address is not carried over: {gone}")
        keys: dict[str, Any] = {"type": kind, "url": where}
        if variable := part.text("api_key_env"):
            keys["api_key"] = carried.secret(part.at("api_key_env"), f"${{{variable}}}", variable)
        for key in ("api_key", "access_key"):
            if text := part.text(key):
                keys["api_key"] = carried.secret(part.at(key), text, f"{wish}_API_KEY")
        headers = part.part("extra_headers")
        if headers is not None:
            written = {key: headers.text(key) for key in headers.keys}
            keys["headers"] = {
                key: carried.secret(headers.at(key), text, f"{wish}_{key}")
                for key, text in written.items()
                if text
            }
        name = carried.backend(wish, keys)
        if name != wish:
            carried.note("changed", part.path, f"the endpoint `{wish:.60}` is called `{name}` here")
        carried.place(since, ("backends", name))
        return name

    def _add(
        self, name: str, served: str, backends: list[str], facts: dict[str, Any], path: Any
    ) -> None:
        """Add an expert at each of the backends that the model has not got yet."""
        carried, known = self._carried, self._experts.setdefault(name, [])
        if "${" in served or not served.isprintable():
            carried.source.stop(path, "a model name that cannot be written here", "rename it")
        for expert in known:
            carried.experts[expert] |= facts
        for backend in dict.fromkeys(backends):
            if all(carried.experts[expert]["backend"] != backend for expert in known):
                keys = {"backend": backend, "model": served, **facts}
                known.append(carried.expert(name, keys, path))

    def _add_loras(self, model: str, part: Part) -> None:
        base = self._experts[model][0]
        for lora in part.parts("loras"):
            name = lora.text("name")
            if not name:
                lora.source.stop(lora.path, "`name` is missing", "name the adapter")
            if "${" in name or not name.isprintable():
                lora.source.stop(lora.path, "a name that cannot be written here", "rename it")
            keys: dict[str, Any] = {"base": base, "adapter": name}
            if description := " ".join(lora.text("description").split()):
                keys["description"] = description
            self._loras[model, name] = self._carried.expert(name, keys, lora.path)

    def _facts(self, part: Part) -> dict[str, Any]:
        """Return what is known of an expert: what it is, costs and takes."""
        facts: dict[str, Any] = {}
        if description := " ".join(part.text("description").split()):
            facts["description"] = description
        counts = (("context_window_size", "context"), ("max_output_tokens", "max_output"))
        for key, ours in counts:
            count = part.number(key)
            if count and count == int(count):
                facts[ours] = int(count)
        if tags := [text for _, text in part.texts("tags")]:
            facts["tags"] = tags
        can = [text for _, text in part.texts("capabilities")]
        if can and set(can) <= CAPABILITIES:
            facts["capabilities"] = can
        elif can:
            message = "not all of them are known here, and what is not listed would be ruled out"
            self._carried.note("left out", part.at("capabilities"), message)
        if cost := _cost(part.part("pricing")):
            facts["cost"] = cost
        return facts


def _cards(top: Part) -> dict[str, Part]:
    routing = top.part("routing")
    cards = routing.parts("modelCards") if routing is not None else []
    return {card.text("name"): card for card in cards}


def _cost(pricing: Part | None) -> dict[str, str]:
    """Return the prices of a million tokens, which the file gives as numbers."""
    if pricing is None:
        return {}
    currency = pricing.text("currency").upper() or "USD"
    if len(currency) != 3 or not (currency.isascii() and currency.isalpha()):  # noqa: PLR2004
        return {}
    keys = {"input": "prompt_per_1m", "output": "completion_per_1m"}
    prices = {ours: pricing.number(key) for ours, key in keys.items()}
    if set(prices.values()) == {None}:
        return {}
    # One that is missing is zero there.
    return {ours: format_price(float(price or 0), currency) for ours, price in prices.items()}
