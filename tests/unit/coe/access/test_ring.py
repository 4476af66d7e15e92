"""The keys in memory, over a real file."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.access import key as keys
from coe.access.key import Key, Wish, issue
from coe.access.ring import Keyring
from coe.errors import CoEError, NotFound, StoreUnavailable
from coe.stores.keys import FILE, FileKeys, KeyFile

pytestmark = pytest.mark.anyio
AT = 1_800_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = AT

    def __call__(self) -> float:
        return self.now


def listed(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def bearer(text: str) -> bytes:
    return f"Bearer {text}".encode()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ring(tmp_path: Path, clock: Clock) -> Keyring:
    return Keyring(FileKeys(tmp_path), clock=clock)


async def test_a_key_works_from_when_it_is_made_to_when_it_is_revoked(ring: Keyring) -> None:
    key, text = await ring.add(Wish(name="ci", team="t"), by="me")
    found = ring.identify(bearer(text))
    assert found is not None
    assert (found.key, found.tenant, found.team, found.name) == (key.id, key.id, "t", "ci")
    assert ring.holder(key.id) == found
    assert ring.working == 1
    await ring.revoke(key.id, by="me")
    assert ring.identify(bearer(text)) is None
    assert ring.holder(key.id) is None
    assert ring.working == 0
    assert ring.keys[key.id].revoked == AT


async def test_a_key_works_no_more_from_when_it_expires(ring: Keyring, clock: Clock) -> None:
    key, text = await ring.add(Wish(name="ci", expires=AT + 10), by="me")
    clock.now = AT + 9.9
    assert ring.identify(bearer(text)) is not None
    clock.now = AT + 10
    assert ring.identify(bearer(text)) is None
    assert ring.holder(key.id) is None


async def test_a_rotated_key_keeps_its_id_and_loses_its_old_text(ring: Keyring) -> None:
    key, old = await ring.add(Wish(name="ci"), by="me")
    other, new = await ring.rotate(key.id, by="me")
    assert other.id == key.id
    assert ring.identify(bearer(old)) is None
    found = ring.identify(bearer(new))
    assert found is not None
    assert found.tenant == key.id


async def test_the_old_text_of_a_rotated_key_works_on_as_long_as_it_may(
    ring: Keyring, clock: Clock
) -> None:
    key, old = await ring.add(Wish(name="ci"), by="me")
    _, new = await ring.rotate(key.id, by="me", grace_s=60)
    clock.now = AT + 59.9
    found = ring.identify(bearer(old))
    assert found is not None
    assert found == ring.identify(bearer(new))
    clock.now = AT + 60
    assert ring.identify(bearer(old)) is None
    assert ring.identify(bearer(new)) is not None


async def test_a_second_rotation_ends_the_first_secret_and_revoking_ends_all(
    ring: Keyring,
) -> None:
    key, first = await ring.add(Wish(name="ci"), by="me")
    _, second = await ring.rotate(key.id, by="me", grace_s=60)
    _, third = await ring.rotate(key.id, by="me", grace_s=60)
    assert [ring.identify(bearer(one)) is not None for one in (first, second, third)] == [
        *(False, True, True)
    ]
    await ring.revoke(key.id, by="me")
    assert all(ring.identify(bearer(one)) is None for one in (first, second, third))


async def test_a_revoked_key_is_not_brought_back_by_rotating_it(ring: Keyring) -> None:
    key, _ = await ring.add(Wish(name="ci"), by="me")
    await ring.revoke(key.id, by="me")
    with pytest.raises(NotFound, match="was revoked"):
        await ring.rotate(key.id, by="me")


async def test_what_there_is_not_is_not_found(ring: Keyring) -> None:
    with pytest.raises(NotFound):
        await ring.revoke("none", by="me")
    await ring.add(Wish(name="ci"), by="me")
    with pytest.raises(NotFound):
        await ring.rotate("none", by="me")


async def test_nothing_is_made_on_the_disk_before_the_first_key(
    ring: Keyring, tmp_path: Path
) -> None:
    async with ring.running():
        assert ring.is_known
    assert listed(tmp_path) == []


async def test_another_process_s_changes_are_seen(tmp_path: Path) -> None:
    mine = Keyring(FileKeys(tmp_path), every_s=0.01)
    other = Keyring(FileKeys(tmp_path))
    async with mine.running(), asyncio.timeout(10):
        key, text = await other.add(Wish(name="ci"), by="other")
        while mine.identify(bearer(text)) is None:
            await asyncio.sleep(0.005)
        await other.revoke(key.id, by="other")
        while mine.identify(bearer(text)) is not None:
            await asyncio.sleep(0.005)


async def test_every_change_is_a_line_in_the_log_that_holds_no_secret(
    ring: Keyring, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "coe.audit"):
        async with ring.running():
            key, text = await ring.add(Wish(name="ci", team="t"), by="ann")
            _, new = await ring.rotate(key.id, by="ben")
            await ring.revoke(key.id, by="cleo")
            await ring.revoke(key.id, by="cleo")  # says nothing new
    assert caplog.messages == [
        f"key {key.id} (ci) added of team t for data by ann",
        f"key {key.id} (ci) rotated by ben",
        f"key {key.id} (ci) revoked by cleo",
    ]
    for one in (text, new):
        assert one.rsplit("-", 1)[1] not in caplog.text


async def test_a_store_that_lost_everything_ends_no_key_and_frees_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Forgetful(FileKeys):
        is_empty = False

        async def version(self) -> int:
            return 0 if self.is_empty else await super().version()

        async def read(self) -> tuple[int, list[keys.Key]]:
            return (0, []) if self.is_empty else await super().read()

    store = Forgetful(tmp_path)
    ring = Keyring(store)
    _, text = await ring.add(Wish(name="stays"), by="me")
    gone, ended = await ring.add(Wish(name="ended"), by="me")
    await ring.revoke(gone.id, by="me")
    store.is_empty = True
    await ring.refresh()
    assert ring.identify(bearer(text)) is not None
    assert ring.identify(bearer(ended)) is None
    assert "the store has lost some" in caplog.text


async def test_a_store_that_cannot_be_read_changes_nothing_for_known_keys(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Away(FileKeys):
        is_away = False

        async def version(self) -> int:
            if self.is_away:
                raise CoEError("the disk is gone")
            return await super().version()

    store = Away(tmp_path)
    ring = Keyring(store, every_s=0.001)
    async with ring.running():
        _, text = await ring.add(Wish(name="ci"), by="me")
        store.is_away = True
        async with asyncio.timeout(10):
            while not ring.is_stale:
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.02)  # some more looks, of which nothing is said
        assert ring.identify(bearer(text)) is not None
        store.is_away = False
        async with asyncio.timeout(10):
            while ring.is_stale:
                await asyncio.sleep(0.001)
    assert [r.levelname for r in caplog.records if "disk is gone" in r.message] == ["ERROR"]
    assert "changes are seen again" in caplog.text


async def made(folder: Path) -> tuple[Key, str]:
    """Make a key there, as a process does that ends then."""
    ring = Keyring(FileKeys(folder))
    async with ring.running():
        return await ring.add(Wish(name="ci"), by="other")


async def test_keys_work_though_their_file_can_only_be_read(
    anybodys: Path,
    read_only: Callable[[Path], AbstractContextManager[None]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    key, text = await made(anybodys)
    ring = Keyring(FileKeys(anybodys), every_s=0.001)
    with read_only(anybodys):
        async with ring.running():
            assert ring.is_known
            assert ring.identify(bearer(text)) is not None
            for change in (ring.add(Wish(name="b"), by="me"), ring.revoke(key.id, by="me")):
                with pytest.raises(StoreUnavailable, match=f"{FILE}.*let the gateway write"):
                    await change
            await asyncio.sleep(0.02)  # some more looks, of which nothing is said
            assert not ring.is_stale
    assert [one.levelname for one in caplog.records if "only read" in one.message] == ["WARNING"]


async def test_changes_of_others_are_seen_in_a_file_that_can_only_be_read(
    anybodys: Path, read_only: Callable[[Path], AbstractContextManager[None]]
) -> None:
    key, text = await made(anybodys)
    ring, other = Keyring(FileKeys(anybodys)), Keyring(FileKeys(anybodys))
    with read_only(anybodys):
        await ring.refresh()
        assert ring.identify(bearer(text)) is not None

    async with other.running():
        await other.revoke(key.id, by="other")
        with read_only(anybodys):
            await ring.refresh()
            assert ring.identify(bearer(text)) is None
            with pytest.raises(StoreUnavailable, match=f"{FILE}.*let the gateway write"):
                await ring.add(Wish(name="b"), by="me")


async def test_a_damaged_record_opens_nothing_and_harms_no_other(
    ring: Keyring, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, text = await ring.add(Wish(name="ci"), by="me")
    with KeyFile.open(tmp_path / FILE) as file, file._database.writing() as connection:
        connection.execute("INSERT INTO keys VALUES ('bad', '{}')")
        connection.execute("UPDATE changes SET number = number + 1")
    await ring.refresh()
    assert ring.identify(bearer(text)) is not None
    assert "key bad" in caplog.text


@given(cut=st.integers(0, 80), other=st.text("0123456789abcdef", max_size=64))
def test_sec_08_tokens_that_begin_alike_are_never_one(cut: int, other: str) -> None:
    key, text = issue(Wish(name="ci"), at=AT, by="me")
    ring = Keyring(FileKeys(Path("nowhere")), clock=lambda: AT)
    ring._take(1, [key])
    forged = text[:cut] + other
    assert ring.identify(bearer(text)) is not None
    assert (ring.identify(bearer(forged)) is not None) is (forged == text)
    assert ring.identify(bearer(text[:64])) is None
    assert ring.identify(bearer(text)) is not None, "what was refused changes nothing"
