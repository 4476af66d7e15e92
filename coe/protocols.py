"""The plugin points. Every sentence here has a check in `coe.testing`.

A plugin is found by entry point: `coe.routers`, `coe.encoders`, `coe.backends`,
`coe.aggregators`, `coe.orderings`, `coe.evictions`. Its value is a factory. Built-ins register
through the same door (see pyproject.toml).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from coe.drafts import Step, Table
from coe.errors import CoEError
from coe.types import Category, Dispatch, Scores

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from coe.composition.programs import Program

ASK_WAIT_S = 2.0


class Encoder(Protocol):
    """Text to vector. Synchronous and thread-safe; the pipeline calls it off the event loop.

    Attributes:
        name: as in the composition.
        dim: length of a vector.
        fingerprint: changes whenever the same text could give another vector.
    """

    name: str
    dim: int
    fingerprint: str

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors, shape (n_texts, dim). Any string is accepted, the empty one too.

        Raises:
            RouterUnavailable: when a remote encoder does not answer.
        """


class Router(Protocol):
    """Text to category scores, and nothing else: thresholds and abstention live in `coe.decide`.

    Synchronous, thread-safe and batch-first; the pipeline micro-batches and calls it off the event
    loop. The scores of a text do not depend on the other texts of its batch.
    """

    name: str
    categories: tuple[str, ...]
    calibrated: bool

    def score(self, texts: Sequence[str]) -> Scores:
        """Score each text against each category; see `Scores` for shapes and ranges.

        What it stands on may fail for one text and not for the others: see `Scores.failures`.

        Raises:
            RouterUnavailable: when what it stands on does not answer.
        """


class Backend(Protocol):
    """A server, or an engine in this process, that generates tokens for a `Dispatch`.

    Every third-party exception is translated into a `BackendError`.
    """

    name: str

    def generate(self, dispatch: Dispatch) -> AsyncGenerator[bytes, None]:
        """Yield the answer in OpenAI's wire format, with `model` set to the expert's name.

        For a streamed call each item is one or more whole SSE frames (`data: {...}` and an empty
        line), never `data: [DONE]`; the first item reaches to the first *content* frame (text,
        tool call, refusal or finish reason), so that whoever holds it knows the call works. The
        iterator ends only when the answer is complete; anything else raises. For a call that is
        not streamed there is exactly one item, the JSON body. Closing the iterator cancels the
        call within a second and frees what it held.

        Raises:
            BackendError: before the first item or after it.
            ContextTooLong: the backend counted tokens and the prompt does not fit.
        """

    async def models(self) -> tuple[str, ...]:
        """Return the model names that can be asked for now (a cheap health probe).

        Raises:
            BackendError: when the backend cannot say.
        """

    async def aclose(self) -> None:
        """Free everything. Calls in flight fail with a `BackendError`."""


class Residency(Protocol):
    """What a backend also is when the gateway may decide which experts are in its memory.

    A backend without these methods is not managed: its experts count as always resident. The names
    are those of the composition; how the server calls the model or the adapter is the backend's
    affair. All three are idempotent. `generate` keeps working meanwhile.
    """

    async def load(self, expert: str) -> None:
        """Return when the expert is in memory; at once when it already is.

        Waits as long as the server takes, so the caller sets a bound; cancelling it leaves unknown
        whether the expert is loaded, which `resident` tells.

        Raises:
            ExpertLoadFailed: the server says that it cannot, and why.
            BackendError: the server did not say; `resident` tells whether it is loaded.
        """

    async def unload(self, expert: str) -> None:
        """Return when others may have the expert's memory; at once when it is not loaded.

        Adapters on it are unloaded with it.

        Raises:
            BackendError: it is still loaded, as far as can be told, for one because calls of it
                are in flight.
        """

    async def resident(self) -> Mapping[str, int | None]:
        """Return the bytes that each expert in memory takes; None where the server does not tell.

        Only experts that this backend serves, whoever loaded them. Models that the server loads
        when they are asked for, and that are not in memory now, are left out.

        Raises:
            BackendError: when the backend cannot say.
        """


class Parking(Protocol):
    """What a managed backend also is when experts that leave can wait in host memory.

    `load` brings a parked expert back from there, and `unload` lets go of it there, too. Who is
    parked is not `resident`. Both are idempotent, and `generate` keeps working meanwhile.
    """

    async def park(self, expert: str) -> None:
        """Return when others may have the expert's memory and host memory has its weights.

        At once where it is parked already, or not loaded: nothing is read for that. Adapters on it
        are unloaded.

        Raises:
            BackendError: it is still loaded, as far as can be told: calls of it are in flight, or
                it is one that cannot be parked.
        """

    async def parked(self) -> Mapping[str, int | None]:
        """Return the bytes of host memory that each parked expert takes; None as in `resident`.

        Raises:
            BackendError: when the backend cannot say.
        """


