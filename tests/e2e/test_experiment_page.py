"""The page that `coe exp report --html` writes, as a browser shows it."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coe.composition import Arm, Experiment
from coe.reporting.gather import gather
from coe.reporting.page import page as page_of
from coe.reporting.report import report
from coe.stores.decisions import Feedback, Record
from tests.e2e import browser

pytestmark = browser.MARKS

LONG = "an-arm-whose-name-was-written-in-full-" + "m" * 60
PLOTS = """
[...document.querySelectorAll('figure svg')].map(svg => {
  const whole = svg.getBoundingClientRect();
  return {
    title: svg.querySelector('title').textContent,
    size: [whole.width, whole.height],
    dots: svg.querySelectorAll('circle').length,
    bands: [...svg.querySelectorAll('path.band')].map(path => path.getTotalLength()),
    whiskers: svg.querySelectorAll('line.whisker').length,
    bars: svg.querySelectorAll('rect.hit').length,
    outside: [...svg.querySelectorAll('path, text, circle, rect')].filter(mark => {
      const box = mark.getBoundingClientRect();
      return box.left < whole.left - 2 || box.right > whole.right + 2
        || box.top < whole.top - 2 || box.bottom > whole.bottom + 2;
    }).map(mark => mark.textContent || mark.className.baseVal),
  };
})
"""


@pytest.fixture
async def page(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[browser.Page]:
    async with browser.browsing(tmp_path_factory.mktemp("profile")) as page:
        yield page


def written(path: Path, units: int) -> Path:
    """Write the report of an experiment of three arms, one of which is better."""
    quality = {"control": 0.5, "better": 0.65, LONG: 0.5}
    chance = random.Random(0)  # noqa: S311 - a simulation
    arms = list(quality)
    start = time.time() - 3 * 86_400
    records, said = [], []
    for number in range(units):
        arm = arms[number % 3]
        at = start + number * 60
        records.append(
            Record(
                id=f"d{number}",
                at=at,
                category=("code", "<prose>")[number % 2],
                arms={"three": arm},
                latency_s=chance.lognormvariate(0, 0.3),
                cost=0.001 * (1 + arms.index(arm)),
            )
        )
        value = float(chance.random() < quality[arm])
        said.append(Feedback(decision=f"d{number}", at=at, value=value))
    experiment = Experiment(
        name="three",
        status="running",
        mode="split",
        unit="request",
        salt="s",
        arms=tuple(Arm(name=arm, share=1 / 3) for arm in arms),
        error_rate=0.01,
        p95=0.2,
    )
    found = report(experiment, gather(experiment, records, said), now=time.time())
    path.write_bytes(page_of(found))
    return path


async def test_what_is_drawn(tmp_path: Path, page: browser.Page) -> None:
    await page.open(written(tmp_path / "three.html", 4500))
    plots = {plot["title"].split(":")[0]: plot for plot in await page.value(PLOTS)}

    assert "Stop:" in await page.value("document.querySelector('.lead').textContent")
    assert "coe exp promote three better" in await page.value("document.body.textContent")
    assert len(plots) == 6
    better = plots["Effect of better over time"]
    assert better["bands"][0] > 300
    assert plots["Effect of better by category"]["whiskers"] == 2
    assert plots["Cost and quality of the arms"]["dots"] == 3
    assert plots["Units of each arm, and what its share says"]["bars"] == 3
    for title, plot in plots.items():
        assert min(plot["size"]) > 60, title
        assert plot["outside"] == [], title
    assert page.said == []
    assert len(set(page.requested)) == 1


@pytest.mark.parametrize("units", [0, 30, 4500])
async def test_it_is_readable_on_a_telephone_in_light_and_dark(
    tmp_path: Path, page: browser.Page, units: int
) -> None:
    await page.open(written(tmp_path / "three.html", units))
    for theme in ("light", "dark"):
        await page.theme(theme)
        assert await page.value(browser.CONTRAST) >= 4.5, theme
        for width in (320, 1280):
            await page.resize(width)
            assert await page.value(browser.OVERFLOW) == 0, (theme, width)
            for plot in await page.value(PLOTS):
                assert plot["outside"] == [], (plot["title"], width)
