"""What was used of every account, shared by several replicas through Redis.

Amounts are set aside by one script: one round trip, all or nothing, whoever asks at the same time.
They are put right in the background, in batches that are counted once however often they are sent.

Where Redis does not answer, each replica goes on by itself from what it knew last: it counts in its
own memory, against the same limits, and hands in what it counted when Redis is back. Meanwhile N
replicas may together use up to N times what was left. A replica that was killed leaves what it had
set aside, as used, until the period ends; what it had under way is forgotten after some seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from secrets import token_hex

from coe.errors import StoreUnavailable
from coe.limits.ledger import Tolls
from coe.limits.scopes import Account
from coe.limits.tally import Asked, Entry, Held, Refusal, State, Tally, wait_s
from coe.limits.windows import SLIDING, is_over, length_s, window
from coe.stores.redis import Redis, Script, Word

ALIVE_S = 5
"""So often a replica says what it has under way; after three times as long it is taken for gone."""
AGAIN_S = 0.5
"""After so long it is tried again to hand in what could not be."""

_FORGET_EVERY_S = 60.0
_MOST_AT_ONCE = 200  # accounts that one script puts right
_REMEMBERED_MS = 600_000  # for so long a batch is known to have been counted
_FIXED, _SLIDES, _UNDER_WAY, _SET = 0, 1, -1, -2

_PARTS = f"""
local function alive(key, now)
  local used, rows = 0, redis.call('HGETALL', key)
  for at = 1, #rows, 2 do
    local count, seen = string.match(rows[at + 1], '^(%d+) (%d+)$')
    if now - tonumber(seen) > {3 * ALIVE_S} then
      redis.call('HDEL', key, rows[at])
    else
      used = used + tonumber(count)
    end
  end
  return used
end
local function own(key, replica, now, count)
  redis.call('HSET', key, replica, string.format('%.0f %.0f', math.max(count, 0), now))
  redis.call('EXPIRE', key, {6 * ALIVE_S})
end
local function mine(key, replica)
  return tonumber(string.match(redis.call('HGET', key, replica) or '0', '^%d+'))
end
local function read(key, number, slides)
  local row = redis.call('HMGET', key, 'n', 'u', 'p')
  local last, used, previous = tonumber(row[1]), tonumber(row[2]) or 0, tonumber(row[3]) or 0
  if not last or last < number then
    previous = (slides == {_SLIDES} and last == number - 1) and used or 0
    return number, 0, previous
  end
  return last, used, previous
end
local function write(key, number, used, previous, ttl)
  redis.call('HSET', key, 'n', string.format('%.0f', number), 'u', string.format('%.0f', used),
    'p', string.format('%.0f', previous))
  redis.call('PEXPIRE', key, ttl)
end
local now = tonumber(redis.call('TIME')[1])
"""
_RESERVE = Script.of(
    _PARTS
    + f"""
local replica, found = ARGV[1], {{}}
for i, key in ipairs(KEYS) do
  local at = 1 + (i - 1) * 6
  local number, slides, weight = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), ARGV[at + 3]
  local amount, most = tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5])
  local used, previous = 0, 0
  if slides == {_UNDER_WAY} then
    used = alive(key, now)
    if used + amount > most then return {{i, 0, used, 0}} end
  else
    local last
    last, used, previous = read(key, number, slides)
    -- Where another clock is ahead, its period has just begun.
    local counts = last > number and 1 or tonumber(weight)
    number = last
    if used + math.ceil(previous * counts) + amount > most then
      return {{i, number, used, previous}}
    end
  end
  found[i] = {{number, used, previous, slides, amount, ARGV[at + 6]}}
