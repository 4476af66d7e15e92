"""The nouns of a request's path: frozen values, made by one stage and read by the next.

ChatRequest -parse-> Query -route-> Decision -plan-> Plan(Call...) -dispatch-> Dispatch
            -generate-> frames -answer-> Answer -render-> ChatResponse
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from coe.identity import ANONYMOUS, FREE, Identity, Permit
from coe.value import value

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from coe.claim import Claim


Endpoint = Literal["chat/completions", "embeddings"]
PART = b"x-coe-part"
"""Header of a call that a panel makes."""

Reason = Literal[
    "matched",  # a category reached its threshold
    "pinned",  # the client named the expert or the category
    "below-threshold",  # no category was sure enough: the default expert answers
    "ambiguous",  # two categories were too close to each other: the default expert answers
    "session",  # the conversation keeps the category that it had
    "router-failed",  # the router raised or was late: the default expert answers
    "no-router",  # the composition has no categories: the default expert answers
    "policy",  # a better ranked expert, or the router, may not see the request
    "fallback",  # a better ranked expert failed before its first byte
    "cached",  # an answer that was kept is given again: nothing is decided
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Four independent limits of one call, in seconds.

    Attributes:
        connect_s: until the backend accepts the connection.
        first_token_s: from sending the request until the first content frame.
        idle_s: between two pieces of an answer.
        total_s: the whole call.
    """

    connect_s: float = 5.0
    first_token_s: float = 60.0
    idle_s: float = 60.0
    total_s: float = 600.0


