"""The gateway and the embedded engine on a real Ray, which the test starts and ends: one node."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
RAY = ROOT / "build" / "ray"
HERE = ROOT / "deploy" / "ray"

pytestmark = [
    pytest.mark.skipif(
        not (RAY / "ray").is_dir(), reason="NO RAY: `make ray` installs it into build/ray"
    ),
    pytest.mark.timeout(300),
]


class Node:
    """The application, and what it says.

    Attributes:
        log: the file that everything else is written to: of Serve, gateways and engine.
    """

    def __init__(self, process: subprocess.Popen[str], port: int, key: str, log: Path) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}/v1"
        self.client = openai.OpenAI(base_url=self.url, api_key=key, max_retries=0)
        self.log = log

    def said(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                return answer
        raise AssertionError(self.log.read_text())

    def resident(self) -> list[str]:
        assert self.process.stdin is not None
        print("resident", file=self.process.stdin, flush=True)
        found: list[str] = self.said()["resident"]
        return found

    def ask(self, text: str, model: str = "coe/auto") -> tuple[str, str, int]:
        """Return the answer, who gave it, and in how many pieces it came."""
        raw = self.client.chat.completions.with_raw_response.create(
            model=model, messages=[{"role": "user", "content": text}], stream=True, temperature=0
        )
        pieces = [
            chunk.choices[0].delta.content
            for chunk in raw.parse()
            if chunk.choices and chunk.choices[0].delta.content
        ]
        return "".join(pieces), raw.headers["x-coe-expert"], len(pieces)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("ray")
    shipped = (ROOT / "experts.yaml").read_text(encoding="utf-8")
    text = re.sub(r"type: local.*", "type: ray", shipped).replace("experts/", f"{ROOT}/experts/")
    (folder / "experts.yaml").write_text(text, encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {name: each for name, each in os.environ.items() if not name.startswith("RAY_")}
    environment |= {
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, RAY, HERE))),
        "HOME": str(folder),  # Ray writes a token there
        "COE_STATE_DIR": str(folder / "state"),
        "COE_CACHE_DIR": "off",
        "COE_LOG_FORMAT": "json",
        "HF_HUB_OFFLINE": "1",
        "RAY_DEDUP_LOGS": "0",
    }
    asked = [sys.executable, "-m", "coe", "keys", "add", "test", "--config", "experts.yaml"]
    made = subprocess.run(
        asked, env=environment, cwd=folder, capture_output=True, text=True, check=True
    )
    (key,) = re.findall(r"coe-\S{20,}", made.stdout)
    words = [sys.executable, str(Path(__file__).with_name("ray_node.py"))]
    words += [str(folder / "experts.yaml"), str(port)]
    # Sockets of Ray have the folder in their names, which may be 107 bytes long.
    with (
        tempfile.TemporaryDirectory(prefix="ray") as short,
        (folder / "log").open("w") as log,
        subprocess.Popen(
            words,
            env=environment | {"RAY_TMPDIR": short},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        node = Node(process, port, key, folder / "log")
        assert node.said() == {"reports": False}
        yield node
        node.client.close()
        process.communicate(timeout=120)
        assert process.returncode == 0, node.log.read_text()


def a_routed_answer_is_streamed_through_serve(node: Node) -> None:
    answer, expert, pieces = node.ask("what is 17 * 24?")

    assert (expert, "408" in answer) == ("arithmetic", True), answer
    assert pieces > 3


def the_engine_holds_as_many_experts_as_it_may_and_swaps_them(node: Node) -> None:
    asked = ["sql", "facts", "python", "sql"]
    answered = [node.ask("what is the capital of Japan?", model=expert)[1] for expert in asked]

    assert answered == asked
    assert {"python", "sql"} == set(node.resident()) - {"tiny"}


def both_gateways_answer(node: Node) -> None:
    for _ in range(12):
        node.ask("what is 17 * 24?")
    lines = re.findall(r"gateway pid=(\d+)[^{]*(\{.*coe\.request.*\})", node.log.read_text())
    served = {process for process, line in lines if json.loads(line)["status"] == 200}

    assert len(served) == 2


def nobody_is_let_in_without_a_key_though_the_proxy_is_on_loopback(node: Node) -> None:
    nobody = node.client.with_options(api_key="unused")  # of the same connections: left open
    with pytest.raises(openai.AuthenticationError):
        nobody.models.list()


def what_the_engine_refuses_is_refused_as_anywhere(node: Node) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        node.ask("word " * 4000, model="sql")

    assert refused.value.code == "context_length_exceeded"


def who_leaves_makes_room(node: Node) -> None:
    stream = node.client.chat.completions.create(
        model="json", messages=[{"role": "user", "content": "hello"}], stream=True
    )
    next(iter(stream))
    stream.close()
    for expert in ("sql", "facts", "units"):  # two of them need the room of the one who left
        assert node.ask("how many feet are 12 metres", model=expert)[1] == expert

    assert "json" not in node.resident()


def an_engine_that_dies_breaks_its_streams_visibly_and_is_replaced(node: Node) -> None:
    engine = int(re.findall(r"engine-embedded pid=(\d+)", node.log.read_text())[-1])
    os.kill(engine, signal.SIGKILL)
    failed = 0
    for _ in range(40):
        try:
            answer, _, _ = node.ask("what is 17 * 24?")
        except openai.InternalServerError:  # 500 and above
            failed += 1
            time.sleep(0.5)
        else:
            assert "408" in answer
            return
    raise AssertionError(f"no engine after {failed} calls")


# One test, so that tests that run side by side start one node.
CHECKS = (
    a_routed_answer_is_streamed_through_serve,
    the_engine_holds_as_many_experts_as_it_may_and_swaps_them,
    both_gateways_answer,
    nobody_is_let_in_without_a_key_though_the_proxy_is_on_loopback,
    what_the_engine_refuses_is_refused_as_anywhere,
    who_leaves_makes_room,
    an_engine_that_dies_breaks_its_streams_visibly_and_is_replaced,
)


def test_gateways_and_an_engine_serve_on_a_node_of_ray(node: Node) -> None:
    for check in CHECKS:
        check(node)


def test_the_file_for_a_cluster_names_what_there_is() -> None:
    document = YAML(typ="safe").load((HERE / "serve.yaml").read_text(encoding="utf-8"))
    (app,) = document["applications"]
    module, _, builder = app["import_path"].partition(":")
    tree = ast.parse((HERE / f"{module}.py").read_text(encoding="utf-8"))
    wanted = next(each for each in tree.body if getattr(each, "name", "") == "Wanted")
    fields = {
        ast.unparse(each.target)
        for each in getattr(wanted, "body", ())
        if isinstance(each, ast.AnnAssign)
    }

    assert builder in {getattr(each, "name", "") for each in tree.body}
    assert app["args"].keys() <= fields
    check = "import sys, json; from ray.serve.schema import ServeDeploySchema as S;"
    check += "S.model_validate(json.load(sys.stdin))"
    done = subprocess.run(
        [sys.executable, "-c", check],
        input=json.dumps(document),
        env={**os.environ, "PYTHONPATH": str(RAY), "RAY_USAGE_STATS_ENABLED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