end
local answer = {{0}}
for i, key in ipairs(KEYS) do
  local number, used, previous, slides, amount, ttl = unpack(found[i])
  if slides == {_UNDER_WAY} then
    own(key, replica, now, mine(key, replica) + amount)
  else
    write(key, number, used + amount, previous, ttl)
  end
  answer[#answer + 1] = number
  answer[#answer + 1] = used + amount
  answer[#answer + 1] = previous
end
return answer
"""
)
_SETTLE = Script.of(
    _PARTS
    + f"""
if not redis.call('SET', KEYS[1], '1', 'NX', 'PX', {_REMEMBERED_MS}) then return 0 end
local replica = ARGV[1]
for i = 2, #KEYS do
  local key, at = KEYS[i], 1 + (i - 2) * 4
  local number, slides = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local delta = tonumber(ARGV[at + 3])
  if slides == {_UNDER_WAY} then
    own(key, replica, now, mine(key, replica) + delta)
  elseif slides == {_SET} then
    own(key, replica, now, delta)
  else
    local last, used, previous = read(key, number, slides)
    if last == number then
      write(key, last, math.max(used + delta, 0), previous, ARGV[at + 4])
    elseif last == number + 1 and slides == {_SLIDES} then
      write(key, last, used, math.max(previous + delta, 0), ARGV[at + 4])
    end
  end
end
return 1
"""
)

_Owed = dict[tuple[str, int], tuple[Account, int]]  # by account and period: what is to be added


class RedisLedger:
    """See `coe.limits.ledger.Ledger`; for several processes."""

    def __init__(self, redis: Redis, *, clock: Callable[[], float] = time.time) -> None:
        """Store the parts; `clock` is seconds since the epoch."""
        self.tally = Tally()
        self.tolls = Tolls()
        self.is_running = False
        self._redis = redis
        self._clock = clock
        self._replica = token_hex(8)
        self._sent = 0
        self._asking = 0
        self._left: set[asyncio.Future[list[int]]] = set()
        self._owed: _Owed = {}
        self._batch: tuple[str, _Owed] | None = None
        self._under_way: dict[str, Account] = {}
        self._kick = asyncio.Event()
        redis.when_back(self._kick.set)

    async def reserve(self, entries: Sequence[Asked], now_s: float) -> tuple[Held, ...] | Refusal:
        """See `Ledger.reserve`."""
        words: list[Word] = [self._replica]
        for account, amount in entries:
            now = window(account.rule.period, now_s)
            words += (now.number, _kind(account), repr(now.weight), amount, account.rule.most)
            words.append(_ttl_ms(account, now_s))
        self._asking += 1
        try:
            keys = [self._key(account) for account, _ in entries]
            asking = asyncio.ensure_future(self._redis.run(_RESERVE, keys, *words))
            answer: list[int] = await asyncio.shield(asking)
        except StoreUnavailable:
            return self._alone(entries, now_s)
        except asyncio.CancelledError:  # nobody wants it any more, but Redis sets it aside
            self._left.add(asking)
            asking.add_done_callback(partial(self._give_back, entries))
            raise
        finally:
            self._asking -= 1
        if answer[0]:
            account, amount = entries[answer[0] - 1]
            _, used, previous = answer[1:4]
            self._learn(account, answer[1:4])
            later_s = wait_s(account, amount, used, previous, now_s)
            is_under_way = account.rule.period is None
            counted = used if is_under_way else self.tally.used(account, now_s)
            return Refusal(account, amount, counted, later_s)
        held = []
        for place, (account, amount) in enumerate(entries):
            state = answer[1 + 3 * place : 4 + 3 * place]
            self._learn(account, state)
            if account.rule.period is None:
                self._under_way[account.key] = account
                self.tally.put([Entry(account, amount)], now_s)
            held.append((account, amount, state[0]))
        return tuple(held)

    def settle(self, held: Held, amount: int, /) -> None:
        """See `Ledger.settle`."""
        self.tally.settle(held, amount)
        account, before, number = held
        if amount != before:
            self._owe(account, number, amount - before)

    async def open(self) -> None:
        """See `Ledger.open`: Redis knows."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """See `Ledger.running`."""
        tasks = [asyncio.create_task(self._hand_in()), asyncio.create_task(self._stay_alive())]
        self.is_running = True
        try:
            yield
        finally:
            self.is_running = False
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task
            with suppress(StoreUnavailable):
                await self._flush()

    def _alone(self, entries: Sequence[Asked], now_s: float) -> tuple[Held, ...] | Refusal:
        """Set amounts aside in this process; Redis is told when it is back."""
        held = self.tally.reserve(entries, now_s)
        if not isinstance(held, Refusal):
            for account, amount, number in held:
                if account.rule.period is None:
                    self._under_way[account.key] = account
                self._owe(account, number, amount)
        return held

    def _give_back(self, entries: Sequence[Asked], asking: asyncio.Future[list[int]]) -> None:
        """Take back what was set aside for who went away meanwhile."""
        self._left.discard(asking)
        if asking.cancelled() or asking.exception() is not None or asking.result()[0]:
            return
        numbers = asking.result()[1::3]
        for (account, amount), number in zip(entries, numbers, strict=True):
            self._owe(account, number, -amount)

    def _learn(self, account: Account, state: Sequence[int]) -> None:
        """Take note of what Redis knows. What others have under way is not for us to keep."""
        period = account.rule.period
        if period is not None:
            number, used, previous = state
            self.tally.learn(State(account.key, period, number, used, previous))

    def _owe(self, account: Account, number: int, amount: int) -> None:
        key = (account.key, number)
        before = self._owed.get(key)
        self._owed[key] = (account, amount + (before[1] if before is not None else 0))
        self._kick.set()

    async def _hand_in(self) -> None:
        while True:
            await self._kick.wait()
            self._kick.clear()
            try:
                await self._flush()
            except StoreUnavailable:  # nobody says when one that refuses takes it again
                await asyncio.sleep(AGAIN_S)
                self._kick.set()

    async def _flush(self) -> None:
        """Hand in what is owed. Raises StoreUnavailable; nothing is lost then."""
        while self._batch is not None or self._owed:
            if self._batch is None:
                keys = list(self._owed)[:_MOST_AT_ONCE]
                self._sent += 1
                name = f"{self._replica}:{self._sent}"
                self._batch = name, {key: self._owed.pop(key) for key in keys}
            name, owed = self._batch
            now_s = self._clock()
            words: list[Word] = [self._replica]
            for (_, number), (account, amount) in owed.items():
                words += (number, _kind(account), amount, _ttl_ms(account, now_s))
            names = [self._redis.key(f"limits:batch:{name}")]
            names += [self._key(account) for account, _ in owed.values()]
            await self._redis.run(_SETTLE, names, *words)
            self._batch = None

    async def _stay_alive(self) -> None:
        """Say what is under way here, now and then: counts of who says nothing are dropped."""
        forgotten = self._clock()
        while True:
            await asyncio.sleep(ALIVE_S)
            if not self._asking:  # else a count would come that is already in Redis
                with suppress(StoreUnavailable):
                    await self._say_under_way()
            if (now_s := self._clock()) - forgotten > _FORGET_EVERY_S:
                self._forget(now_s)
                forgotten = now_s

    def _forget(self, now_s: float) -> None:
        """Drop what counts no more; while Redis is away, every period adds to what is owed."""
        self.tally.forget(now_s)
        for key, (account, _) in list(self._owed.items()):
            if is_over(account.rule.period, key[1], now_s):
                del self._owed[key]

    async def _say_under_way(self) -> None:
        now_s, accounts = self._clock(), list(self._under_way.values())
        if not accounts:
            return
        words: list[Word] = [self._replica]
        for account in accounts:
            count = self.tally.used(account, now_s)
            words += (0, _SET, count, 0)
            if not count:
                del self._under_way[account.key]
        self._sent += 1
        names = [self._redis.key(f"limits:batch:{self._replica}:{self._sent}")]
        names += [self._key(account) for account in accounts]
        await self._redis.run(_SETTLE, names, *words)

    def _key(self, account: Account) -> str:
        return self._redis.key(f"limits:{account.key}")


def _kind(account: Account) -> int:
    period = account.rule.period
    if period is None:
        return _UNDER_WAY
    return _SLIDES if period in SLIDING else _FIXED


def _ttl_ms(account: Account, now_s: float) -> int:
    """Return for how long a counter is needed from now on, in milliseconds."""
    period = account.rule.period
    return int(1000 * (window(period, now_s).left_s + length_s(period) + 60))
