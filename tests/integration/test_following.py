"""A gateway that follows its files: what is served, what changed, and what stays as it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from coe.testing.upstream import FakeUpstream

from .conftest import Running, Serve
from .plugins import install

pytestmark = pytest.mark.anyio

FILE = """\
version: 1
backends:
  up: "{url}"
  other: "{url}"
experts:
  general: up/ok
  coder: {{backend: other, model: ok}}
categories:
  code:
    utterances_file: code.txt
    experts: [coder, general]
encoders: {{small: {{type: hashed}}}}
routers: {{default: {{type: embedding, encoder: small}}}}
routing: {{threshold: 0.3}}
default: general
"""
CODE = """\
write a python function
fix the bug in this python function
explain this python stack trace
refactor this python class
write a python unit test
"""
HERE = {"admin": "loopback"}


async def until(holds: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.01)


class Site:
    """Serves the file, and edits it as people do."""

    def __init__(self, serve: Serve, upstream: FakeUpstream, folder: Path) -> None:
        self._serve = serve
        self.text = FILE.format(url=upstream.url)
        self.file = folder / "experts.yaml"
        self.texts = folder / "code.txt"
        self.texts.write_text(CODE)

    @asynccontextmanager
    async def running(self, **settings: Any) -> AsyncIterator[Running]:
        async with self._serve(self.text, **{**HERE, **settings}) as running:
            yield running

    def write(self, text: str) -> None:
        """Replace the file in one step."""
        beside = self.file.with_name("new")
        beside.write_text(text)
        beside.replace(self.file)


@pytest.fixture
def site(serve: Serve, upstream: FakeUpstream, tmp_path: Path) -> Site:
    return Site(serve, upstream, tmp_path)


def utterances(running: Running) -> int:
    return len(running.live.composition.categories["code"].category.utterances)


def serves(running: Running, text: str) -> Callable[[], bool]:
    return lambda: running.live.composition.text == text


async def shown(running: Running, path: str = "") -> Any:
    answer = await running.request("GET", f"{running.url}/composition{path}")
    assert answer.status == 200, await answer.text()
    return await answer.json()


async def test_an_edit_is_served_without_a_signal_and_says_what_changed(site: Site) -> None:
    async with site.running() as running:
        before = await shown(running)

        site.write(site.text.replace("threshold: 0.3", "threshold: 0.4"))
        await until(lambda: running.live.composition.routing.threshold == 0.4)

        await until(lambda: running.metric("coe_composition_reloads_total") == 1)
        after = await shown(running)
        assert after["changes"] == ["`routing.threshold` is 0.4, was 0.3"]
        assert after["fingerprint"] != before["fingerprint"]
        assert (before["version"], after["version"]) == (1, 2)
        assert (after["stale"], after["error"]) == (False, None)


async def test_files_that_the_file_names_are_followed(site: Site) -> None:
    async with site.running() as running:
        site.texts.write_text(CODE + "profile this python program\n")

        await until(lambda: utterances(running) == 6)

        assert running.live.composition.fingerprint != running.gateway.composition.fingerprint


async def test_only_what_changed_is_built_again(site: Site) -> None:
    async with site.running() as running:
        old = running.live.current.gateway
        site.write(site.text.replace("other, model: ok", "other, model: new"))
        await until(lambda: running.live.current.gateway is not old)

        new = running.live.current.gateway
        assert new.backends["up"] is old.backends["up"]
        assert new.classifier is old.classifier
        assert new.composition.experts["coder"].model == "new"

        site.write(site.text.replace("threshold: 0.3", "threshold: 0.4"))
        await until(lambda: running.live.current.gateway is not new)
        newest = running.live.current.gateway
        assert newest.backends["up"] is old.backends["up"]
        assert newest.classifier is not old.classifier


async def test_a_file_written_anew_as_it_was_changes_nothing(site: Site) -> None:
    async with site.running() as running:
        old = running.live.current
        site.write(site.text)
        site.texts.touch()
        await asyncio.sleep(0.8)

        assert running.live.current is old


async def test_rel_08_a_mistake_keeps_what_is_served_and_is_shown_with_its_place(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    async with site.running() as running:
        old = running.live.current
        ready = running.url.removesuffix("/v1") + "/health/ready"
        site.write(site.text.replace("up/ok", "nowhere/ok"))
        await until(lambda: running.metric("coe_composition_stale") == 1)
        site.write(site.text.replace("up/ok", "nowhere/ok") + "# and a comment\n")
        await until(lambda: running.metric('coe_composition_reloads_total{result="refused"}') == 2)

        found = await shown(running)
        assert running.live.current is old
        assert found["stale"] is True
        (problem, *_) = found["error"]["problems"]
        assert (problem["line"], problem["path"]) == (6, "experts.general.backend")
        assert (await running.chat("general")).status == 200
        assert (await running.request("GET", ready)).status == 200
        assert (await running.request("GET", f"{ready}?strict=1")).status == 503
        assert sum("was not replaced" in text for text in caplog.messages) == 1

        site.write(site.text)
        await until(lambda: running.metric("coe_composition_stale") == 0)
        assert (await shown(running))["error"] is None
        assert (await running.request("GET", f"{ready}?strict=1")).status == 200


class Broken:
    """A backend of somebody's that cannot even be made."""

    def __init__(self, spec: object) -> None:
        del spec
        raise ZeroDivisionError("a bug of a plugin")