class Others(Protocol):
    """The other experts, as a backend asks them whose experts stand on them.

    Attributes:
        cache_folder: where it may keep what it can make again; need not exist yet. Empty means
            nowhere.
    """

    @property
    def cache_folder(self) -> str: ...  # noqa: D102 - see the class

    def open(
        self, expert: str, body: Mapping[str, Any], dispatch: Dispatch, *, stream: bool
    ) -> AsyncGenerator[bytes, None]:
        """Yield the answer of one expert, as `Backend.generate` does; nobody takes its place.

        It waits for its slot as the dispatch would, and its calls have the dispatch's time limits.
        Closing the iterator cancels the call.

        Args:
            expert: who is asked, whatever its status.
            body: of the request.
            dispatch: that is answered so.
            stream: whether the answer is to be streamed.

        Raises:
            NoEligibleExpert: it may not answer this.
            BackendError, CapacityError, ContextTooLong: as its backend, or the wait for it, raises.
        """

    def encoder(self, name: str) -> Encoder:
        """Return an encoder of the composition; may load its weights. Raises ConfigError."""

    def mark(self, expert: str) -> object:
        """Return what is equal as long as the composition says the same of the expert."""


class Composed(Protocol):
    """What a backend also is whose experts stand on others.

    It is built anew for every composition, so that it asks the experts of that one.
    """

    def bind(self, others: Others, before: Backend | None = None) -> None:
        """Ask these others from now on. Called once, before any call.

        Args:
            others: who is there.
            before: the backend of that name before this one; what it keeps may be taken over.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSpec:
    """What an encoder factory is given: the entry of the composition's `encoders` section.

    Attributes:
        options: the entry's own keys, less `type`; the factory rejects keys it does not know
            with a ConfigError.
        folder: relative paths in options are relative to it.
    """

    name: str
    type: str
    options: Mapping[str, Any] = field(default_factory=dict)
    folder: str = "."


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertCard:
    """What a router may know of an expert: what it is good at, never where it runs.

    Attributes:
        skills: how good it is, 0 to 1 by skill.
    """

    name: str
    description: str = ""
    skills: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterSpec:
    """What a router factory is given: the entry of the composition's `routers` section.

    Attributes:
        experts: those that may answer, in the order of the file.
        wait_s: how long it may wait for an expert that it asks about one text, in seconds.
        cache_folder: where it may keep what it can make again (embeddings of utterances); need not
            exist yet. Empty means nowhere.
    """

    name: str
    type: str
    options: Mapping[str, Any] = field(default_factory=dict)
    categories: tuple[Category, ...] = ()
    experts: tuple[ExpertCard, ...] = ()
    wait_s: float = ASK_WAIT_S
    folder: str = "."
    cache_folder: str = ""


class AskedExpert(Protocol):
    """An expert of the composition, as a router asks it. Thread-safe.

    It is reached by its name alone: asking it never routes.
    """

    @property
    def name(self) -> str:
        """As in the composition."""

    def ask(
        self, bodies: Sequence[Mapping[str, Any]], *, wait_s: float
    ) -> tuple[str | CoEError, ...]:
        """Return the text of each answer, or the error that is there instead. Never raises those.

        Blocks its thread, which is not that of the event loop. Some bodies are sent at a time.

        Args:
            bodies: of OpenAI's chat completions, without model and stream.
            wait_s: a body without an answer so long after it was sent is given up.
        """


class Parts(Protocol):
    """What a router factory may ask for: the other parts of the composition, by name."""

    def encoder(self, name: str) -> Encoder:
        """Return the encoder of that name; each is built once. Raises ConfigError."""

    def router(self, name: str) -> Router:
        """Return the router of that name (a chain's stage). Raises ConfigError."""

    def expert(self, name: str) -> AskedExpert:
        """Return the expert of that name, to be asked (a judge). Raises ConfigError."""


class EncoderFactory(Protocol):
    """The value of a `coe.encoders` entry point."""

    def __call__(self, spec: EncoderSpec) -> Encoder:
        """Build the encoder; loads its weights. Raises ConfigError."""


class RouterFactory(Protocol):
    """The value of a `coe.routers` entry point."""

    def __call__(self, spec: RouterSpec, parts: Parts) -> Router:
        """Build the router; may encode the utterances. Raises ConfigError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertSite:
    """What a backend is told of each expert that it serves.

    Attributes:
        model: the name or path that the backend knows the model (or the adapter's base) by.
        adapter: path or name of the LoRA adapter; None for a whole model.
        context: tokens of prompt and answer together; None where the file does not say.
        program: what a prompt program does; None for a model.
    """

    expert: str
    model: str
    adapter: str | None = None
    context: int | None = None
    program: Program | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendSpec:
    """What a backend factory is given: the entry of the composition's `backends` section.

    Attributes:
        url: base address, with `/v1` where the server has it; None for an embedded engine.
        api_key: resolved from its reference; never logged.
        concurrency: calls in flight that it may be given.
        experts: the experts that this backend serves.
        http_client: which of the HTTP clients the process prefers, for backends that have a choice.
        options: keys that only this type of backend knows.
    """

    name: str
    type: str
    url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    concurrency: int | None = None
    experts: tuple[ExpertSite, ...] = ()
    http_client: str = "lean"
    options: Mapping[str, Any] = field(default_factory=dict)
    folder: str = "."


class BackendFactory(Protocol):
    """The value of a `coe.backends` entry point."""

    def __call__(self, spec: BackendSpec) -> Backend:
        """Build the backend without connecting or loading. Raises ConfigError."""


class Pending(NamedTuple):
    """An expert that calls wait for, as an ordering sees it. Times are seconds of one clock.

    Attributes:
        calls: how many wait.
        oldest_s: when the oldest of them arrived.
        ages_s: how long they have waited, all together.
        due_s: the earliest of their deadlines; infinite where none has one.
        load_s: what it is expected to take until it can be served; 0 where it is resident.
        work_s: what serving those that wait is expected to take then.
    """

    expert: str
    calls: int
    oldest_s: float
    ages_s: float
    due_s: float
    load_s: float
    work_s: float


class Resident(NamedTuple):
    """An expert that may be unloaded, as an eviction sees it. Times are seconds of one clock.

    Attributes:
        waiting: calls that wait for it.
        oldest_s: when the oldest of them arrived; infinite where none waits.
        used_s: when a call of it last started.
        uses: calls that started, each counting for less the longer ago it was.
        reload_s: what bringing it back is expected to take.
        size: what unloading it frees, in the unit of the place that it is in.
    """

    expert: str
    waiting: int
    oldest_s: float
    used_s: float
    uses: float
    reload_s: float
    size: int


class Ordering(Protocol):
    """Which expert is served next. Pure: the same arguments give the same answer."""

    @property
    def name(self) -> str:
        """As in the composition."""

    @property
    def groups(self) -> bool:
        """Whether calls of an expert that is served may pass older calls of others."""

    def pick(self, pending: Sequence[Pending], now_s: float) -> Pending:
        """Return one of those given, of which there is at least one.

        Never starves: of two that are alike but for how long they have waited, the one that has
        waited longer is picked.
        """

    def presses(self, pending: Pending, now_s: float, patience_s: float) -> bool:
        """Whether others may take no more calls until this expert had its turn.

        Once true it stays true while the same calls wait. Never starves: true at the latest when
        the oldest call has waited for so long that no bound in use is longer, which is a day.
        """


class Eviction(Protocol):
    """Which expert is unloaded when another one needs the room. Pure."""

    @property
    def name(self) -> str:
        """As in the composition."""

    def order(self, residents: Sequence[Resident], now_s: float) -> Sequence[Resident]:
        """Return those given, each once, the best to unload first."""


class Aggregator(Protocol):
    """How several drafts become one answer. Pure: the same table gives the same step.

    `coe.drafts` says what a table and the steps are. An aggregator never asks for what was asked
    for already, asks at most 64 questions, and waits only where something is to come: so, whatever
    comes of the calls, some finite number of tables leads to one of the last steps. While the table
    is closing and holds a good draft, the step is a last one.
    """

    @property
    def name(self) -> str:
        """As in the composition."""

    def next(self, table: Table) -> Step:
        """Return what is to be done.

        Shown a table only while that can lead to an answer: there is a good draft, or one is
        pending, or a member can be asked yet.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregatorSpec:
    """What an aggregator factory is given: an entry of the composition's `aggregation` section.

    Attributes:
        type: the entry's `method`.
        judge: the expert that compares drafts; None for the best of the members.
        writer: the expert that writes the answer; None for the best of the members.
        options: the keys that only this method knows; the factory rejects others with a
            ConfigError.
        folder: relative paths in options are relative to it.
    """

    name: str
    type: str
    judge: str | None = None
    writer: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    folder: str = "."


class AggregatorFactory(Protocol):
    """The value of a `coe.aggregators` entry point."""

    def __call__(self, spec: AggregatorSpec) -> Aggregator:
        """Build the aggregator. Raises ConfigError."""
