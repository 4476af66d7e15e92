"""From a Hugging Face name to a folder: the local cache first, then the network.

Blocking, and run in a thread of its own: a hub that cannot be reached takes most of a minute to
say so, and an expert that is being downloaded must not hold up those that answer.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from coe.backends.local.places import Place, weight_files
from coe.errors import ExpertLoadFailed

_TEXTS = ("*.json", "*.model", "*.txt", "*.jinja")
# Some repositories hold their weights twice, in the format of the original trainer.
_COPIES = ("original/*", "consolidated*")


def fetched(place: Place) -> Place:
    """Return the place with folders for names.

    Raises:
        ExpertLoadFailed: not in the cache, and the hub cannot be reached or has no such name.
    """
    try:
        model = _folder(place.model, "config.json")
        adapter = place.adapter and _folder(place.adapter, "adapter_config.json")
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        names = " or ".join(name for name in (place.model, place.adapter) if name)
        raise ExpertLoadFailed(
            f"expert {place.expert!r}: {names} is neither a folder here nor in the Hugging Face "
            f"cache, and cannot be fetched ({reason}); name a folder, or fill the cache online"
        ) from error
    return dataclasses.replace(place, model=model, adapter=adapter)


def _folder(source: str, config: str) -> str:
    if Path(source).is_absolute():
        return source
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        cached = Path(snapshot_download(source, local_files_only=True))
        if (cached / config).is_file() and weight_files(cached):
            return str(cached)
    except LocalEntryNotFoundError:
        pass
    for weights in ("*.safetensors", "*.bin"):
        patterns = [*_TEXTS, weights]
        found = snapshot_download(source, allow_patterns=patterns, ignore_patterns=[*_COPIES])
        if weight_files(Path(found)):
            return str(found)
    raise FileNotFoundError(f"{source} holds no weights")
