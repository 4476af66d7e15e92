"""Games of panels, played with experts that are asked: who judges, and who writes the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from coe.asking import Reply, Site, ask
from coe.composition import Composition
from coe.drafts import Remark, Write
from coe.errors import CoEError
from coe.panels.games import Game, Games, Score, Scores
from coe.panels.play import Asked, Played
from coe.pipeline import Gateway
from coe.scoring.checks import Judge, Tests
from coe.scoring.prices import Purse, answer_limit, at_most, price_of
from coe.scoring.rows import Row
from coe.tools import Progress

AT_ONCE = 8


class CapReached(Exception):
    """Nobody is asked any more: it could cost more than may be spent."""


@dataclass(slots=True, kw_only=True)
class Spent:
    """What playing took.

    Attributes:
        asked: answers of experts.
        money: in the currency of the prices.
        failures: why experts gave none, the first of each.
        is_capped: whether games were left out, since the cap could have been passed.
    """

    asked: int = 0
    money: float = 0.0
    failures: dict[str, str] = field(default_factory=dict)
    is_capped: bool = False


class Table:
    """Where games are played whose aggregators ask; what was asked once is not asked again."""

    def __init__(
        self,
        composition: Composition,
        gateway: Gateway,
        rows: Mapping[str, Row],
        *,
        cap: float | None = None,
        max_tokens: int | None = None,
    ) -> None:
        """Store the parts.

        Args:
            composition: with every expert that is asked `live`.
            gateway: with the backends.
            rows: the prompts with their checks, by digest; of others nobody is asked.
            cap: money that may be spent; None: no cap. With one, answers need a limit.
            max_tokens: of an answer; None: as the row or the expert says.
        """
        self.spent = Spent()
        self._composition, self._gateway, self._rows = composition, gateway, rows
        self._site = Site(backends=gateway.backends, telemetry=gateway.telemetry)
        self._purse = Purse(cap)
        self._limit: dict[str, Any] = {} if max_tokens is None else {"max_tokens": max_tokens}
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def play(self, games: Games, progress: Progress) -> Scores:
        """Play games; None for one that could not be graded, or paid for."""
        done = 0

        async def one(game: Game | None) -> Score | None:
            nonlocal done
            found = await self._play(game) if game is not None else None
            done += 1
            progress("playing", done, len(games))
            return found

        return await asyncio.gather(*(one(game) for game in games))

    async def _play(self, game: Game) -> Score | None:
        play = game.begin()
        row = self._rows.get(game.recording.prompt)
        try:
            asked = next(play)
            while row is not None:
                async with self._slots:
                    remark = await self._remark(asked, row)
                asked = play.send(remark)
        except StopIteration as end:
            return self._graded(end.value, row)
        except CapReached:
            self.spent.is_capped = True
        play.close()
        return None

    def _graded(self, played: Played, row: Row | None) -> Score | None:
        score = played.score
        if score is None and row is not None and not isinstance(row.check, Judge | Tests):
            score = row.check.grade(played.text)
        if score is None:
            return None
        return Score(score=score, drafts=played.drafts, questions=played.questions)

    async def _remark(self, asked: Asked, row: Row) -> Remark:
        body = {**self._limit, **_body(asked, row)}
        try:
            reply = await self._ask(asked.expert, body)
        except CoEError as error:
            self.spent.failures.setdefault(asked.expert, error.message)
            return Remark(error=error.message)
        return Remark(text=reply.text or "")

    async def _ask(self, name: str, body: Mapping[str, Any]) -> Reply:
        expert = self._composition.experts[name]
        messages: Sequence[Mapping[str, Any]] = body["messages"]
        most = at_most(expert, messages, answer_limit(expert, body) or 0)
        if not self._purse.hold(most):
            raise CapReached
        paid: float | None = 0.0
        try:
            reply = await ask(self._composition, self._site, name, body)
            self.spent.asked += 1
            paid = price_of(expert, reply)
        finally:
            self._purse.settle(most, paid)
            self.spent.money = self._purse.spent
        return reply


def _body(asked: Asked, row: Row) -> dict[str, Any]:
    if isinstance(asked, Write):
        return {**row.body, "messages": list(asked.messages)}
    return {
        "messages": list(asked.messages),
        "max_tokens": asked.max_tokens,
        "temperature": 0.0,
    }
