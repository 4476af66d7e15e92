"""From LiteLLM's file to answers: import, check, serve, ask by the old name."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from .conftest import Start

Coe = Callable[..., subprocess.CompletedProcess[str]]

CONFIG = """
model_list:
  - model_name: gpt-old
    litellm_params: {{model: hosted_vllm/ok, api_base: "{url}", api_key: sk-a-literal-key}}
  - model_name: shaky
    litellm_params: {{model: hosted_vllm/error-503, api_base: "{url}", api_key: os.environ/UP}}
  - model_name: "*"
    litellm_params: {{model: "openai/*"}}
litellm_settings: {{fallbacks: [{{shaky: [gpt-old]}}], drop_params: true}}
"""


@pytest.fixture
def upstream() -> Iterator[str]:
    """Start the fake upstream as a process; yields its address."""
    with subprocess.Popen(
        [sys.executable, "-m", "coe.testing.upstream", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found
        yield found[0]
        process.terminate()


def test_a_litellm_file_serves_its_clients(
    coe: Coe, start: Start, client: httpx2.Client, upstream: str, tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG.format(url=upstream))
    secrets = {"HOSTED_VLLM_API_KEY": "sk-a-literal-key", "UP": "sk-other"}

    imported = coe("import", "litellm", "config.yaml", cwd=tmp_path)
    assert imported.returncode == 0, imported.stderr
    checked = coe("check", cwd=tmp_path, **secrets)
    assert checked.returncode == 0, checked.stderr
    assert "2 experts, 1 categories" in checked.stdout

    server = start(env=secrets)
    server.wait_ready(client)
    answers = {
        model: client.post(
            f"{server.url}/v1/chat/completions",
            json={"model": model, "messages": [{"role": "user", "content": "hello"}]},
        )
        for model in ("gpt-old", "shaky")
    }

    for answer in answers.values():
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-coe-expert"] == "gpt-old"
    assert answers["gpt-old"].headers["x-coe-attempts"] == "1"
    assert answers["shaky"].headers["x-coe-attempts"] == "2"
