"""The composition as the gateway works with it: frozen, complete, cross-checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from coe.composition.barring import Sites
from coe.composition.cache_values import CacheRules
from coe.composition.policy_values import Policies
from coe.composition.programs import Program, over
from coe.composition.trust import Trust
from coe.errors import Problem
from coe.limits.scopes import Limit
from coe.protocols import EncoderSpec, RouterSpec
from coe.resilience.rules import Fallbacks
from coe.types import Category, Dial, Timeouts

Status = Literal["live", "canary", "shadow", "draining", "retired"]
Stick = Literal["never", "turn", "until_topic_change", "always"]
Guard = Literal["report", "enforce"]

CANARY_SHARE = 0.05
MILLION = 1_000_000
MOST_MEMBERS = 16
NO_PANEL = "none"
"""Written where a panel's name could be: one expert answers."""

LOAD_TIME_S = 5.0
HOST_SHARE = 0.1
"""What a load from host memory is guessed to take of one from disk."""


Arms = tuple[tuple[str, str], ...]
"""Experiments and their arms, in the order of the file."""


def _nothing() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where the gateway listens, and who needs a key: everybody, or whoever is not on this machine.

    The latter, `auto`, asks nobody for one while the gateway listens on loopback alone.
    """

    host: str = "127.0.0.1"
    port: int = 8088
    auth: Literal["auto", "keys"] = "auto"

    @property
    def listen(self) -> str:
        """The address as `HOST:PORT`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A server, or the engine in this process, that runs experts.

    Attributes:
        type: name of a `coe.backends` plugin.
        url: base address, with `/v1` where the file gave no path; None for an embedded engine.
        api_key: resolved; None where there is none.
        memory: bytes into which its experts are packed; None where the file does not say.
        reserve: bytes of `memory` that are kept free.
        host_memory: bytes of host memory for those that leave; None where nobody is parked.
        max_loras: adapters that may be in memory at once, of one base; None for all.
        timeouts: the composition's own, with this backend's on top.
        trust: how far away it is.
        options: keys that only this type knows.
    """

    name: str
    type: str
    url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=_nothing, repr=False)
    concurrency: int | None = None
    memory: int | None = None
    reserve: int = 0
    host_memory: int | None = None
    max_loras: int | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    trust: Trust = "local"
    options: Mapping[str, Any] = field(default_factory=_nothing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """LoRA weights: a folder (relative to the composition's), or a name that the backend knows."""

    source: str
    revision: str | None = None
    rank: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Prices of one million tokens, in `currency`; None where the file does not say."""

    input: float | None = None
    output: float | None = None
    currency: str = "USD"

    def of(self, prompt_tokens: int | None, answer_tokens: int | None) -> float | None:
        """Return what a call costs; None where that is not known.

        Example:
            >>> Cost(input=2.0, output=10.0).of(500_000, 100_000)
            2.0
        """
        if self.input is None or self.output is None:
            return None
        if prompt_tokens is None or answer_tokens is None:
            return None
        return (self.input * prompt_tokens + self.output * answer_tokens) / MILLION


@dataclass(frozen=True, slots=True, kw_only=True)
class Expert:
    """A named model, adapter or program with a purpose; what is inherited is filled in.

    Attributes:
        model: what the backend knows the model by; for a LoRA that of its base, for a program the
            expert's own name.
        host: the backend whose memory and slots its calls take, where that is not its own; for a
            program that of the model under it.
        program: what it does, where it is a prompt program.
        calls: of models, that one answer takes at most: 1, but for a program.
        added: bytes that every one of them has before the prompt, at most; 0, but for a program.
        context: tokens of prompt and answer together; None where the file does not say.
        memory: bytes that it takes; None where the file does not say.
        load_time_s: a first guess of what loading it from disk takes.
        host_load_time_s: of what loading it from host memory takes.
        pinned: whether it is never unloaded.
        preferred: whether it is unloaded after others, and brought back when nobody needs the room.
        capabilities: None where the file does not declare any: then nothing is ruled out.
        skills: 0 to 1, by name.
        share: of the conversations that a canary may answer, in (0, 1].
    """

    name: str
    kind: Literal["llm", "lora", "program"] = "llm"
    backend: str
    model: str
    base: str | None = None
    adapter: Adapter | None = None
    host: str = ""
    program: Program | None = None
    calls: int = 1
    added: int = 0
    context: int | None = None
    max_output: int | None = None
    memory: int | None = None
    load_time_s: float = LOAD_TIME_S
    host_load_time_s: float = HOST_SHARE * LOAD_TIME_S
    pinned: bool = False
    preferred: bool = False
    capabilities: frozenset[str] | None = None
    skills: Mapping[str, float] = field(default_factory=_nothing)
    tags: tuple[str, ...] = ()
    status: Status = "live"
    share: float = CANARY_SHARE
    defaults: Mapping[str, Any] = field(default_factory=_nothing)
    force: Mapping[str, Any] = field(default_factory=_nothing)
    cost: Cost | None = None
    description: str = ""

    @property
    def adapter_source(self) -> str | None:
        """Folder or name of the adapter; None for a whole model."""
        return self.adapter.source if self.adapter else None

    @property
    def is_priced(self) -> bool:
        """Whether it is known what its calls cost."""
        return self.cost is not None and None not in {self.cost.input, self.cost.output}

    @property
    def is_eligible(self) -> bool:
        """Whether its status lets it answer new conversations."""
        return self.status in {"live", "canary"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryEntry:
    """A category, with the texts of its files merged in, and the experts that answer it.

    Attributes:
        experts: ranked; empty where only `routing.none` and the default answer.
        data: the data class of its requests; empty where the file does not say.
    """

    category: Category
    experts: tuple[str, ...] = ()
    data: str = ""

    @property
    def name(self) -> str:
        """The category's name."""
        return self.category.name

    @property
    def description(self) -> str:
        """One line that says what belongs here."""
        return self.category.description


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """How much of a conversation is routed.

    Attributes:
        turns: user turns, the last one included.
        max_chars: of the routed text.
        strip_reminders: whether `<system-reminder>` blocks are left out.
        code_blocks_over: fenced blocks of more characters are left out; None keeps them all.
    """

    turns: int = 3
    max_chars: int = 4000
    strip_reminders: bool = True
    code_blocks_over: int | None = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Stickiness:
    """How the decisions of one conversation hang together.

    Attributes:
        key: where the session's key is looked for, in this order.
        stick: what a decision holds for.
        switch_margin: least lead of another category over the last one, in [0, 1].
        switch_cost: added to it where another expert would answer.
        lock_in_tool_loop: whether nothing changes between a tool's call and its answer.
        ttl_s: a session is forgotten this long after its last decision.
    """

    key: tuple[str, ...] = (
        "header:x-session-id",
        "body:user",
        "body:prompt_cache_key",
        "derived",
    )
    stick: Stick = "until_topic_change"
    switch_margin: float = 0.15
    switch_cost: float = 0.05
    lock_in_tool_loop: bool = True
    ttl_s: float = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """From a category to the experts that answer.

    Attributes:
        router: the router that decides; None where there are no categories.
        choose: how an expert is chosen where neither the model nor the route says.
        guard: what a flagged map means: it is used and said to be flagged, or it is not used.
        routes: ranked experts by category; a category without a route is not in it.
        by_hand: categories whose written ranking holds whatever the map says.
        panels: the panel that answers a category, by category, or `NO_PANEL` where none may; of the
            others the model's name says.
        none: who answers when no category is sure, ranked.
        threshold: least probability of categories that name none of their own.
        margin: least gap between the best two categories.
        context: how much of a conversation is routed.
        sessions: how the decisions of a conversation hang together.
    """

    router: str | None = None
    choose: Literal["ranked", "fitted", "best_single", "random"] = "ranked"
    guard: Guard = "report"
    routes: Mapping[str, tuple[str, ...]] = field(default_factory=_nothing)
    by_hand: frozenset[str] = frozenset()
    panels: Mapping[str, str] = field(default_factory=_nothing)
    none: tuple[str, ...] = ()
    threshold: float = 0.5
    margin: float = 0.0
    context: Context = field(default_factory=Context)
    sessions: Stickiness = field(default_factory=Stickiness)


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualModel:
    """A name that clients may use and that stands for no single expert.

    Attributes:
        dial: how it weighs quality and money.
        panel: the panel that answers, or `NO_PANEL`; None where the category says.
        needs_map: whether the file asks for something that only a fitted map can do.
    """

    name: str
    dial: Dial = field(default_factory=Dial)
    panel: str | None = None
    needs_map: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Several experts whose drafts make one answer.

    Attributes:
        method: name of a `coe.aggregators` plugin.
        experts: its members, best first; empty where they are chosen for each request.
        top: most members, samples of one expert counted once.
        least: fewest members; with 1, an easy request makes one call.
        choose: where `experts` is empty, whether the members are the first of the ranking, or
            recruited for what they add to each other, as far as that was measured.
        samples: how often each member is asked.
        distinct_backends: whether no two members may run on the same backend.
        sure_at: members are added until one of them is right with this probability, in (0, 1];
            None always takes `top`.
        judge, writer: experts that compare drafts, that write the answer; None for the best member.
        quorum: drafts that are enough; None waits for all that are asked.
        deadline_s: after so long the answer is made of what is there; None for as long as it takes.
        draft_deadline_s: a member that takes longer is dropped; None for as long as it takes.
        max_cost: of all calls of one request, in the currency of the experts' prices; None for no
            limit.
        options: what only this method knows.
    """

    name: str
    method: str
    experts: tuple[str, ...] = ()
    top: int = 3
    least: int = 1
    choose: Literal["ranked", "recruited"] = "ranked"
    samples: int = 1
    distinct_backends: bool = False
    sure_at: float | None = None
    judge: str | None = None
    writer: str | None = None
    quorum: int | None = None
    deadline_s: float | None = None
    draft_deadline_s: float | None = None
    max_cost: float | None = None
    options: Mapping[str, Any] = field(default_factory=_nothing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """How calls wait for experts that are not in memory; see `coe.scheduler.options`.

    Attributes:
        strategy, evict: names of a `coe.orderings` and a `coe.evictions` plugin.
        ageing: of the strategy `affinity`; None for its own.
        load_limit_s: a load that takes longer has failed.
        max_queue_per_key: at most `max_queue`.
        status_frames: whether a stream says what it waits for.
    """

    strategy: str = "affinity"
    evict: str = "next_use"
    goal: float = 0.5
    max_wait_s: float | None = None
    ageing: float | None = None
    min_residency_s: float = 0.0
    load_limit_s: float = 300.0
    fair_share: Literal["key", "team", "none"] = "key"
    max_queue: int = 2000
    max_queue_per_key: int = 2000
    bulk_share: float = 0.2
    bulk_max_wait_s: float = 1800.0
    status_frames: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One variant of the composition.

    Attributes:
        share: of the units, in (0, 1]; 0 in a shadow experiment, where each arm answers.
        changes: what is other than in the file, by dotted path; empty where nothing is.
    """

    name: str
    share: float
    changes: Mapping[str, Any] = field(default_factory=_nothing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A comparison of variants of the composition on real requests.

    Attributes:
        unit: what an arm is given to.
        arms: the first is the control.
        categories: only requests of these take part; None for all.
        categories_not: but not of these.
        models: only requests that ask for these; None for all.
        teams: only requests of keys of these teams; None for all.
        teams_not: but not of these.
        sample: of the requests, in (0, 1]; of a shadow experiment.
        primary: the metric that decides.
        worth: the smallest difference worth having, in the metric's units.
        per_arm: units of each arm at the end; None where no end is planned.
        after_s: it ends after so long; None for whenever it is sure.
        error_rate, p95, cost: how much worse an arm may be: points of a share, shares of the
            control's value; None where that is not watched.
        judge: the expert that compares a shadow's answers; None where nobody does.
        max_cost_per_day: of a shadow's calls; None for no limit.
    """

    name: str
    status: Literal["draft", "running", "paused", "done"]
    mode: Literal["split", "shadow"]
    unit: Literal["request", "session", "user", "key", "team"]
    salt: str
    arms: tuple[Arm, ...]
    categories: frozenset[str] | None = None
    categories_not: frozenset[str] = frozenset()
    models: frozenset[str] | None = None
    teams: frozenset[str] | None = None
    teams_not: frozenset[str] = frozenset()
    sample: float = 0.05
    primary: Literal["feedback", "judge", "errors", "latency", "cost"] = "feedback"
    covariate: Literal["none", "prompt"] = "none"
    worth: float = 0.03
    method: Literal["sequential", "fixed", "obrien_fleming"] = "sequential"
    min_per_arm: int = 100
    per_arm: int | None = None
    after_s: float | None = None
    confidence: float = 0.95
    on_guardrail: Literal["pause", "report"] = "pause"
    error_rate: float | None = None
    p95: float | None = None
    cost: float | None = None
    judge: str | None = None
    max_cost_per_day: float | None = None

    @property
    def is_split(self) -> bool:
        """Whether it assigns arms to requests now."""
        return self.status == "running" and self.mode == "split"

    @property
    def is_shadow(self) -> bool:
        """Whether its arms answer beside the file's own answers now."""
        return self.status == "running" and self.mode == "shadow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Learning:
    """Whether what is said of answers changes who answers.

    Attributes:
        explore: share of the requests for experts that may be as good as the best.
        budget: what a request may cost in the mean; None for no limit.
        answers: how many answers the fitted map counts for.
    """

    mode: Literal["off", "propose", "adapt"] = "off"
    explore: float = 0.02
    budget: float | None = None
    answers: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Observe:
    """What is remembered of requests.

    Attributes:
        decisions: whether decisions are written down.
        decisions_for_s: after so long they are forgotten.
        keep_prompts: as digests, as texts, or not at all.
        prompts_for_s: after so long texts are forgotten.
        prompts_size: bytes of a prompt's text that are kept at most.
        traces: the address that spans are sent to, by OTLP over HTTP; empty for nowhere.
        trace_sample: the share of the requests that are traced, in [0, 1].
    """

    decisions: bool = True
    decisions_for_s: float = 30 * 86_400.0
    keep_prompts: Literal["hash", "text", "none"] = "hash"
    prompts_for_s: float = 7 * 86_400.0
    prompts_size: int = 65_536
    traces: str = field(default="", repr=False)
    trace_sample: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """Everything that experts.yaml says. Names in it are known to exist.

    Attributes:
        default: the expert that answers when nothing else is decided.
        policies: who may be sent what; None where the file does not say.
        sites: experts and encoders as its rules see them.
        limits: of requests, of tokens and of money.
        is_metered: whether one of them needs to know what calls took.
        variants: the composition as arms of running experiments change it, by experiment and arm;
            arms that change nothing are in no key.
        folder: relative paths are relative to it.
        source: the file.
        cache: which answers are kept; None where none are.
        text: of the file, as it was read.
        files: with texts, that it names.
        secrets: files behind its references.
        fingerprint: of the canonical form and the utterance files; changes with the meaning.
        canonical: the file without its short forms; references are not resolved in it.
        warnings: what was doubtful, though usable.
    """

    version: Literal[1] = 1
    server: Server
    backends: Mapping[str, Backend]
    experts: Mapping[str, Expert]
    categories: Mapping[str, CategoryEntry]
    encoders: Mapping[str, EncoderSpec]
    routers: Mapping[str, RouterSpec]
    routing: Routing
    models: Mapping[str, VirtualModel]
    default: str
    timeouts: Timeouts
    fallbacks: Fallbacks
    cache: CacheRules | None = None
    batching: Batching = field(default_factory=Batching)
    aggregation: Mapping[str, Panel] = field(default_factory=_nothing)
    observe: Observe = field(default_factory=Observe)
    policies: Policies | None = None
    sites: Sites = field(default_factory=_nothing, repr=False)
    learning: Learning = field(default_factory=Learning)
    experiments: Mapping[str, Experiment] = field(default_factory=_nothing)
    limits: tuple[Limit, ...] = ()
    is_metered: bool = False
    variants: Mapping[Arms, Composition] = field(
        default_factory=lambda: MappingProxyType({}), repr=False
    )
    folder: Path
    source: Path
    text: str = field(default="", repr=False, compare=False)
    files: tuple[Path, ...] = ()
    secrets: tuple[Path, ...] = ()
    fingerprint: str
    canonical: Mapping[str, Any] = field(repr=False)
    warnings: tuple[Problem, ...] = field(default=(), repr=False)

    def root(self, expert: str) -> Expert:
        """Return the expert whose model answers: the expert itself, but for a prompt program."""
        found = self.experts[expert]
        while found.program is not None and (under := over(found.program)) is not None:
            found = self.experts[under]
        return found

    def timeouts_of(self, backend: str) -> Timeouts:
        """Return the time limits of calls to a backend."""
        limits, first_s = self.backends[backend].timeouts, self.fallbacks.first_byte_s
        if first_s is None or first_s >= limits.first_token_s:
            return limits
        return replace(limits, first_token_s=first_s)
