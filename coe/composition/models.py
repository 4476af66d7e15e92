"""The keys of experts.yaml: what may be written, its short forms, and what each key means.

These models read the file and are its JSON schema; `values.py` holds what the gateway works with.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import AliasChoices, ConfigDict, Field

from coe.composition.keys import (
    BackendName,
    Count,
    Duration,
    Fraction,
    JsonObject,
    Keys,
    Name,
    Patterns,
    Price,
    Size,
    Text,
    Texts,
    Tokens,
)

Status = Literal["live", "canary", "shadow", "draining", "retired"]


class ServerKeys(Keys):
    """Where the gateway listens."""

    LATER = frozenset({"auth", "state"})
    SHORT: ClassVar[JsonObject] = {"type": "string", "description": "the address to listen on"}

    listen: Text = Field("127.0.0.1:8088", description="Address and port, `HOST:PORT`.")

    @classmethod
    def from_short(cls, value: Any) -> Any:
        """`127.0.0.1:8088` is the address."""
        return {"listen": value} if isinstance(value, str) else value


class TimeoutKeys(Keys):
    """Four independent limits of one call. What is not given keeps its default."""

    connect: Duration | None = Field(
        None, description="Until the backend accepts the connection. Default `5s`."
    )
    first_token: Duration | None = Field(
        None, description="From sending the request to the first content. Default `60s`."
    )
    idle: Duration | None = Field(
        None, description="Between two pieces of an answer. Default `60s`."
    )
    total: Duration | None = Field(None, description="The whole call. Default `600s`.")


class BackendKeys(Keys):
    """A server, or the engine in this process, that runs experts."""

    LATER = frozenset({"health", "limits", "max_loras", "max_resident", "proxy", "warm"})
    SHORT: ClassVar[JsonObject] = {
        "type": "string",
        "description": "the URL of an OpenAI-compatible server, or a type",
    }

    type: Text = Field(
        "openai",
        description="Kind of server: an installed `coe.backends` plugin.",
        examples=["openai", "vllm", "ollama", "llamacpp", "llama_swap", "litellm", "local"],
    )
    url: Text | None = Field(
        None,
        description="Base address; `/v1` is added where it has no path. None for type `local`.",
        examples=["http://127.0.0.1:11434"],
    )
    api_key: str | None = Field(
        None,
        description="Key for the server, only as a reference: `${env:NAME}` or `${file:PATH}`.",
    )
    headers: dict[str, str] = Field(
        {}, description="Extra request headers; secret ones only as references."
    )
    concurrency: Count | None = Field(None, description="Calls in flight that it may be given.")
    memory: Size | None = Field(
        None, description="The memory into which its experts are packed, such as `80GiB`."
    )
    reserve: Size | None = Field(
        None, description="Part of `memory` that is kept free, for example for the KV cache."
    )
    trust: Literal["local", "private", "external"] | None = Field(
        None, description="How far prompts travel that are sent to it."
    )
    timeouts: TimeoutKeys | None = Field(
        None, description="Limits for its calls; what is not given is as in `timeouts`."
    )
    options: dict[str, Any] = Field({}, description="Keys that only this type of backend knows.")

    @classmethod
    def from_short(cls, value: Any) -> Any:
        """A URL stands for an OpenAI-compatible server, and another word for a type."""
        if not isinstance(value, str):
            return value
        is_address = "://" in value or value.startswith("${")
        return {"url": value} if is_address else {"type": value}


class AdapterKeys(Keys):
    """LoRA weights."""

    SHORT: ClassVar[JsonObject] = {"type": "string", "description": "the source"}

    source: Text = Field(
        description="Folder (relative to this file), name on the server, or Hugging Face name."
    )
    revision: Text | None = Field(None, description="Version to use, such as a commit.")
    rank: Count | None = Field(None, description="Rank of the adapter's matrices.")

    @classmethod
    def from_short(cls, value: Any) -> Any:
        """A text is the source."""
        return {"source": value} if isinstance(value, str) else value


class CostKeys(Keys):
    """What an expert's tokens cost."""

    LATER = frozenset({"cached_input", "per_hour"})

    input: Price | None = Field(None, description="Per million prompt tokens: `2.50 USD/M`.")
    output: Price | None = Field(None, description="Per million answer tokens: `10 USD/M`.")


