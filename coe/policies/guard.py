"""The policies of one composition at work: from a query to the same query with its permit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property

from coe.composition import Composition
from coe.composition.barring import encoder_key
from coe.composition.complete import stages_of
from coe.composition.routing_keys import RouterKeys
from coe.errors import Forbidden
from coe.identity import FREE, Identity, Permit
from coe.policies.detectors import Detectors
from coe.policies.permits import words_of
from coe.policies.rules import Asking, Rulebook
from coe.policies.texts import holds_tokens
from coe.policies.wishes import Headers, Wishes, wishes_of
from coe.types import Query


class Guard:
    """See the module. Belongs to one event loop.

    What a composition without policies costs is a look at the headers, and at the key's lists.
    """

    def __init__(self, composition: Composition, clock: Callable[[], float] = time.time) -> None:
        """Store the parts; `clock` returns seconds since the epoch, for rules with hours."""
        self._composition = composition
        self._has_policies = composition.policies is not None
        self._clock = clock

    @property
    def detects(self) -> bool:
        """Whether texts are looked at, for which libraries are to be loaded."""
        policies = self._composition.policies
        return policies is not None and bool(policies.detect)

    @cached_property
    def minds_category(self) -> bool:
        """Whether the category of a text can take somebody away."""
        return self._has_policies and self._rules.by_category

    async def load(self) -> None:
        """Load what detectors stand on, so that no request waits for it."""
        await asyncio.to_thread(lambda: self._detectors)

    async def admitted(self, query: Query) -> Query:
        """Return a query with the permit that it has before its category is known.

        Raises:
            InvalidRequest: a header names what there is not.
            Forbidden: the client asks for what clients may not.
        """
        wishes = wishes_of(query.headers)
        if self._is_free(query.identity, wishes):
            return query
        self._check(query, wishes)
        found: tuple[str, ...] = ()
        classes: tuple[str, ...] = ()
        if self._detectors is not None:
            if query.endpoint == "embeddings" and holds_tokens(query.body):
                found = self._detectors.names  # nobody here can read them
            else:
                found = await self._detectors.look(query.body)
            classes = self._detectors.classes(found)
        data = self._rules.sensitive(wishes.data, *classes)
        return self._with(query, wishes, data, found, None)

    def settled(self, query: Query, category: str | None) -> Query:
        """Return a query with the permit that it has in its category, or by another composition.

        What was found in it is known from the permit that it has; a data class only ever rises.
        """
        if not self._has_policies and query.permit is FREE:
            return query
        wishes = wishes_of(query.headers)
        entry = self._composition.categories.get(category or "")
        own = entry.data if entry is not None else ""
        data = self._rules.sensitive(query.permit.data, wishes.data, own)
        return self._with(query, wishes, data, query.permit.found, category)

    def permit(self, identity: Identity, headers: Headers = ()) -> Permit:
        """Return what somebody may reach with a request that says nothing, to be shown.

        Raises:
            InvalidRequest: a header names what there is not.
            Forbidden: the client asks for what clients may not.
        """
        wishes = wishes_of(headers)
        query = Query(id="", model="", body={}, headers=headers, identity=identity)
        if self._is_free(identity, wishes):
            return query.permit
        self._check(query, wishes)
        return self._with(query, wishes, self._rules.sensitive(wishes.data), (), None).permit

    def silence(self, query: Query) -> str:
        """Return why the router may not be asked about a query; empty where it may.

        It sends texts to experts, or to an encoder on another machine, that the query may not
        reach.
        """
        if not query.permit.barred or not self._router_asks:
            return ""
        return words_of(query.permit.barred, self._router_asks)

    def _with(
        self,
        query: Query,
        wishes: Wishes,
        data: str,
        found: tuple[str, ...],
        category: str | None,
    ) -> Query:
        asking = Asking(query.identity, wishes.exclude, data, found, category, self._clock())
        permit = self._rules.permit(asking)
        if query.permit.is_thrifty:
            permit = replace(permit, is_thrifty=True)
        return query if permit is query.permit else replace(query, permit=permit)

    def _check(self, query: Query, wishes: Wishes) -> None:
        """See that a client asks for nothing strange, and for nothing that it may not."""
        may = self._rules.policies.client_may
        if wishes.data:
            self._rules.check_class(wishes.data)
        if wishes.exclude is not None:
            if not may.exclude:
                raise Forbidden("clients may not keep experts out here", param="x-coe-exclude")
            self._rules.check_group(wishes.exclude)
        if wishes.stays_out and not may.opt_out_experiment:
            raise Forbidden(
                "clients may not stay out of experiments here", param="x-coe-experiment"
            )
        if not may.choose_expert and query.model in self._composition.experts:
            message = "clients may not name an expert here: ask for `coe/auto`"
            raise Forbidden(message, param="model")

    def _is_free(self, identity: Identity, wishes: Wishes) -> bool:
        return (
            not self._has_policies
            and wishes.exclude is None
            and not wishes.data
            and identity.experts is None
            and not identity.not_experts
        )

    @cached_property
    def _rules(self) -> Rulebook:
        return Rulebook(self._composition)

    @cached_property
    def _detectors(self) -> Detectors | None:
        policies = self._composition.policies
        return Detectors(policies) if policies is not None and policies.detect else None

    @cached_property
    def _router_asks(self) -> tuple[str, ...]:
        """The experts and encoders that the deciding router sends texts to."""
        decides = self._composition.routing.router
        return () if decides is None else tuple(dict.fromkeys(self._asked(decides, set())))

    def _asked(self, name: str, seen: set[str]) -> Iterator[str]:
        spec = self._composition.routers.get(name)
        if spec is None or name in seen:
            return
        seen.add(name)
        for key in RouterKeys.ASKS:
            if isinstance(expert := spec.options.get(key), str):
                yield expert
        if isinstance(encoder := spec.options.get("encoder"), str):
            yield encoder_key(encoder)
        for stage in stages_of(spec.options):
            yield from self._asked(stage, seen)
