"""What the session keeps, over a real classifier and a router of three words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np
import pytest

from coe.classify import Classifier, Policy
from coe.composition import Routing, Stickiness
from coe.errors import RouterUnavailable
from coe.sessions import Sessions
from coe.turns import Turns
from coe.types import Decision, Evidence, Query, Scores

pytestmark = pytest.mark.anyio

CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function"}]}
RESULT = {"role": "tool", "tool_call_id": "1", "content": "rows"}


class ByWord:
    """Sure of the category whose name the text begins with, less of one that it holds."""

    name = "by-word"
    categories = ("sql", "math", "travel")
    calibrated = True

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.error: Exception | None = None
        self.keyword: str | None = None

    def score(self, texts: Sequence[str]) -> Scores:
        if self.error is not None:
            raise self.error
        self.texts += texts
        rows = [
            [0.9 if t.startswith(c) else 0.6 if c in t else 0.02 for c in self.categories]
            for t in texts
        ]
        values = np.array(rows, dtype=np.float32)
        values /= np.maximum(values.sum(axis=1, keepdims=True), 1)
        hits = tuple(self._hit(text) for text in texts)
        return Scores(values=values, evidence=hits)

    def _hit(self, text: str) -> tuple[Evidence, ...]:
        if self.keyword is None or self.keyword not in text:
            return ()
        return (Evidence(kind="keyword", category="sql", text=self.keyword),)


class Chat:
    """A client that sends the whole conversation each time, and whoever answers it."""

    def __init__(self, turns: Turns, header: bytes | None = None) -> None:
        self.turns = turns
        self.headers = [] if header is None else [(b"x-session-id", header)]
        self.messages: list[dict[str, Any]] = []

    async def ask(self, *messages: str | dict[str, Any], explain: bool = False) -> Decision:
        """Send texts as the user's, and messages as they are."""
        for message in messages:
            given = {"role": "user", "content": message} if isinstance(message, str) else message
            self.messages.append(given)
        query = Query(
            id="q", model="coe/auto", body={"messages": self.messages}, headers=self.headers
        )
        return await self.turns.decide(query, explain=explain)

    async def say(self, *messages: str | dict[str, Any], by: str = "") -> Decision:
        """Ask, and let the category's expert, or another one, answer."""
        decision = await self.ask(*messages)
        self.turns.remember(decision, by or f"{decision.category}-expert")
        self.messages.append({"role": "assistant", "content": "fine"})
        return decision


ROUTES = {name: (f"{name}-expert",) for name in ByWord.categories}


@pytest.fixture
def router() -> ByWord:
    return ByWord()


@pytest.fixture
async def classifier(router: ByWord) -> AsyncIterator[Classifier]:
    made = Classifier(lambda: router, Policy())
    await made.load()
    yield made
    made.close()


def turns(classifier: Classifier, *, first: str | None = None, **rules: Any) -> Turns:
    routing = Routing(routes=ROUTES, sessions=Stickiness(**rules))
    never = routing.sessions.stick == "never"
    sessions = None if never else Sessions(ttl_s=60)
    return Turns(classifier, routing, sessions, (lambda *_: first) if first else None)


async def test_a_follow_up_stays_and_says_what_the_router_alone_would_do(
    classifier: Classifier,
) -> None:
    chat = Chat(turns(classifier))
    await chat.say("sql for all customers")

    decision = await chat.say("only the last ten")

    assert (decision.category, decision.reason) == ("sql", "session")
    assert decision.session is not None
    assert (decision.session.previous, decision.session.kept) == ("sql", "margin")
    assert decision.session.alone is not None
    assert decision.session.alone.abstained


async def test_a_new_topic_switches(classifier: Classifier) -> None:
    chat = Chat(turns(classifier))
    await chat.say("sql for all customers")

    decision = await chat.say("travel to Rome")

    assert (decision.category, decision.reason) == ("travel", "matched")
    assert decision.session is not None
    assert decision.session.kept is None
    assert not decision.calibrated, "what is pooled is not calibrated"


