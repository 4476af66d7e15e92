"""The embedded engine: Hugging Face causal LMs and LoRA adapters in this process.

Read `loop.py` first. The event loop's side (`backend`, `engine`) and the pure parts (`request`,
`text`, `frames`, `row`, `places`) import no torch; the engine's threads (`loop`, `reader`,
`batch`, `weights`, `lora`, `sampling`) do, when the first call or `start` needs it.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from coe.backends.local import options
from coe.backends.local.backend import LocalBackend
from coe.backends.local.engine import Engine
from coe.backends.local.places import find
from coe.errors import PluginError
from coe.protocols import BackendSpec

__all__ = ["LocalBackend", "build"]

_LIBRARIES = ("torch", "transformers", "peft")


def build(spec: BackendSpec) -> LocalBackend:
    """Build the backend; nothing heavy is imported and no weights are read.

    Raises:
        ConfigError: an unknown option or a bad value; an ArtefactError for a folder that is not
            there; a PluginError where the libraries are not installed.
    """
    chosen = options.read(spec.name, spec.options)
    folder = Path(spec.folder)
    places = {site.expert: find(site, folder) for site in spec.experts}
    missing = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise PluginError(
            f"backend {spec.name!r} needs {', '.join(missing)}: "
            "install the extra with `pip install 'coe-gateway[local]'`"
        )
    return LocalBackend(spec.name, Engine(spec.name, places, chosen), tuple(places), folder)
