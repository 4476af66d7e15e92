"""The pages of `coe plan`, `coe sim` and `coe scheduling`, as a browser shows them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from coe.cli.scheduling import Member, Memory
from coe.cli.scheduling import page as page_of
from coe.scheduler.chronicle import Chronicle, Mark, Record
from coe.scheduler.memory import Expert, Layout, Pool
from coe.scheduler.simulate import Recorded, run
from coe.scheduler.state import Scheduler
from coe.scheduler.traces import names, poisson
from tests.e2e import browser

Coe = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = browser.MARKS

LONG = "an-expert-whose-name-was-written-in-full-" + "m" * 60
# Of each picture: its size, what of it is drawn, and texts that lie outside of it.
PICTURES = """
[...document.querySelectorAll('figure svg')].map(svg => {
  const whole = svg.getBoundingClientRect();
  const boxes = kind => [...svg.querySelectorAll('path.' + kind)]
    .map(path => path.getBoundingClientRect()).filter(box => box.width > 0 && box.height > 0);
  return {
    title: svg.querySelector('title').textContent,
    size: [whole.width, whole.height],
    held: boxes('held').length,
    loads: boxes('load').length + boxes('thin').length,
    hatched: boxes('load').length,
    served: boxes('served').length,
    failed: boxes('failed').length,
    depth: boxes('depth').length,
    names: [...svg.querySelectorAll('g > text.end')].length,
    outside: [...svg.querySelectorAll('path, text')].filter(mark => {
      const box = mark.getBoundingClientRect();
      return box.left < whole.left - 2 || box.right > whole.right + 2
        || box.top < whole.top - 2 || box.bottom > whole.bottom + 2;
    }).map(mark => mark.textContent || mark.className.baseVal),
  };
})
"""
# The colours in the picture of the hatching: as many as there are where it is drawn.
HATCH = "getComputedStyle(document.querySelector('figure path.load')).fill"


@pytest.fixture
async def page(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[browser.Page]:
    async with browser.browsing(tmp_path_factory.mktemp("profile")) as page:
        yield page


async def test_made_up_calls_are_drawn_for_every_rule(
    coe: Coe, tmp_path: Path, page: browser.Page
) -> None:
    order = ("sim", "sessions", "--experts", "6", "--slots", "2", "--calls", "400", "--load", "3")
    done = coe(*order, "--html", "sim.html", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rules = json.loads(done.stdout)["rules"]

    await page.open(tmp_path / "sim.html")
    pictures = await page.value(PICTURES)

    assert [one["title"] for one in pictures] == [
        f"{name}: {what}" for name in rules for what in ("all of it", "close-up")
    ]
    for one in pictures:
        assert min(one["size"]) > 150, one["title"]
        assert one["depth"] == 1, one["title"]
        assert one["outside"] == [], one["title"]
        assert one["held"] >= 1, one["title"]
    for whole in pictures[::2]:
        assert whole["held"] == whole["served"] == whole["loads"] == 6, whole["title"]
        assert whole["failed"] == 0
    assert "#hatch" in await page.value(HATCH)
    assert await page.value("document.querySelectorAll('#hatch').length") == 1
    assert await page.value("document.querySelector('.legend').getBoundingClientRect().height") > 10

    assert page.said == []
    assert set(page.requested) == {(tmp_path / "sim.html").as_uri()}


async def test_timelines_are_readable_on_a_telephone_in_light_and_dark(
    coe: Coe, tmp_path: Path, page: browser.Page
) -> None:
    """The pictures scroll in their own boxes; the page never does."""
    lines = (f'{{"at_s": {n}, "expert": "{LONG}{n % 3}", "work_s": 2}}' for n in range(120))
    (tmp_path / "trace.jsonl").write_text("\n".join(lines), encoding="utf-8")
    done = coe("plan", "trace.jsonl", "--html", "plan.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (tmp_path / "live.html").write_text(live(), encoding="utf-8")

    for name in ("plan.html", "live.html"):
        grounds = set()
        await page.open(tmp_path / name)
        await page.value("document.querySelectorAll('details').forEach(each => each.open = true)")
        for theme in ("light", "dark"):
            await page.theme(theme)
            grounds.add(await page.value("getComputedStyle(document.body).backgroundColor"))
            assert await page.value(browser.CONTRAST) >= 4.5, (name, theme)
            for width in (320, 390, 1280):
                await page.resize(width)
                assert await page.value(browser.OVERFLOW) == 0, (name, theme, width)
                for one in await page.value(PICTURES):
                    assert one["outside"] == [], (name, one["title"], width)
                    assert one["size"][0] >= 800, (name, one["title"], width)
        assert len(grounds) == 2
    assert page.said == []


async def test_a_gateway_is_drawn_with_what_went_wrong(tmp_path: Path, page: browser.Page) -> None:
    (tmp_path / "live.html").write_text(live(), encoding="utf-8")

    await page.open(tmp_path / "live.html")
    (one,) = await page.value(PICTURES)

    assert one["failed"] == 1
    assert one["hatched"] >= 1
    assert one["names"] == 5 + 2  # its experts, and the two words beside the queue
    assert "3 of 5" in await page.value("document.querySelector('.cards').textContent")
    assert page.said == []


def live() -> str:
    """Return the page of a gateway, of which a scheduler that really ran is the memory."""
    experts = (*names(4), LONG)
    layout = Layout(
        pools=(Pool(name="gpu", memory=3),),
        experts=tuple(Expert(name=n, pool="gpu", memory=1, load_s=4.0) for n in experts),
    )
    chronicle = Chronicle()
    chronicle.begin(0.0, layout, ())
    trace = poisson(experts, rate=0.5, calls=60, seed=1)
    outcome = run(trace, Recorded(Scheduler(layout), chronicle), layout)
    record = chronicle.record(max(outcome.ends_s.values()))
    failed = (
        Mark(record.until_s - 9.0, LONG, "loading", 1),
        Mark(record.until_s - 1.0, LONG, "failed", 0),
    )
    record = Record(
        since_s=record.since_s,
        until_s=record.until_s,
        before=record.before,
        marks=(*(mark for mark in record.marks if mark.at_s < failed[0].at_s), *failed),
        spells=record.spells,
        depths=record.depths,
    )
    members = [
        Member(expert=name, state="ready" if place < 3 else "out", running=0, waiting=0, memory=1)
        for place, name in enumerate(experts)
    ]
    memory = Memory(backend="gpu", memory=3 * 2**30, experts=members, record=record)
    return page_of([memory], "http://127.0.0.1:8088", 1_700_000_000.0)