async def test_the_first_turn_is_the_routers_own(classifier: Classifier) -> None:
    decision = await Chat(turns(classifier)).say("sql for all customers")

    assert decision.reason == "matched"
    assert decision.calibrated
    assert decision.session is not None
    assert (decision.session.source, decision.session.previous) == ("derived", None)


async def test_a_turn_that_confirms_the_topic_needs_no_window(
    classifier: Classifier, router: ByWord
) -> None:
    chat = Chat(turns(classifier))
    await chat.say("sql for all customers")
    await chat.say("sql for all orders")

    assert router.texts == ["sql for all customers", "sql for all orders"]


async def test_without_a_session_the_window_decides(classifier: Classifier) -> None:
    """Another process, or a restart: nobody remembers, but the conversation is all there."""
    chat = Chat(turns(classifier, stick="never"))
    await chat.say("a sql query for all customers")

    decision = await chat.say("and then?")

    assert decision.category == "sql"
    assert decision.session is None
    assert not decision.calibrated


async def test_who_only_explains_changes_nothing(classifier: Classifier) -> None:
    chat = Chat(turns(classifier))
    await chat.ask("sql for all customers")

    decision = await chat.ask("only the last ten")

    assert decision.session is not None
    assert decision.session.previous is None


async def test_a_tool_loop_keeps_category_and_expert(
    classifier: Classifier, router: ByWord
) -> None:
    chat = Chat(turns(classifier))
    await chat.say("sql for all customers", by="the-fallback")
    chat.messages.pop()
    asked = len(router.texts)

    decision = await chat.ask(CALL, RESULT)

    assert (decision.category, decision.reason) == ("sql", "session")
    assert decision.session is not None
    assert (decision.session.kept, decision.session.expert) == ("tool-loop", "the-fallback")
    assert decision.session.is_same_turn
    assert len(router.texts) == asked, "the router is not asked"
    explained = await chat.ask(explain=True)
    assert explained.session is not None
    assert explained.session.alone is not None
    assert explained.session.alone.category == "sql"


async def test_a_tool_loop_keeps_an_abstention_too(classifier: Classifier, router: ByWord) -> None:
    chat = Chat(turns(classifier))
    router.error = RouterUnavailable("gone")
    await chat.say("sql for all customers", by="general")
    chat.messages.pop()
    router.error = None

    decision = await chat.ask(CALL, RESULT)

    assert decision.abstained
    assert decision.session is not None
    assert decision.session.expert == "general"


async def test_a_tool_loop_may_switch_where_the_composition_says_so(
    classifier: Classifier, router: ByWord
) -> None:
    chat = Chat(turns(classifier, lock_in_tool_loop=False))
    router.error = RouterUnavailable("gone")
    await chat.say("sql for all customers", by="general")
    chat.messages.pop()
    router.error = None

    assert (await chat.ask(CALL, RESULT)).category == "sql"


async def test_a_session_outlives_a_router_that_fails(
    classifier: Classifier, router: ByWord
) -> None:
    chat = Chat(turns(classifier))
    await chat.say("sql for all customers")
    router.error = RouterUnavailable("gone")

    decision = await chat.say("travel to Rome")

    assert (decision.category, decision.reason) == ("sql", "session")


async def test_two_conversations_that_begin_alike_go_their_own_ways(
    classifier: Classifier,
) -> None:
    shared = turns(classifier)
    one, other = Chat(shared), Chat(shared)
    await one.say("hello")
    await other.say("hello")
    await one.say("sql for all customers")
    await other.say("travel to Rome")

    assert (await one.say("and then?")).category == "sql"
    assert (await other.say("and then?")).category == "travel"


