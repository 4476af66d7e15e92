"""One turn of a conversation -> Decision: what the router says, and what the session keeps.

Everything here happens only when the router is asked: a request that names its expert pays for
neither window nor key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from coe import conversation
from coe.classify import Classifier
from coe.composition import Routing
from coe.conversation import SessionKey, Window
from coe.decide import follow
from coe.sessions import Session, Sessions
from coe.types import Decision, Kept, Query, SessionEffect


class Turns:
    """Decides the turns of conversations and remembers the last decision of each."""

    def __init__(
        self,
        classifier: Classifier,
        routing: Routing,
        sessions: Sessions | None,
        first: Callable[[Query, Decision], str] | None = None,
        silence: Callable[[Query], str] | None = None,
    ) -> None:
        """Store the parts.

        Args:
            classifier: of single texts.
            routing: the rules.
            sessions: what is remembered; None where nothing is.
            first: says who would be asked first; None: the first of the category's written list.
            silence: says why the classifier may not see a query, empty where it may; None: always.
        """
        self._classifier = classifier
        self._routing = routing
        self._rules = routing.sessions
        self._sessions = sessions
        self._first = first
        self._silence = silence

    @property
    def sessions(self) -> Sessions | None:
        """What is remembered; None where nothing is."""
        return self._sessions

    async def decide(self, query: Query, *, explain: bool = False) -> Decision:
        """Return the decision for a conversation's last turn; never raises.

        Args:
            query: with the conversation in its body.
            explain: ask the router even where the session decides, to say what it would choose.
        """
        context = self._routing.context
        window = conversation.read(query.body["messages"], context)
        if self._sessions is None:
            return await self._ask(query, window)
        key = conversation.session_key(
            window,
            self._rules.key,
            headers=query.headers,
            body=query.body,
            context=context,
            tenant=query.identity.tenant,
        )
        if key is None:
            return await self._ask(query, window)
        last = await self._last(self._sessions, key, window)
        effect = SessionEffect(
            source=key.source,
            key=key.here,
            turn=key.turn,
            owner=key.owner,
            previous=last.category if last else None,
            expert=last.expert if last else "",
        )
        kept = self._held_by(last, key, window) if last else None
        if kept is not None:
            alone = None
            if explain:
                alone = await self._ask(query, window)
            return _keep(effect, kept, alone)
        if last is None or last.category is None or self._rules.stick != "until_topic_change":
            alone = await self._ask(query, window)
            return replace(alone, session=effect)
        return await self._follow(query, last.category, effect, window)

    async def decide_alone(self, query: Query) -> Decision:
        """Return the router's decision for a conversation, whatever was decided before it."""
        window = conversation.read(query.body["messages"], self._routing.context)
        return await self._ask(query, window)

    def remember(self, decision: Decision, expert: str) -> None:
        """Remember a decision once `expert` answers; nothing where no session was looked at."""
        effect = decision.session
        if effect is not None and self._sessions is not None:
            self._sessions.remember(effect.key, Session(decision.category, expert, effect.turn))

    async def _ask(self, query: Query, window: Window, *, settled: str | None = None) -> Decision:
        """Return what the router says of a window; where there is no text, that nothing is said.

        An encoder has a vector for the empty text, too, and it is near to some category. A router
        that would send the text to somebody whom the query may not reach is not asked.
        """
        if not window.text:
            return Decision(reason="below-threshold", detail="there is no text to route")
        if self._silence is not None and (why := self._silence(query)):
            return Decision(reason="policy", detail=f"the router is not asked: {why}")
        return await self._classifier.classify(window.turn, window.text, settled=settled)

    async def _follow(
        self, query: Query, previous: str, effect: SessionEffect, window: Window
    ) -> Decision:
        """Return the router's decision where it may switch, else the session's."""
        alone = await self._ask(query, window, settled=previous)
        switches = alone.category not in {None, previous}
        cost = self._cost(query, alone, effect) if switches else 0.0
        decision = follow(
            alone,
            previous,
            margin=self._rules.switch_margin + cost,
            calibrated=self._classifier.calibrated,
        )
        if decision is alone:
            return replace(alone, session=effect)
        return _keep(effect, "margin", alone)

    def _cost(self, query: Query, alone: Decision, effect: SessionEffect) -> float:
        """Return what it costs to follow the router: nothing where the same expert answers."""
        if self._first is not None:
            first = self._first(query, replace(alone, session=effect))
        else:
            first = next(iter(self._routing.routes.get(alone.category or "", ())), "")
        return 0.0 if first and first == effect.expert else self._rules.switch_cost

    async def _last(self, sessions: Sessions, key: SessionKey, window: Window) -> Session | None:
        """Return the last decision: of this very turn where that one may hold, or of the last."""
        if window.in_tool_loop or self._rules.stick == "turn":
            same = await sessions.find(key.here)
            if same is not None:
                return same
        return None if key.before is None else await sessions.find(key.before)

    def _held_by(self, last: Session, key: SessionKey, window: Window) -> Kept | None:
        """Return what keeps the last decision without asking the router; None where nothing."""
        if last.turn == key.turn:
            if window.in_tool_loop and self._rules.lock_in_tool_loop:
                return "tool-loop"
            if self._rules.stick == "turn":
                return "same-turn"
        if self._rules.stick == "always" and last.category is not None:
            return "always"
        return None


def _keep(effect: SessionEffect, kept: Kept, alone: Decision | None) -> Decision:
    """Return the last decision once more, with what the router would have chosen."""
    return replace(
        alone or Decision(),
        category=effect.previous,
        reason="session",
        detail="",
        session=replace(effect, kept=kept, alone=alone),
    )
