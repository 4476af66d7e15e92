"""What is installed, and what it does by being imported: SEC-03, 26, 28 and 29."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Mapping
from importlib.metadata import distributions, requires, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ENTRY = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(lock: Path) -> dict[str, str]:
    return {canonical(name): at for name, at in ENTRY.findall(lock.read_text(encoding="utf-8"))}


# SEC-03: Starlette rebuilt addresses from what a client said, before 1.0.1 (CVE-2026-48710)

SAFE = Version("1.0.1")


def test_sec_03_no_framework_that_is_asked_for_installed_or_locked_is_older() -> None:
    asked = {
        requirement.name: requirement.specifier
        for requirement in map(Requirement, PROJECT["project"]["dependencies"])
    }
    fastapis = [
        requirement.specifier
        for requirement in map(Requirement, requires("fastapi") or ())
        if requirement.name == "starlette"
    ]

    assert not asked["starlette"].contains("1.0.0")
    assert not any(specifier.contains("1.0.0") for specifier in fastapis)
    assert Version(version("starlette")) >= SAFE
    assert Version(version("fastapi")) in asked["fastapi"]
    assert Version(locked(ROOT / "requirements" / "serve.lock")["starlette"]) >= SAFE


# SEC-26: nothing is installed that was not reviewed, and nothing runs by being there

# Files that Python runs at every start, of packages that are known to have them. None of them is in
# the image: the last stage of deploy/Dockerfile has no setuptools, and coverage is for the tests.
START_FILES = {
    "setuptools": {"distutils-precedence.pth"},
    "coverage": {"a1_coverage.pth"},
}
RUN_AT_START = re.compile(r"(?:.*\.pth|(?:site|user)customize(?:/__init__)?\.py)")


def started(files: list[str]) -> set[str]:
    return {name for name in files if RUN_AT_START.fullmatch(name)}


def test_sec_26_no_installed_package_is_run_at_every_start() -> None:
    found = {}
    for package in distributions():
        name = canonical(package.metadata["Name"])
        files = started([file.as_posix() for file in package.files or ()])
        known = START_FILES.get(name, set())
        if name == "coe-gateway":  # the one that development makes; a wheel has none, see below
            known = {file for file in files if file.startswith("__editable__")}
        if files - known:
            found[name] = files - known

    assert found == {}


@pytest.mark.parametrize(("folder", "target"), [("ray", "ray"), ("sbom/tool", "sbom")])
def test_sec_26_nor_is_what_lies_beside_them(folder: str, target: str) -> None:
    beside = ROOT / "build" / folder
    if not beside.is_dir():
        pytest.skip(f"NOT CHECKED: build/{folder} is not there (`make {target}`)")
    names = [path.relative_to(beside).as_posix() for path in beside.iterdir()]

    assert len(names) > 10
    assert started(names) == set()


def test_sec_26_our_own_wheel_is_only_our_packages(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("LICENSE", "README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, source)
    ignored = shutil.ignore_patterns("__pycache__", "artefacts", "build")
    for name in ("coe", "routers"):
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    command += ["--no-index", "--wheel-dir", str(tmp_path), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()

    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"coe", "routers"}
    assert started([name.rpartition("/")[2] for name in names]) == set()


def test_sec_26_the_search_finds_what_stealers_used() -> None:
    files = ["litellm_init.pth", "sitecustomize.py", "usercustomize/__init__.py", "coe/cli.py"]

    assert started(files) == set(files[:3])


# In a network of its own, which has no way out; and whoever tries one ends the process.
WATCH = """
import sys
TRIES = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr",
         "socket.sendto", "socket.sendmsg", "urllib.Request", "http.client.connect",
         "subprocess.Popen", "os.system"}
def hear(event, args):
    if event in TRIES:
        sys.stderr.write(f"TRIED {event} {args!r}")
        sys.stderr.flush()
        import os
        os._exit(86)
sys.addaudithook(hear)
"""
EVERY_MODULE = """
import importlib, pkgutil
import coe, routers
named = [module.name for package in (coe, routers)
         for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
         if not module.name.endswith("__main__") and "sandbox_child" not in module.name]
assert len(named) > 250, len(named)
for name in named:
    importlib.import_module(name)
"""
COMMAND = "import runpy; sys.argv = {}; runpy.run_module('coe', run_name='__main__')"


def isolated(code: str, *, environment: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run a program where there is no network, if this machine lets us; always watched."""
    words = [sys.executable, "-c", WATCH + code]
    unshare = shutil.which("unshare")
    if unshare is not None:
        apart = [unshare, "--net", "--map-root-user"]
        if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode == 0:
            words = [*apart, *words]
    done = subprocess.run(
        words,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    "code",
    [
        "import coe",
        EVERY_MODULE,
        COMMAND.format(["coe", "--help"]),
        COMMAND.format(["coe", "check", "experts.yaml"]),
    ],
    ids=["import coe", "import all of it", "coe --help", "coe check"],
)
def test_sec_26_importing_opens_no_connection(code: str) -> None:
    status, said = isolated(code)

    assert "TRIED" not in said
    assert status == 0, said


