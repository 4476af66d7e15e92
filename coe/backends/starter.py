"""A first, commented experts.yaml from what was found. Whatever that was, the file loads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from coe.backends.found import Found
from coe.backends.starter_categories import GENERAL, SKILLS, Starter

MOST_MODELS = 6
EMBEDDED = "embedded"

_HEADER = """\
# A composition of experts: what can answer, what people ask, and who answers what.
# Written by `coe init`. Check it after a change with `coe check`; try it with `coe route "..."`.
version: 1
"""
_BACKENDS = """
# Where experts run. A URL is enough for an OpenAI-compatible server. Secrets only as references.
backends:
"""
_EXPERTS = """
# What can answer: `backend/model`, or a mapping with more (context, capabilities, defaults, ...).
# A LoRA adapter: `legal: {base: general, adapter: path/to/adapter}`.
experts:
"""
_CATEGORIES = """
# What people ask. Utterances as your own users write them are the cheapest accuracy there is;
# negatives are near misses that belong elsewhere. Experts are ranked: the first, then fallbacks.
categories:
"""
_DEFAULT = """
# Who answers when no category is sure.
"""
_NOT_CHAT = re.compile(r"embed|rerank|minilm|whisper|bge-|-tts|moderation", re.IGNORECASE)
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9._/-]*(:[A-Za-z0-9._/-]+)*")
_NOT_TEXT = frozenset({"true", "false", "null", "yes", "no", "on", "off"})
_PULL = {"ollama": ("llama3.2:3b", "not there yet: `ollama pull llama3.2:3b`")}


@dataclass(slots=True)
class _Draft:
    """The file's lines by section, and the names that are taken."""

    backends: list[str] = field(default_factory=list)
    experts: list[str] = field(default_factory=list)
    chat: dict[str, str] = field(default_factory=dict)
    skills: dict[str, str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)

    def name(self, wish: str) -> str:
        """Return a free name that looks like the wish."""
        safe = re.sub(r"[^A-Za-z0-9._:@+-]+", "-", wish).strip("-._:@+")[:60] or "expert"
        name, number = safe, 1
        while name in self.names:
            number += 1
            name = f"{safe}-{number}"
        self.names.add(name)
        return name


def write_composition(found: Sequence[Found], embedded: Path | None) -> str:
    """Return the text of a composition that loads, wherever what was found is still there.

    Args:
        found: servers and services; keys are written as references to the environment.
        embedded: folder of the experts that run in this process, where there is one: `base` with
            the model and, anywhere below, folders of LoRA adapters for it.
    """
    draft = _Draft()
    for row in found:
        _add_server(draft, row)
    if embedded is not None:
        _add_embedded(draft, embedded)
    if not draft.experts:
        note = "# Nothing was found. With Ollama: install it, then `ollama pull llama3.2:3b`."
        draft.backends.append(f"  {note}")
        _add_server(draft, Found(name="ollama", type="ollama", url="http://127.0.0.1:11434"))
    chat = [*draft.chat.values()]
    default = chat[0] if chat else draft.skills.get("general", next(iter(draft.skills.values())))
    categories = [*_skill_categories(draft), *(_chat_categories(draft) if chat else ())]
    parts = [_HEADER, _BACKENDS, *_lines(draft.backends), _EXPERTS, *_lines(draft.experts)]
    if categories:
        parts += [_CATEGORIES, *_lines(categories)]
    return "".join([*parts, _DEFAULT, f"default: {scalar(default)}\n"])


def scalar(text: str) -> str:
    """Write a printable text as YAML, in quotes only where it needs them."""
    if _PLAIN.fullmatch(text) and text.lower() not in _NOT_TEXT:
        return text
    return json.dumps(text, ensure_ascii=False)


def _add_server(draft: _Draft, row: Found) -> None:
    backend = draft.name(row.name)
    draft.backends.append(f"  {scalar(backend)}:")
    draft.backends += [f"    type: {row.type}", f"    url: {scalar(row.url)}"]
    if row.key is not None:
        draft.backends.append(f"    api_key: ${{env:{row.key}}}")
    usable = [m for m in row.models if _is_usable(m) and not _NOT_CHAT.search(m)]
    comment = " # change to any model that your account has" if row.key is not None else ""
    if not usable:
        model, note = _PULL.get(row.type, ("model", "put the name of a model here"))
        usable, comment = [model], f" # {note}"
    for model in usable[:MOST_MODELS]:
        name = draft.name(model.rpartition("/")[2])
        draft.chat[model] = name
        draft.experts.append(
            f"  {scalar(name)}: {{backend: {scalar(backend)}, model: {scalar(model)}}}{comment}"
        )
    draft.experts += [f"  # also at {backend}: {model}" for model in usable[MOST_MODELS:]]


def _add_embedded(draft: _Draft, folder: Path) -> None:
    """Add the engine in this process: its base model and every adapter below the folder."""
    base = next(iter(sorted(folder.rglob("config.json"))), None)
    adapters = sorted(path.parent for path in folder.rglob("adapter_config.json"))
    if base is None:
        return
    backend = draft.name(EMBEDDED)
    draft.backends += [
        "  # Small models that run in this process: no server, no key, no GPU.",
        f"  {backend}: local",
    ]
    name = draft.name("base")
    draft.experts.append(
        f"  {name}: {{backend: {backend}, model: {scalar(_path(base.parent))},"
        " description: under the adapters}"
    )
    draft.skills["base"] = name
    for adapter in adapters:
        if _is_usable(str(adapter)):
            expert = draft.name(adapter.name)
            draft.skills[adapter.name] = expert
            draft.experts.append(
                f"  {scalar(expert)}: {{base: {name}, adapter: {scalar(_path(adapter))}}}"
            )


def _path(folder: Path) -> str:
    """Write a folder so that it is taken for one, and not for a name on a hub."""
    return folder.as_posix() if folder.is_absolute() else f"./{folder.as_posix()}"


def _skill_categories(draft: _Draft) -> Iterator[str]:
    for name, starter in SKILLS.items():
        if name in draft.skills:
            yield from _category(name, starter, [draft.skills[name], *_first(draft)])


def _chat_categories(draft: _Draft) -> Iterator[str]:
    for name, starter in GENERAL.items():
        best = [e for model, e in draft.chat.items() if starter.models.search(model)]
        ranked = list(dict.fromkeys([*best, *draft.chat.values()]))
        yield from _category(name, starter, ranked[:3])


def _first(draft: _Draft) -> list[str]:
    return list(draft.chat.values())[:1]


def _category(name: str, starter: Starter, experts: Sequence[str]) -> Iterator[str]:
    yield f"  {name}:"
    yield f"    description: {starter.description}"
    yield "    utterances:"
    yield from (f"      - {scalar(text)}" for text in starter.utterances)
    if starter.negatives:
        yield "    negatives:"
        yield from (f"      - {scalar(text)}" for text in starter.negatives)
    yield f"    experts: [{', '.join(scalar(expert) for expert in experts)}]"


def _is_usable(model: str) -> bool:
    """Whether a stranger's model name can stand in the file as it is."""
    return model.isprintable() and bool(model.strip()) and "${" not in model and len(model) < 200  # noqa: PLR2004


def _lines(lines: Sequence[str]) -> list[str]:
    return [f"{line}\n" for line in lines]
