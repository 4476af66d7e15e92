"""Nothing that comes in is run: not a request's text, not a file of weights. SEC-14, and SEC-09."""

from __future__ import annotations

import ast
import asyncio
import hashlib
import io
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coe.composition import load
from coe.errors import CoEError
from coe.mapping import store as maps
from coe.registry import Registry
from coe.settings import Settings
from coe.telemetry import Telemetry
from coe.wiring import wire
from routers import artefact

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path for name in ("coe", "routers", "deploy") for path in (ROOT / name).rglob("*.py")
)


class Malice:
    """Unpickling this makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:  # noqa: D105
        return (os.mkdir, (str(self.mark),))


def pickled(mark: Path) -> bytes:
    return pickle.dumps(Malice(mark))


def npy(mark: Path) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Malice(mark)], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def npz(mark: Path, name: str = "weights") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(f"{name}.npy", npy(mark))
    return buffer.getvalue()


MALICIOUS = [
    pickled,
    npy,
    npz,
    lambda mark: npz(mark, "card"),
    lambda mark: npz(mark, "embeddings"),
]


@pytest.mark.parametrize("made", MALICIOUS)
def test_sec_14_a_router_artefact_is_never_unpickled(
    tmp_path: Path, made: Callable[[Path], bytes]
) -> None:
    mark, file = tmp_path / "mark", tmp_path / "router.npz"
    file.write_bytes(made(mark))

    with pytest.raises(CoEError):
        artefact.read(file, kind="linear")

    assert not mark.exists()


def test_sec_14_the_malice_is_real(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    np.load(io.BytesIO(npy(mark)), allow_pickle=True)

    assert mark.is_dir()


TRAINED = """
version: 1
backends: {{up: "http://127.0.0.1:9/v1"}}
experts: {{a: up/a, b: up/b}}
encoders: {{small: {{type: hashed}}}}
routers: {{default: {{type: {kind}, {options}}}}}
categories:
  one: {{utterances: [add one, add two, add three, add four, add five], experts: [a]}}
  two: {{utterances: [sing one, sing two, sing three, sing four, sing five], experts: [b]}}
default: a
"""


def kinds_with_files() -> list[str]:
    """Return the routers of ours that read an artefact: those whose source mentions one."""
    return [
        name
        for name in Registry().names("coe.routers")
        if "artefact" in (ROOT / "routers" / f"{name}.py").read_text(encoding="utf-8").lower()
    ]


@pytest.mark.parametrize("kind", kinds_with_files())
@pytest.mark.parametrize("made", MALICIOUS[:3])
def test_sec_14_no_router_of_a_composition_unpickles_its_file(
    tmp_path: Path, kind: str, made: Callable[[Path], bytes]
) -> None:
    mark = tmp_path / "mark"
    (tmp_path / "router.npz").write_bytes(made(mark))
    file = tmp_path / "experts.yaml"
    options = {"linear": "encoder: small, model: router.npz"}.get(kind, "model: router.npz")
    file.write_text(TRAINED.format(kind=kind, options=options))

    async def serve() -> None:
        gateway = wire(load(file), Settings(config=file), Telemetry(log_requests=False))
        assert gateway.classifier is not None
        try:
            await gateway.classifier.load(patient=False)
        finally:
            gateway.classifier.close()
            for backend in gateway.backends.values():
                await backend.aclose()

    with pytest.raises(CoEError, match=r"router\.npz"):
        asyncio.run(serve())
    assert not mark.exists()


@pytest.mark.parametrize("made", MALICIOUS)
def test_sec_14_what_lies_beside_a_map_is_never_unpickled(
    tmp_path: Path, made: Callable[[Path], bytes]
) -> None:
    mark = tmp_path / "mark"
    path = tmp_path / "experts.map.json"
    beside = maps.residual_path(path)
    beside.write_bytes(made(mark))
    kept = {
        "digest": hashlib.sha256(beside.read_bytes()).hexdigest(),
        "k": 1, "weight": 1.0, "encoder": "small", "temperature": 1.0,
    }  # fmt: skip
    with pytest.raises((ValueError, KeyError, CoEError, zipfile.BadZipFile, OSError)):
        maps._residual(kept, path, 2)

    assert not mark.exists()


@pytest.mark.parametrize("file", ["pytorch_model.bin", "adapter_model.bin"])
def test_sec_14_weights_are_never_unpickled(tmp_path: Path, file: str) -> None:
    pytest.importorskip("torch")
    from coe.backends.local.options import Options
    from coe.backends.local.places import Place
    from coe.backends.local.weights import Weights

    base, adapter, mark = tmp_path / "base", tmp_path / "adapter", tmp_path / "mark"
    shutil.copytree(ROOT / "experts" / "base", base)
    shutil.copytree(ROOT / "experts" / "adapters" / "sql", adapter)
    is_base = file.startswith("pytorch")
    broken = base if is_base else adapter
    for safe in broken.glob("*.safetensors*"):
        safe.unlink()
    (broken / file).write_bytes(pickled(mark))
    place = Place(
        expert="e",
        model=str(base),
        adapter=None if is_base else str(adapter),
        hub_name=None,
        context=None,
    )
    failures: dict[str, CoEError] = {}
    weights = Weights(
        places={"e": place}, options=Options(), failures=failures, tell=lambda *_: None
    )
    with pytest.raises(CoEError):
        weights.read("e")
    assert not mark.exists()


# SEC-14 and SEC-09, over the source: what is not there cannot be reached

BANNED_CALLS = {
    "pickle.load", "pickle.loads", "marshal.loads", "shelve.open", "dill.load", "joblib.load",
    "torch.load", "os.system", "os.popen", "eval", "exec", "subprocess.run", "subprocess.Popen",
    "asyncio.create_subprocess_shell", "asyncio.create_subprocess_exec", "yaml.load",
    "yaml.unsafe_load", "jinja2.Template", "Template", "__import__",
}  # fmt: skip
BANNED_WORDS = [
    ("allow_pickle", True),
    ("shell", True),
    ("trust_remote_code", True),
    ("weights_only", False),
    ("typ", "unsafe"),
]
# Where one of them is what the thing is for. Each runs on an operator's word, never on a request's.
ALLOWED = {
    ("coe/scoring/sandbox.py", "asyncio.create_subprocess_exec"),  # code that `coe score` tries
    ("coe/scoring/sandbox_child.py", "exec"),  # in the process that is confined for it
}
# What is put into the text of a statement, and comes from constants.
INSERTED = {
    "coe/stores/batches.py": {"status"},  # one of four words
    "coe/stores/files.py": {"rule", "order"},  # of two constants each
    "coe/stores/sqlite.py": {"form.mark", "form.version"},  # a PRAGMA takes no parameters
    # as many question marks as there are values; a PRAGMA
    "routers/store.py": {"marks", "APPLICATION", "LAYOUT"},
}


def name_of(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def problems_of(tree: ast.AST, place: str) -> Iterator[str]:
    """Yield what a module does that none may, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = name_of(node.func)
            wrong = [
                *([called] if called in BANNED_CALLS and (place, called) not in ALLOWED else []),
                *(words for words in BANNED_WORDS if words in words_of(node)),
                *_left_unsaid(called, {word.arg for word in node.keywords}),
                *_sql_of(called, node, INSERTED.get(place, set())),
            ]
            yield from (f"{place}:{node.lineno}: {each}" for each in wrong)


