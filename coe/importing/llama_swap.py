"""llama-swap's `config.yaml`: one backend, llama-swap itself, and an expert for each model.

llama-swap goes on reading its file: how a model is started, and which models may run side by side,
stays its own affair, and comments say so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from coe.composition.document import KeyPath
from coe.importing.carried import Carried, Where
from coe.importing.part import Part
from coe.importing.source import Source

_ADDRESS = "http://127.0.0.1:8080"
_CONTEXT = re.compile(r"(?:^|\s)(?:-c|--ctx-size|--max-model-len)[ =](\d{2,9})(?=\s|$)")
_SLOTS = re.compile(r"(?:^|\s)(?:-np|--parallel)[ =]")
_MACRO = re.compile(r"\$\{([A-Za-z0-9_-]+)\}")
_THERE = "llama-swap goes on reading it from its own file"
_TOGETHER = "which models run side by side is llama-swap's to say"
REASONS = MappingProxyType(
    {
        "aliases": "an alias: ask for the expert by its name, or go on asking llama-swap for it",
        "apiKeys": "one key is enough to call llama-swap; who may call the gateway is set apart",
        "groups": _TOGETHER,
        "hooks": "to keep an expert loaded, give the backend `memory` and it `residency: pinned`",
        "matrix": _TOGETHER,
        "routing": _TOGETHER,
        "setParamsByID": "a variant that llama-swap has under a further name: add an expert",
        "ttl": "llama-swap unloads by it; with `memory` on the backend, the gateway decides",
        "globalTTL": "llama-swap unloads by it; with `memory` on the backend, the gateway decides",
    }
)


def recognises(content: Any) -> bool:
    """Whether a file's content looks like llama-swap's."""
    models = content.get("models") if isinstance(content, dict) else None
    entries = list(models.values()) if isinstance(models, dict) else []
    return any(
        isinstance(entry, dict) and ("cmd" in entry or "proxy" in entry) for entry in entries
    )


def carry(source: Source) -> Carried:
    """Carry a file over. Raises CompositionError for what cannot be understood."""
    carried = Carried(source)
    top = Part(source, (), source.content)
    keys: dict[str, Any] = {"type": "llama_swap", "url": _ADDRESS}
    backend = carried.backend("llama-swap", keys)
    where: Where = ("backends", backend)
    carried.note("to do", (), f"put the address at which llama-swap listens: {_ADDRESS}?", where)
    _add_key(top, keys, carried, backend)
    macros = _macros(top)
    for part in top.parts("models"):
        _add_model(part, backend, macros, carried)
    for peer in top.parts("peers"):
        _add_peer(peer, backend, carried)
    _note_groups(top, carried)
    carried.leave(top, REASONS, None, _THERE)
    carried.finish()
    return carried


def _add_key(top: Part, keys: dict[str, Any], carried: Carried, backend: str) -> None:
    """Use the first of llama-swap's keys; the others stay unread."""
    for path, text in top.texts("apiKeys"):
        if "api_key" not in keys:
            keys["api_key"] = carried.secret(
                path, text, "LLAMA_SWAP_API_KEY", ("backends", backend)
            )
        else:
            carried.note("left out", path, REASONS["apiKeys"])


def _add_model(part: Part, backend: str, macros: Mapping[str, str], carried: Carried) -> None:
    model = str(part.path[-1])
    command = _expanded(part.text("cmd"), {**macros, **_macros(part)})
    part.skip("proxy", "checkEndpoint", "name")
    description = part.text("description") or part.text("name")
    keys: dict[str, Any] = {"backend": backend, "model": model}
    if "${" in model or not model.isprintable():
        carried.note("left out", part.path, "a model name that cannot be written here")
        part.close()
        return
    if context := _context(part, command):
        keys["context"] = context
    if description:
        keys["description"] = " ".join(description.split())
    name = carried.expert(model, keys, part.path)
    where: Where = ("experts", name)
    for path, alias in _aliases(part):
        carried.note("left out", path, f"`{alias:.60}`: {REASONS['aliases']}", where)
    carried.leave(part, REASONS, where, _THERE)


def _add_peer(peer: Part, backend: str, carried: Carried) -> None:
    """Models of a peer are reached through llama-swap, which holds the peer's key."""
    for path, model in peer.texts("models"):
        if "${" in model:
            carried.note("left out", path, "a model name that cannot be written here")
            continue
        name = carried.expert(model, {"backend": backend, "model": model}, path)
        message = "a peer's model, which llama-swap passes on"
        carried.note("changed", path, message, ("experts", name))
    carried.leave(peer, {}, None, _THERE)


def _note_groups(top: Part, carried: Carried) -> None:
    for group in top.parts("groups"):
        members = ", ".join(f"`{name:.60}`" for _, name in group.texts("members"))
        # The defaults of llama-swap.
        swaps = group.truth("swap") is not False
        is_exclusive = group.truth("exclusive") is not False
        stays = group.truth("persistent") is True
        said = [
            f"of {members or 'nobody'}, {'one runs at a time' if swaps else 'all may run at once'}",
            "others are stopped for them" if is_exclusive else "others go on beside them",
            *(["they are never stopped for others"] if stays else []),
        ]
        carried.note("left out", group.path, f"{', '.join(said)}: {_TOGETHER}")


def _aliases(part: Part) -> list[tuple[KeyPath, str]]:
    """Return further names of a model; each is a text, or a mapping with an `id`."""
    rows = part.raw("aliases")
    if not isinstance(rows, list):
        return part.texts("aliases")
    part.skip("aliases")
    names = [row.get("id") if isinstance(row, dict) else row for row in rows]
    return [((*part.at("aliases"), i), str(name)) for i, name in enumerate(names)]


def _context(part: Part, command: str) -> int:
    """Return how many tokens a model takes, where the file says it; else 0."""
    if (can := part.part("capabilities")) is not None and (count := can.number("context")):
        return int(count)
    # With several slots, each has only its share of what the command says.
    match = None if _SLOTS.search(command) else _CONTEXT.search(command)
    return int(match[1]) if match else 0


def _macros(part: Part) -> dict[str, str]:
    macros = part.raw("macros")
    return {key: str(text) for key, text in macros.items()} if isinstance(macros, dict) else {}


def _expanded(text: str, macros: Mapping[str, str]) -> str:
    """Return a command with its macros written out, those in macros too."""
    for _ in range(5):
        text = _MACRO.sub(lambda match: macros.get(match[1], match[0]), text)
        if len(text) > 100_000:  # noqa: PLR2004 - macros that repeat themselves
            return ""
    return text