@pytest.mark.parametrize(
    "code",
    [
        "import socket; socket.create_connection(('127.0.0.1', 9))",
        "import urllib.request as r; r.urlopen('http://models.example/x')",
        "import subprocess; subprocess.run(['true'])",
    ],
)
def test_sec_26_the_watch_would_see_it(code: str) -> None:
    status, said = isolated(code)

    assert (status, "TRIED" in said) == (86, True)


# SEC-28: litellm, whose releases 1.82.7 and 1.82.8 stole keys


def test_sec_28_litellm_is_an_extra_of_known_good_versions() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    (range_of,) = [Requirement(line).specifier for line in extras["litellm"]]
    everywhere = [*PROJECT["project"]["dependencies"], *(
        line for name, lines in extras.items() if name != "litellm" for line in lines
    )]  # fmt: skip

    for bad in ("1.82.7", "1.82.8", "1.83.9"):
        assert not range_of.contains(bad)
    assert {"!=1.82.7", "!=1.82.8"} <= {str(one) for one in range_of}
    assert range_of.contains("1.84.0")
    assert not any("litellm" in line for line in everywhere)
    assert not any("litellm" in locked(lock) for lock in LOCKS)


STAND_IN = """
import os
assert os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] == "True", "it would fetch its prices"
telemetry = True
"""


def test_sec_28_litellm_is_loaded_when_it_is_used_and_fetches_no_prices(tmp_path: Path) -> None:
    (tmp_path / "litellm.py").write_text(STAND_IN)
    code = (
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "from coe.backends import litellm as ours\n"
        "from coe.protocols import BackendSpec\n"
        "import coe.cli.serve\n"
        "ours.build(BackendSpec(name='any', type='litellm'))\n"
        "assert 'litellm' not in sys.modules\n"
        "assert ours._imported().telemetry is False\n"
        "assert 'litellm' in sys.modules\n"
    )
    status, said = isolated(code, environment={"LITELLM_LOCAL_MODEL_COST_MAP": "False"})

    assert status == 0, said


# SEC-29: a way to report in private, and a list of what is in a release

SECURITY = ROOT / "SECURITY.md"
TOOL = ROOT / "build" / "sbom" / "tool"


@pytest.mark.parametrize(
    "heading",
    [
        "Report a vulnerability",
        "Supported versions",
        "What happens then",
        "Who is trusted with what",
        "What `coe score` runs",
        "Hardening",
        "Releases",
    ],
)
def test_sec_29_there_is_a_way_to_report_and_a_threat_model(heading: str) -> None:
    text = SECURITY.read_text(encoding="utf-8")
    section = re.search(
        rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL
    )

    assert section is not None
    assert len(section[1].split()) > 30


def test_sec_29_what_it_names_is_there() -> None:
    text = SECURITY.read_text(encoding="utf-8")
    named = set(re.findall(r"\]\(([^)#:]+)", text))
    settings = set(re.findall(r"COE_[A-Z_]+", text))
    from coe.settings import Settings

    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
    assert settings <= {f"COE_{name.upper()}" for name in Settings.model_fields}


def test_sec_29_the_list_of_parts_is_what_the_image_installs(tmp_path: Path) -> None:
    if not TOOL.is_dir():
        pytest.skip("NOT CHECKED: build/sbom/tool is not there (`make sbom`)")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    (recipe,) = re.findall(r"PYTHONPATH=build/sbom/tool \$\(BIN\)/python (.*)\$@", makefile)
    lock = ROOT / "requirements" / "serve.lock"
    file = tmp_path / "coe.cdx.json"
    subprocess.run(
        [sys.executable, *recipe.split(), str(file)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(TOOL)},
        capture_output=True,
        check=True,
    )
    bom: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    parts = {canonical(part["name"]): part for part in bom["components"]}

    assert bom["bomFormat"] == "CycloneDX"
    assert bom["metadata"]["component"]["name"] == "coe-gateway"
    assert {name: part["version"] for name, part in parts.items()} == locked(lock)
    for part in parts.values():
        hashes = [each for where in part["externalReferences"] for each in where.get("hashes", ())]
        assert part["purl"].startswith("pkg:pypi/")
        assert {each["alg"] for each in hashes} == {"SHA-256"}
