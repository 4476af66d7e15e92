"""The encoder's runtime is told to call nobody before it is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ENCODER = Path("routers/artefacts/minilm")


@pytest.mark.skipif(not ENCODER.exists(), reason="the encoder was not built: run `make setup`")
def test_the_runtime_is_told_before_it_is_loaded(root: Path) -> None:
    code = (
        "import os, sys; os.environ.pop('ORT_DISABLE_TELEMETRY', None);"
        "from coe.protocols import EncoderSpec; from coe.registry import Registry;"
        "Registry().load('coe.encoders', 'minilm')(EncoderSpec(name='m', type='minilm'))"
        ".encode(['x']);"
        "print(os.environ['ORT_DISABLE_TELEMETRY'], 'onnxruntime' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "True"]
