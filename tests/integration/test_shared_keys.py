"""Keys in a real Redis, and what others do to them meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from coe.access.key import Key, Wish, issue
from coe.errors import Conflict
from coe.stores.redis import Redis
from coe.stores.shared_keys import RedisKeys
from tests.conftest import RedisServer

pytestmark = pytest.mark.anyio

KEY, _ = issue(Wish(name="ci"), at=1_800_000_000.0, by="me")


@pytest.fixture
async def shared(redis_server: RedisServer) -> AsyncIterator[RedisKeys]:
    redis = Redis(redis_server.url, prefix="coe:", wait_s=5)
    async with redis.running():
        yield RedisKeys(redis)


async def test_a_key_whose_id_is_taken_is_in_conflict_with_what_is_there(shared: RedisKeys) -> None:
    await shared.add(KEY)
    with pytest.raises(Conflict, match=f"`{KEY.id}` already"):
        await shared.add(replace(KEY, name="another"))
    assert await shared.read() == (1, [KEY])


async def test_a_change_is_tried_again_where_others_were_quicker_but_not_for_ever(
    shared: RedisKeys, redis_server: RedisServer
) -> None:
    await shared.add(KEY)
    quicker = 3

    def change(key: Key) -> Key:
        nonlocal quicker
        if quicker:
            quicker -= 1
            redis_server.tell(
                f"EVAL \"redis.call('HSET', KEYS[1], '{KEY.id}', "
                f"redis.call('HGET', KEYS[1], '{KEY.id}') .. ' ') return {{ok = 'OK'}}\" 1 coe:keys"
            )
        return replace(key, name="changed")

    assert await shared.change(KEY.id, change) == replace(KEY, name="changed")
    quicker = 1000
    with pytest.raises(Conflict, match=f"`{KEY.id}` is changed by others"):
        await shared.change(KEY.id, change)
