from __future__ import annotations

import html.parser
import json
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from coe.tools import RouterAtWork
from coe.types import Category
from routers.embedding import EmbeddingRouter
from routers.encoders.hashed import HashedEncoder
from routers.evaluation import evaluate
from routers.report import Report
from routers.report.plots import MOST_CATEGORIES
from routers.report.words import columns, number, percent
from routers.rows import Row
from routers.score_file import ScoreFile
from routers.scoring import Scorer

HOSTILE = '</title><script>alert("1")</script> & \x1b[31m \u202e \x00 \ud800 <b onclick=x>'
OPEN = re.compile(r"^<!DOCTYPE html>\n")


def report(folder: Path, categories: int = 3, *, outside: bool = True) -> Report:
    """Return a report in which every name and text is an attack."""
    encoder = HashedEncoder(name="small", dim=64)
    defined = tuple(
        Category(
            name=f"c{n}<&\">'",
            utterances=tuple(f"{HOSTILE} word{n} number{n} {k}" for k in range(4)),
            negatives=(f"never word{n}",),
        )
        for n in range(categories)
    )
    router = EmbeddingRouter(name="near<&>", categories=defined, encoder=encoder)
    work = RouterAtWork(
        router=router,
        categories=defined,
        thresholds=dict.fromkeys(router.categories, 0.2) | {defined[0].name: float("inf")},
        encoders={"small": encoder},
    )
    rows = [
        Row(f"{HOSTILE} word{n} number{(n + k) % categories} again", defined[n].name)
        for n in range(categories)
        for k in range(3)
    ]
    if outside:
        rows += [Row(f"{HOSTILE} of none", None), Row("", None)]
    file = ScoreFile(folder / f"scores{categories}", key="", columns=categories)
    return Report(evaluate(work, rows, Scorer(router, file, lambda *_: None)))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return report(tmp_path_factory.mktemp("report"))


def parsed(page: str) -> ET.Element:
    """Read the page as strictly as XML is read."""
    assert OPEN.match(page)
    return ET.fromstring(OPEN.sub("", page))  # noqa: S314 - it is our own page


def test_the_page_is_well_formed_whatever_it_shows(hostile: Report) -> None:
    page = hostile.page()
    root = parsed(page)

    tags = {node.tag for node in root.iter()}
    assert "script" not in tags
    assert "b" not in tags
    assert {"svg", "table", "style", "bdi"} <= tags
    text = "".join(root.itertext())
    assert '<script>alert("1")</script>' in text  # shown, not run
    assert not {"\x00", "\x1b", "\u202e"} & set(page)
    page.encode("utf-8")


def test_the_page_needs_nothing_else(hostile: Report) -> None:
    root = parsed(hostile.page())

    names = {name for node in root.iter() for name in node.attrib}
    assert not names & {"src", "href", "srcset", "data", "action", "onclick"}
    style = root.find("head/style")
    assert style is not None
    assert style.text
    assert "url(" not in style.text
    assert "@import" not in style.text
    policy = [m.get("content") for m in root.iter("meta") if m.get("http-equiv")]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_the_page_is_readable_in_light_and_dark(hostile: Report) -> None:
    """Every colour of the plots is a variable that both themes set."""
    root = parsed(hostile.page())
    style = root.findtext("head/style") or ""
    light, _, dark = style.partition("@media (prefers-color-scheme:dark)")
    themed = set(re.findall(r"(--[a-z]+):", dark.partition("}}")[0]))

    assert "color-scheme:light dark" in light
    assert set(re.findall(r"var\((--[a-z]+)\)", style)) == themed
    assert themed == set(re.findall(r"(--[a-z]+):", light))
    svg = [node for picture in root.iter("svg") for node in picture.iter()]
    assert not [n for n in svg if "fill" in n.attrib or "stroke" in n.attrib or "style" in n.attrib]
    classes = {name for node in svg for name in node.get("class", "").split()}
    assert classes
    assert all(f".{name}" in style for name in classes)


def test_browsers_close_every_element_where_we_do(hostile: Report) -> None:
    """HTML forgives less than it seems: `<span />` stays open. So none but void ones is short."""

    class Reader(html.parser.HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []
            self.short: set[str] = set()

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            names = [name for name, _ in attrs]
            assert len(names) == len(set(names))
            self.open.append(tag)

        def handle_startendtag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
            self.short.add(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

    reader = Reader()
    reader.feed(hostile.page())
    reader.close()

    assert reader.open == []
    assert reader.short == {"meta"}


def test_plots_stay_inside_their_area(hostile: Report) -> None:
    for picture in parsed(hostile.page()).iter("svg"):
        _, _, width, height = (float(part) for part in picture.get("viewBox", "").split())
        places = list(_places(picture))

        assert places
        assert all(0 <= x <= width and 0 <= y <= height for x, y in places)


def _places(picture: ET.Element) -> Iterator[tuple[float, float]]:
    for node in picture.iter():
        for x, y in (("x", "y"), ("cx", "cy"), ("x1", "y1"), ("x2", "y2")):
            if x in node.attrib:
                yield float(node.attrib[x]), float(node.attrib[y])
        for pair in re.findall(r"([-\d.]+),([-\d.]+)", node.get("d", "")):
            yield float(pair[0]), float(pair[1])


def test_many_categories_show_those_with_mistakes(tmp_path: Path) -> None:
    many = report(tmp_path, categories=MOST_CATEGORIES + 12, outside=False)

    root = parsed(many.page())

    matrix = next(node for node in root.iter("svg") if node.get("class") == "matrix")
    assert len(matrix.findall("text")) == 2 * MOST_CATEGORIES
    assert "are left out" in "".join(root.itertext())


def test_the_document_is_plain_json_without_infinities(hostile: Report) -> None:
    document = json.loads(json.dumps(hostile.document(), allow_nan=False))

    assert document["rows"] == {"all": 11, "inside": 9, "outside": 2, "digest": ""}
    assert document["categories"][0]["threshold"] is None
    assert document["out_of_scope"]["auroc"] == pytest.approx(
        hostile.evaluation.out_of_scope.auroc if hostile.evaluation.out_of_scope else None
    )
    assert len(document["wrong"]) == len(hostile.evaluation.wrong)
    assert document["confusion"]["names"][-1] is None
    assert sum(map(sum, document["confusion"]["counts"])) == 11
    assert document["risk_coverage"]["points"][-1]["coverage"] == 1.0


def test_the_text_cannot_steer_a_terminal(hostile: Report) -> None:
    text = hostile.text(wrong=True)

    assert not {"\x1b", "\x00", "\u202e", "\r"} & set(text)
    assert "went wrong, the surest first" in text
    assert "utterances that would help most" in text
    assert "out-of-scope AUROC" in text
    assert "closed" in text
    assert "--wrong lists them" in hostile.text()


def test_no_stranger_among_the_rows_is_said_and_not_measured(tmp_path: Path) -> None:
    found = report(tmp_path, outside=False)

    assert "nothing is known of what strangers get" in found.text()
    assert "AUROC" not in found.text()
    assert found.document()["out_of_scope"] is None
    parsed(found.page())


def test_numbers_are_short_and_what_is_none_is_a_dash() -> None:
    assert number(0.12345) == "0.123"
    assert number(float("nan")) == number(float("inf")) == "-"
    assert percent(0.1234) == "12.3 %"
    assert percent(float("nan")) == "-"
    assert columns([("a", "1"), ("bbb", "10")], right=(1,)) == ["a     1", "bbb  10"]
    assert columns([]) == []