async def test_a_header_names_the_session_of_a_client_that_sends_one_turn(
    classifier: Classifier,
) -> None:
    chat = Chat(turns(classifier), header=b"s-1")
    await chat.say("sql for all customers")
    chat.messages.clear()

    decision = await chat.say("only the last ten")

    assert decision.category == "sql"
    assert decision.session is not None
    assert decision.session.source == "header:x-session-id"


async def test_turn_holds_for_a_retry_and_not_for_the_next_turn(
    classifier: Classifier, router: ByWord
) -> None:
    chat = Chat(turns(classifier, stick="turn"))
    await chat.say("sql for all customers", by="the-fallback")
    chat.messages.pop()
    router.error = RouterUnavailable("gone")

    retry = await chat.ask()
    router.error = None
    follow_up = await chat.ask("only the last ten")

    assert retry.session is not None
    assert (retry.category, retry.session.kept) == ("sql", "same-turn")
    assert follow_up.reason != "session"


async def test_always_keeps_the_first_category(classifier: Classifier, router: ByWord) -> None:
    chat = Chat(turns(classifier, stick="always"))
    assert (await chat.say("hello")).abstained
    await chat.say("sql for all customers")
    asked = len(router.texts)

    decision = await chat.say("travel to Rome")

    assert (decision.category, decision.reason) == ("sql", "session")
    assert len(router.texts) == asked


async def test_a_switch_that_keeps_the_expert_costs_nothing(classifier: Classifier) -> None:
    """The lead is 0.39 here: over the margin, and under margin and cost."""
    rules = {"switch_margin": 0.2, "switch_cost": 0.5}
    chat, other = Chat(turns(classifier, **rules)), Chat(turns(classifier, **rules))
    await chat.say("sql for all customers", by="travel-expert")
    await other.say("sql for all customers")

    assert (await chat.say("travel and math")).category == "travel"
    assert (await other.say("travel and math")).category == "sql"


async def test_who_would_answer_may_be_another_than_the_list_says(classifier: Classifier) -> None:
    """By a fitted map, the expert of the last topic is the best one of this topic, too."""
    rules = {"switch_margin": 0.2, "switch_cost": 0.5, "first": "everything-expert"}
    chat, other = Chat(turns(classifier, **rules)), Chat(turns(classifier, **rules))
    await chat.say("sql for all customers", by="everything-expert")
    await other.say("sql for all customers", by="travel-expert")

    assert (await chat.say("travel and math")).category == "travel"
    assert (await other.say("travel and math")).category == "sql"


async def test_a_keyword_of_an_earlier_turn_is_no_veto(
    classifier: Classifier, router: ByWord
) -> None:
    router.keyword = "traceback"
    chat = Chat(turns(classifier))
    await chat.say("sql traceback")

    decision = await chat.say("travel to Rome")

    assert (decision.category, decision.probability) == ("travel", pytest.approx(0.9, abs=0.05))


async def test_images_alone_continue_the_topic(classifier: Classifier) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    chat = Chat(turns(classifier))
    await chat.say("sql for this diagram")

    assert (await chat.say({"role": "user", "content": [image]})).category == "sql"


@pytest.mark.parametrize("stick", ["until_topic_change", "always", "turn", "never"])
async def test_no_text_is_nothing_to_ask_the_router(
    classifier: Classifier, router: ByWord, stick: str
) -> None:
    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}
    chat = Chat(turns(classifier, stick=stick), header=b"s1")

    decision = await chat.say(" \n", {"role": "system", "content": "sql"}, image)

    assert router.texts == []
    assert (decision.category, decision.reason) == (None, "below-threshold")
    assert decision.detail == "there is no text to route"


async def test_no_text_continues_the_topic_of_a_session(classifier: Classifier) -> None:
    """The header knows the conversation of a client that sends its last message alone."""
    shared = turns(classifier)
    await Chat(shared, header=b"s1").say("sql for all customers")

    decision = await Chat(shared, header=b"s1").say("")

    assert (decision.category, decision.reason) == ("sql", "session")
