"""The documentation is in step with the code, and what it shows works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest
from ruamel.yaml import YAML
from typer.main import get_command

from coe import composition
from coe.cli import app
from coe.cli.asked import KEY
from coe.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("docs/**/*.md"), *ROOT.glob("*.md"), ROOT / "deploy" / "README.md"])
FENCE = re.compile(r"^```(?P<head>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|mailto:)(?P<path>[^)#\s]*)(?:#(?P<anchor>[^)\s]+))?\)")
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: ```language word word."""

    page: Path
    line: int
    language: str
    words: tuple[str, ...]
    text: str

    @property
    def file(self) -> str | None:
        """The file that a block `file=NAME` stands for."""
        names = [word.removeprefix("file=") for word in self.words if word.startswith("file=")]
        return names[0] if names else None

    def __str__(self) -> str:
        """Where it stands; the test's id."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks() -> Iterator[Block]:
    for page in PAGES:
        content = page.read_text(encoding="utf-8")
        for found in FENCE.finditer(content):
            language, *words = found["head"].split() or [""]
            line = content.count("\n", 0, found.start()) + 1
            yield Block(page, line, language, tuple(words), found["text"])


BLOCKS = list(blocks())
# A composition with a name belongs to an example that brings plugins of its own and runs with them.
COMPOSITIONS = [
    b for b in BLOCKS if b.language == "yaml" and "version: 1" in b.text and b.file is None
]
FRAGMENTS = [b for b in BLOCKS if b.language == "yaml" and "version: 1" not in b.text]
COMMANDS = [
    pytest.param(line.split(), id=f"{block}: {line.strip()}")
    for block in BLOCKS
    if block.language == "sh"
    for line in re.findall(r"(?:^|&& )(?:\.venv/bin/)?(coe [^\n#&|>]*)", block.text, re.MULTILINE)
]
RUNNABLE = sorted({b.page for b in BLOCKS if "runnable" in b.words or b.file is not None})
INSTALLED = "installed"
RUNNERS = {"python": (sys.executable, "-W", "error"), "sh": ("sh", "-e")}


def test_the_generated_pages_are_in_step_with_the_code() -> None:
    run([sys.executable, "-m", "docs.generate", "--check"], ROOT)


@pytest.mark.parametrize("block", COMPOSITIONS, ids=str)
def test_a_composition_in_the_docs_loads(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in re.findall(r"\$\{env:(\w+)\}", block.text):
        monkeypatch.setenv(variable, "a-value")
    file = tmp_path / "experts.yaml"
    file.write_text(block.text, encoding="utf-8")

    assert composition.load(file).default


@pytest.mark.parametrize("block", FRAGMENTS, ids=str)
def test_a_part_of_a_composition_in_the_docs_has_the_right_keys(block: Block) -> None:
    schema = {**composition.json_schema(), "required": []}

    jsonschema.validate(YAML(typ="safe").load(block.text), schema)


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.name)
def test_an_example_that_says_so_runs(page: Path, tmp_path: Path) -> None:
    own = [block for block in BLOCKS if block.page == page]
    for block in own:
        if block.file is not None:
            tmp_path.joinpath(block.file).write_text(block.text, encoding="utf-8")
    if (project := tmp_path / "pyproject.toml").exists():
        install(project)
    for number, block in enumerate(own):
        if "runnable" in block.words:
            script = tmp_path / f"__{number}__"
            script.write_text(block.text, encoding="utf-8")
            run([*RUNNERS[block.language], script.name], tmp_path)
    for test in tmp_path.glob("test_*.py"):
        run([*RUNNERS["python"], "-m", "pytest", "-q", "-p", "no:cacheprovider", test], tmp_path)


def run(command: Sequence[str | Path], folder: Path) -> None:
    """Run a command that finds ours and what is installed in the folder."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(folder / INSTALLED)}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def install(project: Path) -> None:
    """Install a project as a user would, but from this machine alone and beside our own."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    alone = ["--no-deps", "--no-index", "--no-build-isolation", "--target", INSTALLED]
    run([*pip, *alone, "."], project.parent)


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_in_the_docs_exists(words: list[str]) -> None:
    commands = vars(get_command(app))["commands"]
    name, *rest = words[1:]
    assert name in commands or name == "--help"
    if name in commands:
        command = commands[name]
        if inner := vars(command).get("commands"):
            assert rest
            assert rest[0] in inner
            command = inner[rest[0]]
        known = {"--help"}.union(*(parameter.opts for parameter in command.params))
        used = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert used <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_link_between_pages_leads_somewhere(page: Path) -> None:
    broken = []
    for link in LINK.finditer(FENCE.sub("", page.read_text(encoding="utf-8"))):
        target = (page.parent / link["path"]).resolve() if link["path"] else page
        anchor = link["anchor"]
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link[0])

    assert not broken


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    headings = HEADING.findall(FENCE.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_setting_in_the_docs_exists() -> None:
    known = {KEY, *(f"COE_{name}".upper() for name in Settings.model_fields)}
    used = set()
    for page in PAGES:
        used |= set(re.findall(r"\bCOE_[A-Z_]+[A-Z]\b", page.read_text(encoding="utf-8")))

    assert used <= known


def test_every_header_in_the_docs_is_one_that_we_send_or_read() -> None:
    named = ("claim.py", "types.py", "policies/wishes.py")
    files = [*ROOT.glob("coe/api/*.py"), *(ROOT / "coe" / name for name in named)]
    known = "".join(file.read_text(encoding="utf-8") for file in files)
    used = set()
    for page in PAGES:
        used |= set(re.findall(r"\bx-coe-[a-z-]+[a-z]\b", page.read_text(encoding="utf-8")))

    assert {name for name in used if f'"{name}"' not in known} == set()