@value
class Query:
    """One request, parsed: what is routed, and what is sent on.

    Attributes:
        id: unique per request, made by the gateway (never the client's own id).
        model: the name that the client asked for.
        body: the OpenAI body as the client sent it; unknown fields are kept.
        stream: whether the client wants server-sent events.
        tokens: an estimate of the prompt's length in tokens.
        max_output: the client's limit on new tokens, if it named one.
        requires: capabilities without which an expert cannot answer (`tools`, `vision`, ...).
        headers: as ASGI has them, names in lower case; may name the session.
        identity: who asks.
        permit: which experts it may reach.
    """

    id: str
    model: str
    body: Mapping[str, Any]
    stream: bool = False
    tokens: int = 0
    max_output: int | None = None
    requires: frozenset[str] = frozenset()
    endpoint: Endpoint = "chat/completions"
    headers: Sequence[tuple[bytes, bytes]] = field(default=(), repr=False)
    identity: Identity = ANONYMOUS
    permit: Permit = FREE


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Why a router believes in a category.

    Attributes:
        kind: what spoke: an `utterance`, a `negative`, a `keyword`, an `expert` by the queries that
            it is best at, a `skill` that the text needs, or a `judge`.
        category: the category that the evidence speaks for (or, for a negative, against); empty
            where it speaks for none of them.
        text: the utterance, the keyword or pattern that was hit, the expert's or the skill's name,
            or how a judge put it.
        similarity: cosine in [-1, 1]; None where there is none (keywords).
    """

    kind: Literal["utterance", "negative", "keyword", "expert", "skill", "judge"]
    category: str
    text: str
    similarity: float | None = None


class Embedding(NamedTuple):
    """A text as an encoder sees it.

    Attributes:
        vector: shape (dim,), of length 1.
        encoder: fingerprint of the encoder.
    """

    vector: NDArray[np.float32]
    encoder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What a router says of a batch of texts.

    Attributes:
        values: shape (n_texts, n_categories), float32, columns in the order of
            `Router.categories`. Where the router is calibrated, each row holds probabilities in
            [0, 1] that sum to at most 1; what is missing is the probability of "none of these".
        stages: the name of the stage that decided, one per text; empty means the router's own name.
        evidence: the strongest evidence first, one tuple per text; may be empty.
        failures: why a text has no scores, one per text, empty for those that have; () where all
            have. The row of a failure is zeros, and it is not remembered.
        embeddings: what the scores were read from, one per text, None for a text that was not
            encoded; () from a router that stands on no encoder.
    """

    values: NDArray[np.float32]
    stages: tuple[str, ...] = ()
    evidence: tuple[tuple[Evidence, ...], ...] = ()
    failures: tuple[str, ...] = ()
    embeddings: tuple[Embedding | None, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """A label that a router predicts, as the composition defines it.

    Attributes:
        threshold: least probability at which the category may be chosen, in [0, 1];
            None means the router's default.
        experts: who answers it, ranked; for routers that judge experts and not texts.
        skills: what its texts need, 0 to 1 by skill; empty where the file does not say.
    """

    name: str
    description: str = ""
    utterances: tuple[str, ...] = ()
    negatives: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    threshold: float | None = None
    experts: tuple[str, ...] = ()
    skills: Mapping[str, float] = field(default_factory=dict)


class RankedCategory(NamedTuple):
    """One row of a decision's distribution.

    A tuple: each decision makes one for every category, and a frozen dataclass takes thrice as
    long.
    """

    name: str
    probability: float


Kept = Literal[
    "tool-loop",  # the user has not spoken since the model called a tool
    "same-turn",  # the same user turn was decided before
    "always",  # the composition says so
    "margin",  # no other category leads by the margin and the cost of a switch
]


@value
class SessionEffect:
    """What the session meant for a decision.

    Attributes:
        source: where the session's key is from: `header:x-session-id`, `derived`, ...
        key: where this decision is remembered, once somebody answers.
        owner: digest of whose conversation it is; the same for all of its turns.
        turn: digest of the user turn that was decided.
        previous: the category of the last decision; None where there was none.
        expert: who answered last; empty where nobody did.
        kept: why the last decision holds; None where this one is the router's own.
        alone: what the router would have chosen without the session; None where it chose, or
            where it was not asked.
    """

    source: str
    key: bytes = field(repr=False)
    turn: bytes = field(repr=False)
    owner: bytes = field(default=b"", repr=False)
    previous: str | None = None
    expert: str = ""
    kept: Kept | None = None
    alone: Decision | None = None

    @property
    def is_same_turn(self) -> bool:
        """Whether the last decision holds because it was of this very user turn."""
        return self.kept in {"tool-loop", "same-turn"}


@value
class Decision:
    """Which category a query belongs to, and how sure the router is.

    Attributes:
        ranked: the full distribution, best first (never the winner alone).
        category: the chosen category; None when the router abstained.
        calibrated: whether the probabilities are calibrated, or raw scores.
        router: the router stage that decided.
        pinned_expert: the expert that the client named, if it named one.
        session: what the conversation so far meant for it; None where it was not looked at.
        embedding: of the text that was decided; None where nobody wants it.
    """

    ranked: tuple[RankedCategory, ...] = ()
    category: str | None = None
    reason: Reason = "no-router"
    calibrated: bool = False
    router: str = ""
    evidence: tuple[Evidence, ...] = ()
    pinned_expert: str | None = None
    detail: str = ""
    session: SessionEffect | None = None
    embedding: Embedding | None = field(default=None, repr=False, compare=False)

    @property
    def abstained(self) -> bool:
        """Whether no category was chosen by a router."""
        return self.category is None and self.pinned_expert is None

    @property
    def probability(self) -> float | None:
        """The probability of the chosen category, or of the best one where none was chosen."""
        for row in self.ranked:
            if self.category is None or row.name == self.category:
                return row.probability
        return None


Choose = Literal["ranked", "fitted", "cheapest_good", "best_single", "random"]
Chosen = Literal[
    "ranked",  # by the written ranking: no map is used
    "fitted",  # by the fitted map: most quality for the money
    "cheapest_good",  # by the fitted map: the cheapest that is good enough
    "best_single",  # one expert for everything, then the written ranking: asked for, or because a
    # flagged map is not used
    "random",  # one of those that the category ranks, each as likely, then the written ranking
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dial:
    """How quality and money are weighed where several experts could answer.

    Attributes:
        choose: `ranked` uses no map, nor do `random` and, but to know who it is, `best_single`.
        quality_floor: least expected quality, in [0, 1], of `cheapest_good`; None: a little under
            the best expert's (`coe.mapping.choose.NEARLY`).
        price_weight: quality that one unit of money is worth; None: the map's own.
        latency_weight: quality that one second is worth; None: the map's own.
    """

    choose: Choose = "ranked"
    quality_floor: float | None = None
    price_weight: float | None = None
    latency_weight: float | None = None


class Prospect(NamedTuple):
    """What a fitted map expects of an expert's answer to one query.

    A tuple, as `RankedCategory` is: there is one for every expert.

    Attributes:
        quality: in [0, 1], with `lower` and `upper` as its 95 % interval.
        cost: money for one request; None where no price is known.
        latency_s: seconds of the answer; None where unknown.
        utility: the quality, less what the money and the time are worth.
    """

    expert: str
    quality: float
    lower: float
    upper: float
    cost: float | None
    latency_s: float | None
    utility: float


@value
class Choice:
    """How the experts of a plan were ranked.

    Attributes:
        choose: what ranked them.
        prospects: the experts that a fitted map ranks, best first; the written ranking follows.
        price_weight: quality that one unit of money was worth.
        quality_floor: that `cheapest_good` asked for.
        is_corrected: whether measured neighbours of this very text had a say.
        detail: why it is not what was asked for, if it is not.
        chances: how likely each expert was to be the first, where that was drawn; empty where it
            was certain.
        features: of the prompt, by which it was decided; empty where nothing is learnt.
    """

    choose: Chosen
    prospects: tuple[Prospect, ...] = ()
    price_weight: float = 0.0
    quality_floor: float | None = None
    is_corrected: bool = False
    detail: str = ""
    chances: Mapping[str, float] = field(default_factory=dict)
    features: tuple[float, ...] = ()

    def of(self, expert: str) -> Prospect | None:
        """Return what is expected of an expert; None of one that the map does not rank."""
        return next((row for row in self.prospects if row.expert == expert), None)


class Exclusion(NamedTuple):
    """The first rule that took an expert out of a plan. A tuple: there may be one per expert."""

    expert: str
    rule: str
    detail: str


@value
class Call:
    """One expert to ask: where it runs and what it is sent.

    Attributes:
        expert: the name in the composition; it is the `model` of the response.
        model: the name that the backend knows the expert by.
        adapter: the LoRA adapter's name or path, for backends that load it themselves.
        body: the client's body with the expert's defaults and forced values merged in.
        is_part: whether a panel makes it; a gateway that it reaches then asks no panel of its own.
        hides_usage: whether the gateway alone asked for the usage of its stream: the client is not
            to see it.
    """

    expert: str
    backend: str
    model: str
    body: Mapping[str, Any]
    adapter: str | None = None
    stream: bool = False
    endpoint: Endpoint = "chat/completions"
    timeouts: Timeouts = field(default_factory=Timeouts)
    is_part: bool = False
    hides_usage: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelPlan:
    """Several calls whose drafts make one answer.

    Attributes:
        panel: its name in the composition.
        calls: the members, best first; an expert may be asked more than once.
        weights: how often each is expected to be right, in [0, 1]; shape (n_calls,).
        detail: why these, and why so many.
        excluded: who may answer, but not on this panel, each with the first rule against it.
    """

    panel: str
    calls: tuple[Call, ...]
    weights: tuple[float, ...]
    detail: str = ""
    excluded: tuple[Exclusion, ...] = ()


@value
class Plan:
    """Who is asked, in which order, and why the others are not.

    Attributes:
        calls: the first is asked; each later one only if all before it failed before a first byte.
            Empty when every ranked expert is excluded.
        excluded: every expert that was ranked but may not answer, with the first rule against it.
        choice: how they were ranked; None where the client named one, or only the written ranking
            was asked for.
        panel: who is asked together; None where one expert is asked. `calls` then says who answers
            where the panel cannot.
        alone: why one expert answers though a panel is there for such requests; else empty.
        chances: how likely each expert was to be the first, by name, where that was drawn; empty
            where it was certain.
        permit: by which it was made.
        is_steered: whether somebody ranked better than the first call was barred by it.
        set_back: who is asked after all others for now, each with the reason.
        instead_of: who of those would be the first; empty where it is none of them.
    """

    calls: tuple[Call, ...]
    excluded: tuple[Exclusion, ...] = ()
    choice: Choice | None = None
    panel: PanelPlan | None = None
    alone: str = ""
    chances: Mapping[str, float] = field(default_factory=dict)
    permit: Permit = FREE
    is_steered: bool = False
    set_back: tuple[Exclusion, ...] = ()
    instead_of: str = ""

    def reason(self, decision: Decision) -> Reason:
        """Return why its first expert answers."""
        return "policy" if self.is_steered else decision.reason


@value
class Dispatch:
    """A call that was granted a slot.

    Attributes:
        query_id: the request's id, for logs and for backends that pass it on.
        queued_s: seconds spent waiting for the slot.
        swap_s: how much of that its expert was being loaded.
        claim: how the request waits, for backends that ask other experts; None where nobody does.
    """

    query_id: str
    call: Call
    queued_s: float = 0.0
    swap_s: float = 0.0
    claim: Claim | None = None


@value
class Attempt:
    """One try at a call that failed before its first byte.

    Attributes:
        error: why, in words of ours: see `CoEError.logged`.
        kind: of the failure, see `coe.resilience.kinds`; `overtaken` where another expert began
            first.
        then: what was done about it, and by which rule.
        is_beside: whether it was asked beside others, which went on.
    """

    expert: str
    error: str
    kind: str = ""
    then: str = ""
    is_beside: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelReport:
    """What a panel's calls came to by the time at which the headers of its answer are sent.

    Attributes:
        calls: how many were made.
        cost: of those that have ended and whose price is known; None where that is none.
        currency: of the cost; empty where no price is known.
    """

    panel: str
    calls: int
    cost: float | None = None
    currency: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled:
    """An answer that was kept, and is given again.

    Attributes:
        id: of what is kept.
        similarity: cosine of the last turns of both requests; 1 where they are the same.
        age_s: how long ago it was written.
    """

    id: str
    similarity: float
    age_s: float


@dataclass(slots=True, kw_only=True)
class Answer:
    """What the caller gets: an open stream whose first piece is already here.

    Attributes:
        call: the call that answers.
        frames: the rest of the stream; close it (`aclosing`) to cancel the call. For a streamed
            call each item is one or more whole SSE frames; otherwise nothing follows `first`.
        first: the first content frame, or the whole body of a call that is not streamed.
        attempts: what failed before.
        routed_s: seconds spent choosing the expert.
        opened_s: seconds from the dispatch to `first`; of an answer to the same request of another,
            how long that was waited for.
        queued_s: seconds that the answering call waited: for its slot, and to be let in.
        swap_s: how much of that the expert was being loaded; None where its memory is not managed.
        arms: of the experiments that the query takes part in, by their names.
        composition: fingerprint of the composition that it was answered by.
        panel: what several calls came to; None where one expert answers.
        recalled: what was kept of an earlier answer, which this one is; None where it is its own.
        cache: what came of looking for it, for a header; empty where nothing is kept.
    """

    query: Query
    decision: Decision
    plan: Plan
    call: Call
    first: bytes
    frames: AsyncGenerator[bytes, None]
    attempts: tuple[Attempt, ...] = ()
    routed_s: float = 0.0
    opened_s: float = 0.0
    queued_s: float = 0.0
    swap_s: float | None = None
    arms: Mapping[str, str] = field(default_factory=dict)
    composition: str = ""
    panel: PanelReport | None = None
    recalled: Recalled | None = None
    cache: str = ""

    @property
    def reason(self) -> Reason:
        """Why this expert answers: the decision's reason, or that a better one failed."""
        if not self.attempts and not self.plan.instead_of:
            return self.plan.reason(self.decision)
        who = self.call.expert
        has_failed = any(row.expert != who and not row.is_beside for row in self.attempts)
        is_instead = self.plan.instead_of not in {"", who}
        return "fallback" if has_failed or is_instead else self.plan.reason(self.decision)
