"""The page that `coe router evaluate --html` writes, as a browser shows it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from tests.e2e import browser

Coe = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = browser.MARKS

LONG = "a-very-long-category-name-that-somebody-wrote-in-full-and-then-" + "m" * 60
CITIES = ("Bern", "Rome", "Oslo", "Lima", "Cairo", "Delhi", "Ulm", "Lyon", "Turin", "Kyoto")
FEW = {
    LONG: [f"book a hotel in {city}" for city in CITIES],
    "trains": [f"when does the train to {city} leave" for city in CITIES],
    "sums": [f"add {n} to {n + 2}" for n in range(10)],
}
MANY = {f"category-{n}-of-many": [f"word{n} number{n} {k}" for k in range(3)] for n in range(150)}

# Boxes of what is drawn, by the plot that it stands in.
MARKS = """
[...document.querySelectorAll('svg')].map(svg => ({
  title: svg.querySelector('title').textContent,
  size: [svg.getBoundingClientRect().width, svg.getBoundingClientRect().height],
  dots: svg.querySelectorAll('circle.dot').length,
  lines: [...svg.querySelectorAll('path.line')].map(line => line.getTotalLength()),
  cells: svg.querySelectorAll('rect.hit, rect.miss').length,
  names: svg.querySelectorAll('text.tick').length,
  empty: [...svg.querySelectorAll('circle, rect, text')].filter(mark => {
    const box = mark.getBoundingClientRect();
    return !(box.width > 0 && box.height > 0);
  }).length,
  outside: [...svg.querySelectorAll('circle, rect, text')].filter(mark => {
    const box = mark.getBoundingClientRect(), whole = svg.getBoundingClientRect();
    return box.left < whole.left - 1 || box.right > whole.right + 1
      || box.top < whole.top - 1 || box.bottom > whole.bottom + 1;
  }).map(mark => mark.textContent),
}))
"""


def composed(folder: Path, categories: dict[str, list[str]], extra: Sequence[str] = ()) -> None:
    """Write a composition with these utterances, and rows that are like them."""
    document = {
        "version": 1,
        "backends": {"gone": "http://127.0.0.1:9"},
        "experts": {"one": "gone/m"},
        "encoders": {"small": {"type": "hashed"}},
        "routers": {"default": {"type": "embedding", "encoder": "small"}},
        "categories": {name: {"utterances": texts} for name, texts in categories.items()},
        "default": "one",
    }
    folder.joinpath("experts.yaml").write_text(json.dumps(document), encoding="utf-8")
    rows = [
        {"text": f"{text} {word}", "category": name}
        for name, texts in categories.items()
        for text in texts
        for word in ("now", "please")
    ]
    rows += [{"text": text, "category": None} for text in extra]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    folder.joinpath("set.jsonl").write_text(lines, encoding="utf-8")


@pytest.fixture
async def page(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[browser.Page]:
    async with browser.browsing(tmp_path_factory.mktemp("profile")) as page:
        yield page


async def test_a_report_is_what_it_should_be_in_a_browser(
    coe: Coe, tmp_path: Path, page: browser.Page
) -> None:
    composed(tmp_path, FEW, extra=("what is love", "مرحبا بالعالم", "zzz " * 100, "write a poem"))
    evaluation = ("router", "evaluate", "set.jsonl", "--html", "r.html", "--json", "r.json")
    done = coe(*evaluation, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))

    await page.open(tmp_path / "r.html")
    reliability, risk, matrix = await page.value(MARKS)

    cells = sum(1 for row in document["confusion"]["counts"] for count in row if count)
    assert reliability["dots"] == len(document["calibration"]["bins"]) == 15
    assert len(reliability["lines"]) == len(risk["lines"]) == 1
    assert min(reliability["lines"] + risk["lines"]) > 10
    assert matrix["cells"] == cells
    assert matrix["names"] == 2 * 4
    for plot in (reliability, risk, matrix):
        assert min(plot["size"]) > 200, plot["title"]
        assert plot["empty"] == 0, plot["title"]
        assert plot["outside"] == [], plot["title"]

    assert page.said == []
    assert set(page.requested) == {(tmp_path / "r.html").as_uri()}


async def test_a_report_is_readable_on_a_telephone_in_light_and_dark(
    coe: Coe, tmp_path: Path, page: browser.Page
) -> None:
    """Wide tables and the matrix scroll in their own boxes; the page never does."""
    composed(tmp_path, MANY, extra=("what is love",))
    done = coe("router", "evaluate", "set.jsonl", "--html", "r.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr

    grounds = set()
    await page.open(tmp_path / "r.html")
    await page.value("document.querySelectorAll('details').forEach(each => each.open = true)")
    for theme in ("light", "dark"):
        await page.theme(theme)
        grounds.add(await page.value("getComputedStyle(document.body).backgroundColor"))
        assert await page.value(browser.CONTRAST) >= 4.5, theme
        for width in (320, 390, 1280):
            await page.resize(width)
            assert await page.value(browser.OVERFLOW) == 0, (theme, width)
            for plot in await page.value(MARKS):
                assert plot["empty"] == 0, (plot["title"], width)
                assert plot["outside"] == [], (plot["title"], width)

    assert len(grounds) == 2
    assert page.said == []
