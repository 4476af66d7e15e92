"""The Dockerfile says what it should. Nobody builds it here: there is no Docker."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from coe import __version__
from coe.settings import Settings

DEPLOY = Path(__file__).parents[2] / "deploy"
DOCKERFILE = DEPLOY / "Dockerfile"
LINES = re.compile(r"\\\n")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One instruction, its lines joined."""

    stage: int
    word: str
    rest: str


def steps() -> list[Step]:
    text = "\n".join(
        line for line in DOCKERFILE.read_text(encoding="utf-8").splitlines() if line[:1] != "#"
    )
    found: list[Step] = []
    stage = 0
    for line in LINES.sub(" ", text).splitlines():
        word, _, rest = line.strip().partition(" ")
        stage += word == "FROM"
        if word:
            found.append(Step(stage=stage, word=word, rest=" ".join(rest.split())))
    return found


STEPS = steps()
FINAL = [step for step in STEPS if step.stage == max(each.stage for each in STEPS)]


def final(word: str) -> list[str]:
    return [step.rest for step in FINAL if step.word == word]


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_base_images_are_one_and_pinned_to_a_patch_release() -> None:
    bases = {step.rest.split(" AS ")[0] for step in STEPS if step.word == "FROM"}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", bases.pop())


def test_sec_26_pip_takes_wheels_of_a_lock_or_the_sources_that_were_copied() -> None:
    calls = [
        call
        for step in STEPS
        if step.word == "RUN"
        for call in re.split(r"&& ", step.rest)
        if re.match(r"pip .*install ", call) and "uninstall" not in call
    ]
    assert len(calls) == 3
    for call in calls:
        assert "--no-index ." in call or "--only-binary :all: --no-deps --require-hashes" in call


def test_the_last_stage_installs_nothing_and_runs_as_nobody_in_particular() -> None:
    runs = " ".join(final("RUN"))
    assert not re.search(r"\binstall (?!-d)|apt-get|curl|wget", runs)
    assert "pip uninstall -y setuptools wheel pip" in runs
    (user,) = final("USER")
    assert all(int(number) > 1000 for number in user.split(":"))
    words = [step.word for step in FINAL]
    assert words.index("USER") > max(at for at, word in enumerate(words) if word in {"RUN", "COPY"})


def test_what_it_writes_goes_to_its_volumes() -> None:
    environment = dict(re.findall(r"(\w+)=(\S+)", " ".join(final("ENV"))))
    named = {name for name in environment if name.startswith("COE_")}
    assert named <= {f"COE_{name.upper()}" for name in Settings.model_fields}
    (volumes,) = final("VOLUME")
    assert json.loads(volumes) == [environment["COE_STATE_DIR"], environment["COE_CACHE_DIR"]]
    made = " ".join(final("RUN"))
    assert all(folder in made for folder in json.loads(volumes))


def test_nothing_is_told_to_the_makers_of_its_libraries() -> None:
    assert "ORT_DISABLE_TELEMETRY=1" in " ".join(final("ENV"))


def test_the_ports_agree_and_it_is_asked_whether_it_lives() -> None:
    port, metrics = final("EXPOSE")[0].split()
    assert port != metrics
    command = json.loads(final("ENTRYPOINT")[0])
    assert command[:2] == ["coe", "serve"]
    assert command[command.index("--port") + 1] == port
    (check,) = final("HEALTHCHECK")
    assert f"http://127.0.0.1:{port}/health/live" in check
    assert final("STOPSIGNAL") == ["SIGTERM"]


def test_its_version_is_the_gateways() -> None:
    assert final("ARG") == [f"VERSION={__version__}"]


def test_the_context_holds_what_is_copied_and_starts_from_nothing() -> None:
    rules = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert next(rule for rule in rules if rule[:1] != "#") == "*"
    copied = {
        name.rstrip("/")
        for step in STEPS
        if step.word == "COPY" and "--from" not in step.rest
        for name in step.rest.split()[:-1]
    }
    let_in = {rule[1:] for rule in rules if rule[:1] == "!"}
    assert {re.sub(r"/[\w-]+\.lock$", "/*.lock", name) for name in copied} == let_in
    assert all((DEPLOY.parent / name).exists() for name in copied)
