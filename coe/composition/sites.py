"""Experts and encoders as the rules of the policies see them: of a file that is being checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from coe.composition.barring import Site, Sites, encoder_key
from coe.composition.check_experts import is_lora
from coe.composition.check_programs import over_of
from coe.composition.document import KeyPath
from coe.composition.expert_keys import BackendKeys, ExpertKeys
from coe.composition.models import FileKeys
from coe.composition.routing_keys import EncoderKeys
from coe.composition.trust import Trust, trust_of

Resolve = Callable[[Any, KeyPath], Any]


def sites_of(file: FileKeys, resolve: Resolve) -> Sites:
    """Return what there is in a completed file; names that lead nowhere are left out.

    Args:
        file: completed.
        resolve: replaces the references in the value at a key path.
    """
    found = {name: _expert(expert, file, resolve) for name, expert in file.experts.items()}
    encoders = {
        encoder_key(name): Site(kind="encoder", trust=trust_of_encoder(name, keys, resolve))
        for name, keys in file.encoders.items()
    }
    return {**found, **encoders}


def trust_of_backend(name: str, keys: BackendKeys, resolve: Resolve) -> Trust:
    """Return how far away a backend is."""
    if keys.trust is not None:
        return keys.trust
    url = None if keys.url is None else resolve(keys.url, ("backends", name, "url"))
    return trust_of(keys.type, url)


def trust_of_encoder(name: str, keys: EncoderKeys, resolve: Resolve) -> Trust:
    """Return how far away an encoder is: in this process, unless it has an address."""
    if keys.trust is not None:
        return keys.trust
    url = keys.options.get("url")
    if not isinstance(url, str):
        return "local"
    return trust_of("http", resolve(url, ("encoders", name, "url")))


def _expert(keys: ExpertKeys, file: FileKeys, resolve: Resolve) -> Site:
    under = [_base_of(keys)] if is_lora(keys) else []
    if over := over_of(keys):
        under.append(over)
        examples = keys.recipe.examples if keys.recipe is not None else None
        if examples is not None and examples.encoder is not None:
            under.append(encoder_key(examples.encoder))
    backend = _backend_of(keys, file)
    trust: Trust = "local"
    if backend in file.backends:
        trust = trust_of_backend(backend, file.backends[backend], resolve)
    known = {*file.experts, *(encoder_key(name) for name in file.encoders)}
    return Site(
        tags=frozenset(keys.tags),
        trust=trust,
        under=tuple(name for name in under if name in known),
    )


def _backend_of(keys: ExpertKeys, file: FileKeys) -> str:
    """Return where an expert's answers come from: for a program, that of the model under it."""
    for _ in file.experts:  # a circle of programs is reported elsewhere
        over = over_of(keys)
        if over not in file.experts:
            break
        keys = file.experts[over]
    base = file.experts.get(_base_of(keys)) if is_lora(keys) else None
    return (base or keys).backend or ""


def _base_of(keys: ExpertKeys) -> str:
    return keys.base or ""
