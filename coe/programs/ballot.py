"""Samples of one expert, and the vote that makes one answer of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from coe.composition.programs import Recipe
from coe.drafting.reading import draft_of
from coe.drafts import Ask, Draft, Member, Pick, Table, Wait
from coe.errors import CoEError
from coe.protocols import Aggregator
from coe.usage import summed

Completion = Mapping[str, Any]
Sample = Callable[[int], Awaitable[Completion]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a vote.

    Attributes:
        winner: the completion that stands for them all.
        usage: of all samples that ended; None where no backend tells.
    """

    winner: Completion
    usage: dict[str, Any] | None


async def vote(
    recipe: Recipe,
    aggregator: Aggregator,
    messages: Sequence[Mapping[str, Any]],
    sample: Sample,
) -> Outcome:
    """Ask for samples side by side until the aggregator has picked one.

    Samples that are no longer needed are given up. One that fails, or says nothing, is no vote;
    where none is one, such as when all refuse to answer, the first of them stands.

    Args:
        recipe: how many there are, and of whom.
        aggregator: asks for members, waits, and picks one of them.
        messages: the conversation.
        sample: asks for one, by its number.

    Raises:
        CoEError: all samples failed; the last reason.
    """
    ballot = _Ballot(recipe, messages, sample)
    picked: int | None = None
    async with asyncio.TaskGroup() as tasks:
        while ballot.is_open:
            match aggregator.next(ballot.table):
                case Ask(members=places):
                    ballot.ask(places, tasks)
                case Wait():
                    await ballot.wait()
                case Pick() as pick:
                    picked = pick.member
                    break
                case step:
                    raise TypeError(f"a vote does not end in {step!r}")
        ballot.give_up()
    completions = ballot.completions
    if not completions:
        raise ballot.failure
    return Outcome(
        winner=completions[min(completions) if picked is None else picked],
        usage=summed(completion.get("usage") for completion in completions.values()),
    )


class _Ballot:
    """The table, and the samples under way.

    Attributes:
        completions: those that came, by the sample's number.
        failure: why the last one that failed did.
    """

    def __init__(
        self, recipe: Recipe, messages: Sequence[Mapping[str, Any]], sample: Sample
    ) -> None:
        members = tuple(Member(expert=recipe.over, sample=i) for i in range(recipe.samples))
        self.table = Table(messages=messages, members=members, quorum=len(members))
        self.completions: dict[int, Completion] = {}
        self.failure = CoEError("no sample was asked for")
        self._sample = sample
        self._came: asyncio.Queue[tuple[int, Completion | CoEError]] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def is_open(self) -> bool:
        """Whether there can be an answer."""
        return bool(self.table.good or self.table.pending or self.table.unasked)

    def ask(self, places: Sequence[int], tasks: asyncio.TaskGroup) -> None:
        """Ask for samples."""
        self.table = replace(self.table, asked=self.table.asked | frozenset(places))
        self._tasks += [tasks.create_task(self._fetch(place)) for place in places]

    async def wait(self) -> None:
        """Return when one more has ended, well or badly, and lies on the table."""
        place, came = await self._came.get()
        if isinstance(came, CoEError):
            self.failure = came
            draft = Draft(member=place, error=came.message)
        else:
            self.completions[place] = came
            draft = draft_of(came, place)
        self.table = replace(self.table, drafts=(*self.table.drafts, draft))

    def give_up(self) -> None:
        """End the samples that are under way."""
        for task in self._tasks:
            task.cancel()

    async def _fetch(self, place: int) -> None:
        try:
            came: Completion | CoEError = await self._sample(place)
        except CoEError as error:
            came = error
        self._came.put_nowait((place, came))
