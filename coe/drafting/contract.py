"""Which steps an aggregator may take, given what it was shown. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from coe.drafts import Ask, Consult, Merge, Pick, Relay, Step, Table, Wait, Write

MOST_QUESTIONS = 64
"""Questions about the drafts of one request; an aggregator that asks more is stopped."""


class BrokenStep(Exception):
    """A step that the contract of aggregators forbids; the message says which rule."""


def check(step: Step, table: Table) -> None:
    """See that a step may follow on a table.

    Raises:
        BrokenStep: it may not.
    """
    if isinstance(step, Ask):
        _check_ask(step, table)
    elif isinstance(step, Consult):
        _check_consult(step, table)
    elif isinstance(step, Wait):
        if not table.pending and not table.open_questions:
            raise BrokenStep("it waits, and nothing is under way")
    elif isinstance(step, Relay):
        _check_places((step.member,), table)
        if step.member in table.asked:
            raise BrokenStep(f"it relays member {step.member}, which was asked already")
    elif isinstance(step, Pick):
        _check_good((step.member,), table)
    elif isinstance(step, Merge):
        _check_good(step.members, table)
    elif isinstance(step, Write):
        _check_write(step, table)
    else:
        raise BrokenStep(f"{type(step).__name__} is no step")


def _check_ask(step: Ask, table: Table) -> None:
    _check_places(step.members, table)
    if table.is_closing:
        raise BrokenStep("it asks a member while the table is closing")
    if again := table.asked.intersection(step.members):
        raise BrokenStep(f"it asks member {min(again)} again")


def _check_consult(step: Consult, table: Table) -> None:
    keys = [question.key for question in step.questions]
    if not keys or len(set(keys)) < len(keys):
        raise BrokenStep("it asks no question, or one of them twice")
    if table.is_closing:
        raise BrokenStep("it asks a question while the table is closing")
    if again := table.consulted.intersection(keys):
        raise BrokenStep(f"it asks the question `{min(again)}` again")
    if len(table.consulted) + len(keys) > MOST_QUESTIONS:
        raise BrokenStep(f"it asks more than {MOST_QUESTIONS} questions")


def _check_write(step: Write, table: Table) -> None:
    if not step.messages:
        raise BrokenStep("it has an answer written to no message")
    if step.used:
        _check_good(step.used, table)


def _check_places(places: Sequence[int], table: Table) -> None:
    """See that there are places, that each is a member's, and none stands there twice."""
    if not places or len(set(places)) < len(places):
        raise BrokenStep("it names no member, or one of them twice")
    if not all(0 <= place < len(table.members) for place in places):
        raise BrokenStep(f"it names a member that there is not: {places}")


def _check_good(places: Sequence[int], table: Table) -> None:
    _check_places(places, table)
    good = {draft.member for draft in table.good}
    if bad := [place for place in places if place not in good]:
        raise BrokenStep(f"it uses member {bad[0]}, which has no good draft")
