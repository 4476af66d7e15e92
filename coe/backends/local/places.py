"""Where an expert's weights are: folders that are checked at once, names that a hub knows.

No torch here: a missing folder is told before anything heavy is imported.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from coe.errors import ArtefactError
from coe.protocols import ExpertSite

_WEIGHTS = ("*.safetensors", "*.bin")
_SAMPLE = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the engine finds one expert.

    Attributes:
        model: an absolute path, or a Hugging Face name.
        adapter: the same for the LoRA adapter; None for the model as it is.
        hub_name: what the model is called on the hub; None where the composition names a folder.
        context: the limit that the composition sets, in tokens.
    """

    expert: str
    model: str
    adapter: str | None
    hub_name: str | None
    context: int | None

    @property
    def is_local(self) -> bool:
        """Whether everything is in folders here."""
        return all(Path(source).is_absolute() for source in (self.model, self.adapter) if source)


def find(site: ExpertSite, folder: Path) -> Place:
    """Resolve the site's paths against the folder and check that weights are there.

    Raises:
        ArtefactError: a path with nothing behind it, or a folder that holds something else.
    """
    model = _resolve(site.expert, "model", site.model, folder)
    adapter = _resolve(site.expert, "adapter", site.adapter, folder) if site.adapter else None
    hub_name = None if Path(model).is_absolute() else model
    return Place(
        expert=site.expert, model=model, adapter=adapter, hub_name=hub_name, context=site.context
    )


def fingerprint(folder: str) -> str:
    """Return a hash that changes with the weights in a folder.

    Reads the size, the first and the last 64 KiB of each file: training changes every tensor, and
    a large model must not be read twice to be named.
    """
    digest = hashlib.sha256()
    for file in weight_files(Path(folder)):
        size = file.stat().st_size
        digest.update(f"{file.name}:{size}".encode())
        with file.open("rb") as stream:
            digest.update(stream.read(_SAMPLE))
            stream.seek(max(0, size - _SAMPLE))
            digest.update(stream.read(_SAMPLE))
    return digest.hexdigest()


def weight_files(folder: Path) -> list[Path]:
    """Return the folder's files of weights, in order."""
    return sorted(file for pattern in _WEIGHTS for file in folder.glob(pattern))


def other_base(place: Place, base: str | None) -> bool:
    """Return whether an adapter was surely made for a base that is not the place's model.

    Args:
        place: where the adapter and the base are; local.
        base: the adapter's own `base_model_name_or_path`. A path on the machine that trained it
            proves nothing and passes; another hub name does not, nor does a folder (absolute, or
            relative to the adapter's) that is here and holds other weights.
    """
    if not base or base.lower() == (place.hub_name or "").lower():
        return False
    folder = Path(place.adapter or "", os.path.expanduser(base))  # noqa: PTH111 - as below
    if weight_files(folder):
        return fingerprint(str(folder)) != fingerprint(place.model)
    return place.hub_name is not None and not _is_path(base, Path())


def _resolve(expert: str, key: str, name: str, folder: Path) -> str:
    path = folder / os.path.expanduser(name)  # noqa: PTH111 - pathlib's raises for an unknown user
    if path.is_dir():
        _check_contents(expert, key, path)
        return str(path.resolve())
    if path.is_file():
        raise ArtefactError(
            f"expert {expert!r}: {key} {name} is a file; expected the folder that holds it"
        )
    if _is_path(name, folder):
        raise ArtefactError(
            f"expert {expert!r}: there is no {key} folder {name} (looked for {path.absolute()}); "
            "fix the path, or train or copy the weights to it"
        )
    return name


def _is_path(name: str, folder: Path) -> bool:
    """Tell a path from a hub's name, which is `name` or `owner/name`."""
    parts = name.split("/")
    looks_like_path = name.startswith((".", "~", "/")) or "\\" in name or len(parts) > 2  # noqa: PLR2004
    return (
        looks_like_path or name.endswith("/") or (len(parts) > 1 and (folder / parts[0]).is_dir())
    )


def _check_contents(expert: str, key: str, path: Path) -> None:
    config = "adapter_config.json" if key == "adapter" else "config.json"
    if not (path / config).is_file():
        hint = ""
        if key == "model" and (path / "adapter_config.json").is_file():
            hint = "; this is an adapter: name its base as the model and this folder as the adapter"
        raise ArtefactError(f"expert {expert!r}: {key} folder {path} holds no {config}{hint}")
    if not weight_files(path):
        raise ArtefactError(
            f"expert {expert!r}: {key} folder {path} holds no weights (*.safetensors); "
            "train or copy them to it"
        )
