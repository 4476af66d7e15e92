"""The architecture is a test: import rules and import weight."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    "torch",
    "transformers",
    "peft",
    "litellm",
    "faiss",
    "sentence_transformers",
    "sklearn",
    "onnxruntime",
)
LOADED = f"import sys; heavy = set({HEAVY!r}) & set(sys.modules); assert not heavy, heavy"


def python(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "module",
    ["coe", "coe.cli", "coe.pipeline", "coe.wiring", "coe.api.app", "coe.cli.serve", "coe.testing"],
)
def test_the_gateway_imports_nothing_heavy(module: str) -> None:
    python(f"import {module}; {LOADED}")


def test_help_imports_nothing_heavy_and_no_web_framework() -> None:
    python(
        "import sys; sys.argv = ['coe', '--help']\n"
        "from coe.cli import app\n"
        "try: app()\n"
        "except SystemExit: pass\n"
        f"{LOADED}; assert 'fastapi' not in sys.modules; assert 'numpy' not in sys.modules"
    )


def test_assignment_and_the_stopping_rule_load_no_numpy() -> None:
    python(
        "import coe.experiments.assign, coe.experiments.rule, coe.experiments.categories\n"
        "import sys; assert not {'numpy', 'scipy'} & set(sys.modules)"
    )


# `turns` waits for the classifier and `sessions` asks a clock that it is given; neither does more.
PURE = (
    *("types", "errors", "protocols", "decide", "planner", "sse", "fold"),
    *("conversation", "sessions", "turns", "drafts", "extract", "options"),
    *("aggregators/answers", "aggregators/gathering", "aggregators/fences", "aggregators/judging"),
    *("aggregators/vote", "aggregators/best_of", "aggregators/synthesize", "aggregators/concat"),
    *("aggregators/first_good", "aggregators/conditions", "aggregators/draft_refine"),
    *("scheduler/state", "scheduler/residency", "scheduler/turns", "scheduler/rooms"),
    *("scheduler/queues", "scheduler/policies", "scheduler/memory", "scheduler/options"),
    *("scheduler/parking", "scheduler/simulate", "scheduler/measures"),
    *("experiments/assign", "experiments/summary", "experiments/effect", "experiments/quantiles"),
    *("experiments/sequential", "experiments/samples", "experiments/fixed", "experiments/cuped"),
    *("experiments/crossing", "experiments/spending", "experiments/correction"),
    *("experiments/categories", "experiments/power", "experiments/guardrails"),
    *("experiments/plan", "experiments/verdict", "experiments/rule"),
)
IMPURE = {"asyncio", "socket", "fastapi", "starlette", "aiohttp", "httpx", "redis", "threading"}


@pytest.mark.parametrize("module", PURE)
def test_pure_modules_know_no_io(module: str, root: Path) -> None:
    tree = ast.parse((root / "coe" / f"{module}.py").read_text())
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported.add(node.module.split(".")[0])

    assert not imported & IMPURE


def test_frameworks_stay_where_they_belong(root: Path) -> None:
    homes = {
        "fastapi": ("coe/api",),
        "starlette": ("coe/api",),
        "aiohttp": ("coe/backends", "coe/testing"),
        "httpx2": ("coe/backends", "coe/testing"),
        "litellm": ("coe/backends/litellm.py",),
        "torch": ("coe/backends/local", "routers"),
        "sentence_transformers": ("routers",),
    }
    strays = []
    for path in [*root.glob("coe/**/*.py"), *root.glob("routers/**/*.py")]:
        name = path.relative_to(root).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules = [node.module or ""]
            for module in modules:
                home = homes.get(module.split(".")[0])
                if home and not name.startswith(home):
                    strays.append(f"{name}:{node.lineno} imports {module}")

    assert not strays


def test_no_module_is_named_after_nothing(root: Path) -> None:
    banned = {"utils", "helpers", "common", "manager", "service", "misc"}
    stems = {path.stem for path in [*root.glob("coe/**/*.py"), *root.glob("routers/**/*.py")]}

    assert not stems & banned


def test_import_contracts_hold(root: Path) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports"))],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