class ExpertKeys(Keys):
    """A named model or LoRA adapter with a purpose."""

    LATER = frozenset({"permissions", "residency"})
    SHORT: ClassVar[JsonObject] = {
        "type": "string",
        "pattern": "^[^/]+/.+$",
        "description": "`backend/model`",
    }

    kind: Literal["llm", "lora"] | None = Field(
        None, description="`lora` where `base` is given, otherwise `llm`."
    )
    backend: Text | None = Field(None, description="Where it runs. A LoRA's is that of its base.")
    model: Text | None = Field(
        None, description="The name or path that the backend knows the model by."
    )
    base: Text | None = Field(None, description="For a LoRA: the expert that it adapts.")
    adapter: AdapterKeys | None = Field(None, description="For a LoRA: its weights.")
    context: Tokens | None = Field(
        None, description="Tokens of prompt and answer together; `k` is 1000, `Ki` is 1024."
    )
    max_output: Tokens | None = Field(None, description="Most tokens of one answer.")
    memory: Size | None = Field(None, description="Memory that it takes, such as `17GiB`.")
    load_time: Duration | None = Field(
        None, description="First guess of the time to bring it into memory; then it is measured."
    )
    capabilities: Texts | None = Field(
        None,
        description="What it can do. A request that needs more is never sent to it; without this"
        " key nothing is ruled out.",
        examples=[["chat", "tools", "vision"]],
    )
    skills: dict[Name, Fraction] = Field(
        {}, description="How good it is, 0 to 1, by skill; shown on its card."
    )
    tags: Texts = Field([], description="Free labels, shown on its card.")
    status: Status = Field("live", description="Only `live` and `canary` experts answer requests.")
    defaults: dict[str, Any] = Field(
        {}, description="Request fields that hold unless the client sets them."
    )
    force: dict[str, Any] = Field({}, description="Request fields that the client cannot change.")
    cost: CostKeys | None = Field(None, description="What its tokens cost.")
    description: str = Field("", description="One line for people, shown on its card.")

    @classmethod
    def from_short(cls, value: Any) -> Any:
        """`backend/model`: the model's own name may hold more slashes."""
        if not isinstance(value, str):
            return value
        backend, slash, model = value.partition("/")
        if not (backend and slash and model):
            raise ValueError(f"`{value[:60]}` is not `backend/model`")
        return {"backend": backend, "model": model}


class KeywordKeys(Keys):
    """Words and patterns that decide without a model."""

    SHORT: ClassVar[JsonObject] = {
        "type": "array",
        "items": {"type": "string"},
        "description": "the same as `any`",
    }

    any: Texts = Field([], description="Words or phrases; one of them is enough. Case is ignored.")
    regex: Patterns = Field([], description="Python regular expressions; one match is enough.")

    @classmethod
    def from_short(cls, value: Any) -> Any:
        """A list is `any`."""
        return {"any": value} if isinstance(value, (list, str)) else value


class CategoryKeys(Keys):
    """What people ask: the label that a router predicts."""

    LATER = frozenset({"data", "permissions", "skills"})
    SHORT: ClassVar[JsonObject] = {
        "type": "array",
        "items": {"type": "string"},
        "description": "the utterances",
    }
    # Both spellings are read; the first is the one that is written.
    NEGATIVES: ClassVar[AliasChoices] = AliasChoices("negatives", "not_utterances")

    description: str = Field("", description="One line that says what belongs here.")
    utterances: Texts = Field([], description="Texts as users write them; 5 at the very least.")
    utterances_file: Text | None = Field(
        None,
        description="More of them, one per line; `#` starts a comment. Relative to this file.",
    )
    negatives: Texts = Field(
        [],
        validation_alias=NEGATIVES,
        serialization_alias="negatives",
        description="Near misses: texts that look alike and belong elsewhere.",
    )
    negatives_file: Text | None = Field(None, description="More of them, one per line.")
    keywords: KeywordKeys | None = Field(
        None, description="Words and patterns that decide without a model."
    )
    threshold: Fraction | None = Field(
        None, description="Least probability, 0 to 1, at which this category is chosen."
    )
    experts: Texts | None = Field(
        None,
        description="Ranked experts: first choice, then fallbacks. Short for `routing.routes`.",
    )

    @classmethod
    def from_short(cls, value: Any) -> Any:
        """A list holds the utterances."""
        return {"utterances": value} if isinstance(value, list) else value