async def test_a_failure_that_nobody_expected_is_told_once_with_its_place(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install(tmp_path, monkeypatch, {"coe.backends": Broken})
    monkeypatch.setattr("coe.following.AGAIN_S", 0.0)  # each look tries it again
    async with site.running() as running:
        broken = site.text.replace('other: "', 'other: {type: broken, url: "').replace(
            '"\nexperts', '"}\nexperts'
        )
        site.write(broken)
        await until(lambda: running.metric('coe_composition_reloads_total{result="refused"}') >= 3)

        told = [row for row in caplog.records if row.levelname == "ERROR"]
        assert ["a bug of a plugin" in row.getMessage() for row in told] == [True]
        assert told[0].exc_info is not None
        assert "ZeroDivisionError" in (await shown(running))["error"]["message"]
        assert (await running.chat("general")).status == 200

        site.write(site.text)
        await until(lambda: running.metric("coe_composition_stale") == 0)


async def test_a_missing_file_that_is_put_there_is_seen(site: Site) -> None:
    async with site.running() as running:
        site.write(site.text.replace("code.txt", "later.txt"))
        await until(lambda: running.metric("coe_composition_stale") == 1)

        site.texts.with_name("later.txt").write_text(CODE + "one more of them\n")

        await until(lambda: running.metric("coe_composition_stale") == 0)
        assert utterances(running) == 6


async def test_included_files_are_followed_and_new_ones_are_found(site: Site) -> None:
    folder = site.file.with_name("experts.d")
    folder.mkdir()
    site.text = "include: experts.d/*.yaml\n" + site.text
    async with site.running() as running:
        (folder / "team.yaml").write_text("experts: {one: up/ok}\n")
        await until(lambda: "one" in running.live.composition.experts)
        (folder / "team.yaml").write_text("experts: {two: up/ok}\n")
        await until(lambda: "two" in running.live.composition.experts)
        (folder / "team.yaml").unlink()
        await until(lambda: "two" not in running.live.composition.experts)

        assert running.metric("coe_composition_stale") == 0


async def test_a_file_that_appears_in_a_folder_of_a_pattern_is_found(site: Site) -> None:
    teams = site.file.with_name("teams")
    (teams / "a").mkdir(parents=True)
    site.text = "include: teams/*/experts.yaml\n" + site.text
    async with site.running() as running:
        (teams / "a" / "experts.yaml").write_text("experts: {one: up/ok}\n")
        await until(lambda: "one" in running.live.composition.experts)
        (teams / "b").mkdir()
        await asyncio.sleep(0.6)
        (teams / "b" / "experts.yaml").write_text("experts: {two: up/ok}\n")
        await until(lambda: "two" in running.live.composition.experts)

        assert running.metric("coe_composition_stale") == 0


async def test_a_file_is_not_read_while_it_is_being_written(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    async with site.running() as running:
        with site.file.open("w") as file:
            for line in site.text.replace("0.3", "0.4").splitlines(keepends=True):
                file.write(line)
                file.flush()
                await asyncio.sleep(0.05)
        await until(lambda: running.live.composition.routing.threshold == 0.4)

        assert "was not replaced" not in caplog.text


async def test_a_folder_of_links_that_is_switched_over_is_seen(
    site: Site, serve: Serve, tmp_path: Path
) -> None:
    """As Kubernetes does with a ConfigMap: the file never changes, a link above it does."""
    for name, threshold in (("first", "0.3"), ("second", "0.4")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "experts.yaml").write_text(site.text.replace("0.3", threshold))
    (tmp_path / "..data").symlink_to("first")
    site.file.symlink_to("..data/experts.yaml")
    async with serve(site.text) as running:
        (tmp_path / "..next").symlink_to("second")
        (tmp_path / "..next").replace(tmp_path / "..data")

        await until(lambda: running.live.composition.routing.threshold == 0.4)


async def test_nothing_is_followed_where_it_is_off(site: Site) -> None:
    async with site.running(reload="off") as running:
        site.write(site.text.replace("0.3", "0.4"))
        await asyncio.sleep(0.8)

        assert running.live.composition.routing.threshold == 0.3
        assert (await shown(running))["follows"] is False


async def test_rel_08_a_version_is_gone_back_to_and_that_is_a_version(site: Site) -> None:
    async with site.running() as running:
        url = f"{running.url}/composition/rollback"
        site.write(site.text.replace("threshold: 0.3", "threshold: 0.4"))
        await until(lambda: running.live.composition.routing.threshold == 0.4)
        await until(lambda: running.metric("coe_composition_reloads_total") == 1)

        answer = await running.request("POST", url, json={})

        assert answer.status == 200, await answer.text()
        card = await answer.json()
        assert (card["version"], card["why"]) == (3, "rollback to 1")
        assert card["changes"] == ["`routing.threshold` is 0.3, was 0.4"]
        assert site.file.read_text() == site.text
        listed = (await shown(running, "/versions"))["data"]
        assert [version["version"] for version in listed] == [3, 2, 1]
        second = await shown(running, "/versions/2")
        assert "0.4" in second["text"]
        assert second["against_served"] == ["`routing.threshold` is 0.4, was 0.3"]
        for wrong, status in (({"version": 99}, 404), ({"version": "1"}, 400)):
            assert (await running.request("POST", url, json=wrong)).status == status


async def test_rel_08_a_version_that_cannot_be_served_any_more_changes_nothing(site: Site) -> None:
    async with site.running() as running:
        without = site.text.replace("utterances_file: code.txt", "utterances: [a, b, c, d, e]")
        site.write(without)
        await until(lambda: running.metric("coe_composition_reloads_total") == 1)
        site.texts.unlink()
        old = running.live.current

        url = f"{running.url}/composition/rollback"
        answer = await running.request("POST", url, json={"version": 1})

        assert answer.status == 400
        assert "code.txt" in (await answer.json())["error"]["message"]
        assert site.file.read_text() == without
        assert running.live.current is old


async def test_rel_08_twenty_edits_under_load_drop_no_request(
    site: Site, upstream: FakeUpstream
) -> None:
    """Every request that begins before, during or after an edit is answered, streamed or not."""
    answered = {False: 0, True: 0}
    over = asyncio.Event()

    async def ask(client: openai.AsyncOpenAI, *, stream: bool) -> None:
        while not over.is_set():
            text = "write a python function" if answered[stream] % 2 else "hello"
            said = await client.chat.completions.create(
                model="coe/auto",
                messages=[{"role": "user", "content": f"{text} {answered[stream]}"}],
                stream=stream,
            )
            if stream:
                chunks = [chunk async for chunk in said]
                assert chunks[-1].choices[0].finish_reason == "stop"
            answered[stream] += 1

    async with (
        site.running() as running,
        openai.AsyncOpenAI(base_url=running.url, api_key="k", max_retries=0) as client,
    ):
        async with asyncio.TaskGroup() as group:
            for number in range(8):
                group.create_task(ask(client, stream=number % 2 == 0))
            for edit in range(20):
                # A router and a backend that are built again, and closed when they are replaced.
                slots = f'other: {{url: "{upstream.url}", concurrency: {edit + 10}}}'
                text = site.text.replace("0.3", str(0.31 + edit / 100))
                text = text.replace(f'other: "{upstream.url}"', slots)
                site.write(text)
                await until(serves(running, text))
            over.set()
        # Whoever had been replaced is closed.
        await until(lambda: not running.live._leaving)
    assert min(answered.values()) > 20
