from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.errors import ConfigError
from coe.protocols import EncoderSpec
from routers.encoders.hashed import HashedEncoder, build

PROGRAM = """
from routers.encoders.hashed import HashedEncoder
vectors = HashedEncoder(name="h", dim=64).encode(["how many feet are 12 metres, caf\\u00e9"])
print(vectors.tobytes().hex())
"""


@pytest.mark.parametrize("seed", ["0", "1"])
def test_another_process_gives_the_same_vector(seed: str) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": seed}

    printed = subprocess.run(
        [sys.executable, "-c", PROGRAM], check=True, capture_output=True, env=environment
    ).stdout

    here = HashedEncoder(name="h", dim=64).encode(["how many feet are 12 metres, café"])
    assert printed.decode().strip() == here.tobytes().hex()


def test_a_text_with_shared_words_is_nearer() -> None:
    text, near, far = HashedEncoder(name="h").encode(
        ["how many feet are 12 metres", "how many foot is a metre", "write a poem about rain"]
    )

    assert text @ near > text @ far + 0.2


def test_case_and_spacing_do_not_matter() -> None:
    one, two = HashedEncoder(name="h").encode(["Hello  World", "hello world\n"])

    assert one == pytest.approx(two)


@given(st.lists(st.text(st.characters(categories=None)), max_size=5))
def test_any_string_has_a_unit_vector(texts: list[str]) -> None:
    vectors = HashedEncoder(name="h", dim=32).encode(texts)

    assert vectors.shape == (len(texts), 32)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(texts)), abs=1e-5)


def test_a_long_text_costs_no_more_than_its_window() -> None:
    encoder = HashedEncoder(name="h")
    start = time.perf_counter()

    encoder.encode(["word " * 200_000])

    assert time.perf_counter() - start < 0.5


def test_dim_is_an_option() -> None:
    assert build(EncoderSpec(name="h", type="hashed", options={"dim": 100})).dim == 100
    with pytest.raises(ConfigError, match=r"encoders\.h\.dim: expected a whole number from 16"):
        build(EncoderSpec(name="h", type="hashed", options={"dim": 1}))
