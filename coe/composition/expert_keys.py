"""What may be written of backends and experts: where answers come from."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from coe.composition.keys import (
    Count,
    Duration,
    Fraction,
    JsonObject,
    Keys,
    Name,
    Price,
    Share,
    Size,
    Text,
    Texts,
    Tokens,
)
from coe.composition.program_keys import CachedKeys, RecipeKeys
from coe.composition.trust import Trust
from coe.composition.units import DURATION_PATTERN

Status = Literal["live", "canary", "shadow", "draining", "retired"]


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

    LATER = frozenset({"health", "limits", "max_resident", "proxy", "warm"})
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
    host_memory: Size | None = Field(
        None,
        description="Host memory in which experts that leave `memory` are parked, such as `64GiB`:"
        " they come back faster than from disk. For the types `local` and `vllm`, and for plugins"
        " that can park.",
    )
    max_loras: Count | None = Field(
        None,
        description="LoRA adapters that may be in memory at once, of one base. Default: all.",
    )
    timeouts: TimeoutKeys | None = Field(
        None, description="Limits for its calls; what is not given is as in `timeouts`."
    )
    trust: Trust | None = Field(
        None,
        description="How far away it is, for rules of `policies`: `local`, `private` or `external`."
        " Default: `local` in this process and on loopback, else `external`.",
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
    """What an expert's tokens cost: both prices, `0 USD/M` for what costs nothing."""

    LATER = frozenset({"cached_input", "per_hour"})

    input: Price | None = Field(None, description="Per million prompt tokens: `2.50 USD/M`.")
    output: Price | None = Field(None, description="Per million answer tokens: `10 USD/M`.")


class LoadTimeKeys(Keys):
    """How long an expert takes to load, by where it comes from."""

    SHORT: ClassVar[JsonObject] = {
        "type": "string",
        "pattern": DURATION_PATTERN,
        "description": "`disk`",
    }

    disk: Duration | None = Field(None, description="From disk. Default `5s`.")
    host: Duration | None = Field(
        None,
        description="From host memory, where its backend has `host_memory`. Default: a tenth of"
        " `disk`.",
    )

    @classmethod
    def from_short(cls, value: Any) -> Any:
        """A duration is that from disk."""
        return {"disk": value} if isinstance(value, (str, int, float)) else value


class ExpertKeys(Keys):
    """A named model, LoRA adapter or prompt program with a purpose."""

    LATER = frozenset({"permissions"})
    SHORT: ClassVar[JsonObject] = {
        "type": "string",
        "pattern": "^[^/]+/.+$",
        "description": "`backend/model`",
    }

    kind: Literal["llm", "lora", "program"] | None = Field(
        None,
        description="`lora` where `base` is given, `program` for a prompt program, otherwise"
        " `llm`.",
    )
    backend: Text | None = Field(None, description="Where it runs. A LoRA's is that of its base.")
    model: Text | None = Field(
        None, description="The name or path that the backend knows the model by."
    )
    base: Text | None = Field(None, description="For a LoRA: the expert that it adapts.")
    adapter: AdapterKeys | None = Field(None, description="For a LoRA: its weights.")
    recipe: RecipeKeys | None = Field(
        None, description="For a program: another expert, asked in a certain way."
    )
    cached: CachedKeys | None = Field(
        None, description="For a program: answers of another expert, kept."
    )
    constant: Text | None = Field(
        None,
        description="For a program: always this answer, without any call. `{model}` is its name,"
        " `{date}` the day.",
        examples=["Hello! I am {model}."],
    )
    refuse: Text | None = Field(
        None,
        description="For a program: a refusal, without any call, with this as its reason.",
        examples=["I may not answer this."],
    )
    context: Tokens | None = Field(
        None, description="Tokens of prompt and answer together; `k` is 1000, `Ki` is 1024."
    )
    max_output: Tokens | None = Field(
        None, description="Most tokens of one answer; a request that asks for more gets this many."
    )
    memory: Size | None = Field(
        None,
        description="Memory that it takes, such as `17GiB`. Where its backend has `memory`, the"
        " gateway decides by it who is in memory.",
    )
    load_time: LoadTimeKeys | None = Field(
        None,
        description="How long it takes to load, as a first guess: what is measured takes over.",
    )
    residency: Literal["pinned", "preferred", "on_demand"] = Field(
        "on_demand",
        description="`pinned`: it is loaded at the start and never unloaded. `preferred`: it is"
        " loaded at the start where it fits beside them, leaves after the others, and comes back"
        " when nobody needs the room.",
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
    tags: Texts = Field(
        [], description="Free labels, shown on its card; rules and clients may name them."
    )
    status: Status = Field(
        "live",
        description="`live` answers; `canary` answers its `share` of conversations, and who names"
        " it; `draining` goes on with conversations that it has; `shadow` and `retired` never"
        " answer.",
    )
    share: Share | None = Field(
        None, description="Of the conversations, for a `canary`. Default: `5%`."
    )
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