def words_of(node: ast.Call) -> set[tuple[str | None, object]]:
    """Return the arguments by name whose values are written there."""
    return {
        (word.arg, word.value.value)
        for word in node.keywords
        if isinstance(word.value, ast.Constant)
    }


def _left_unsaid(called: str, said: set[str | None]) -> Iterator[str]:
    """Yield what has to be refused by name, because a library's default is not ours to trust."""
    if called.endswith(("np.load", "numpy.load", "read_array")) and "allow_pickle" not in said:
        yield f"{called} without allow_pickle=False"
    is_of_a_hub = called.startswith("Auto") and called.endswith(".from_pretrained")
    if is_of_a_hub and "trust_remote_code" not in said:
        yield f"{called} without trust_remote_code=False"


def _sql_of(called: str, node: ast.Call, ours: set[str]) -> Iterator[str]:
    """Yield what is put into a statement's text that is not known to be ours."""
    if not called.endswith((".execute", ".executemany", ".executescript")) or not node.args:
        return
    statement = node.args[0]
    if isinstance(statement, ast.BinOp) or name_of(getattr(statement, "func", statement)).endswith(
        ".format"
    ):
        yield "SQL that is put together"
    for part in ast.walk(statement) if isinstance(statement, ast.JoinedStr) else ():
        if isinstance(part, ast.FormattedValue) and ast.unparse(part.value) not in ours:
            yield f"SQL with {ast.unparse(part.value)} put into it"


def test_sec_14_no_source_runs_what_it_reads() -> None:
    assert len(SOURCES) > 200
    found = [
        problem
        for path in SOURCES
        for problem in problems_of(
            ast.parse(path.read_text(encoding="utf-8")), path.relative_to(ROOT).as_posix()
        )
    ]

    assert found == []


@pytest.mark.parametrize(
    "wrong",
    [
        "pickle.load(f)",
        "np.load(f)",
        "np.load(f, allow_pickle=True)",
        "torch.load(f)",
        "eval(text)",
        "AutoModel.from_pretrained(x)",
        "AutoModel.from_pretrained(x, trust_remote_code=True)",
        "c.execute(f'SELECT {x}')",
        "c.execute('SELECT ' + x)",
        "c.execute('SELECT %s' % x)",
        "c.execute('SELECT {}'.format(x))",
        "subprocess.run(x, shell=True)",
        "YAML(typ='unsafe')",
    ],
)
def test_sec_14_the_search_finds_it(wrong: str) -> None:
    assert list(problems_of(ast.parse(wrong), "x.py"))