class PluginKeys(Keys):
    """An encoder or a router: a type, and the options of that type."""

    model_config = ConfigDict(extra="allow")
    SHORT: ClassVar[JsonObject] = {"type": "string", "description": "the type"}

    type: Text = Field(description="An installed plugin; the other keys are its options.")

    @classmethod
    def from_short(cls, value: Any) -> Any:
        """A text is the type."""
        return {"type": value} if isinstance(value, str) else value

    @property
    def options(self) -> dict[str, Any]:
        """All keys but `type`."""
        return dict(self.model_extra or {})


class EncoderKeys(PluginKeys):
    """Text to vector: a `coe.encoders` plugin and its options."""


class RouterKeys(PluginKeys):
    """Text to category scores: a `coe.routers` plugin and its options."""


class RouteKeys(Keys):
    """The ranked experts of a category."""

    LATER = frozenset({"aggregate", "when"})
    SHORT: ClassVar[JsonObject] = {
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        "description": "the ranked experts",
    }

    experts: Texts = Field(description="First choice, then fallbacks.")
    choose: Literal["ranked"] = Field("ranked", description="The first that may answer, answers.")

    @classmethod
    def from_short(cls, value: Any) -> Any:
        """A list holds the experts, a text is the only one."""
        return {"experts": value} if isinstance(value, (list, str)) else value


class RoutingKeys(Keys):
    """From a category to the experts that answer."""

    LATER = frozenset({"context", "multi_label", "prefer_resident", "sessions"})

    router: Text | None = Field(
        None, description="The router that decides; `default` where a router has that name."
    )
    choose: Literal["ranked"] = Field("ranked", description="The first that may answer, answers.")
    routes: dict[Name, RouteKeys] = Field({}, description="Ranked experts by category.")
    none: Texts | None = Field(
        None, description="Who answers when no category is sure. Default: the `default` expert."
    )


class ModelKeys(Keys):
    """A virtual model: a name that clients may use and that stands for no single expert."""

    LATER = frozenset({"aggregate", "choose", "quality_floor", "willingness_to_pay"})

    @classmethod
    def from_short(cls, value: Any) -> Any:
        """Nothing stands for no keys."""
        return {} if value is None else value


class FallbackKeys(Keys):
    """What happens when an expert fails before its first byte."""

    LATER = frozenset(
        {
            "after_first_byte",
            "breaker",
            "first_byte",
            "last_resort",
            "never_retry",
            "retry_on",
            "total",
            "use",
        }
    )

    attempts: Count = Field(3, le=20, description="Most experts that one request tries.")


class FileKeys(Keys):
    """A Composition of Experts: what the system is made of."""

    LATER = frozenset(
        {
            "aggregation",
            "batching",
            "cache",
            "experiments",
            "include",
            "migrate",
            "observe",
            "permissions",
            "policies",
            "residency",
            "sessions",
        }
    )
    # Checked by hand, so that one of them missing hides no other problem.
    REQUIRED: ClassVar[tuple[str, ...]] = ("version", "backends", "experts", "default")
    model_config = ConfigDict(json_schema_extra={"required": list(REQUIRED)})

    version: Literal[1] | None = Field(None, description="Version of this schema: 1.")
    server: ServerKeys = Field(ServerKeys(), description="Where the gateway listens.")
    backends: dict[BackendName, BackendKeys] = Field({}, description="Where experts run, by name.")
    experts: dict[Name, ExpertKeys] = Field({}, description="What can answer, by name.")
    categories: dict[Name, CategoryKeys] = Field({}, description="What people ask, by name.")
    encoders: dict[Name, EncoderKeys] = Field(
        {}, description="Text to vector. `minilm` is always there."
    )
    routers: dict[Name, RouterKeys] = Field(
        {},
        description="How a category is found. Without this section: keywords, then nearness to"
        " the utterances.",
    )
    routing: RoutingKeys = Field(RoutingKeys(), description="From a category to its experts.")
    models: dict[Name, ModelKeys] = Field(
        {}, description="Virtual names that clients may use. `coe/auto` is always there."
    )
    default: Text | None = Field(
        None, description="The expert that answers when nothing else is decided."
    )
    timeouts: TimeoutKeys = Field(TimeoutKeys(), description="Time limits of a call.")
    fallbacks: FallbackKeys = Field(FallbackKeys(), description="When an expert fails.")

    @classmethod
    def from_short(cls, value: Any) -> Any:
        """A section without a value is as good as absent: all of it may be commented out."""
        if isinstance(value, dict):
            return {key: entry for key, entry in value.items() if entry is not None}
        return value


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of experts.yaml, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **FileKeys.model_json_schema(),
        "title": "experts.yaml",
    }
