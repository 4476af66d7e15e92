"""The keys of experts.yaml: what may be written, its short forms, and what each key means.

These models read the file and are its JSON schema; `values.py` holds what the gateway works with.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from coe.composition.aggregation_keys import PanelKeys
from coe.composition.batching_keys import BatchingKeys
from coe.composition.cache_keys import CacheKeys
from coe.composition.experiment_keys import ExperimentKeys
from coe.composition.expert_keys import BackendKeys, ExpertKeys, TimeoutKeys
from coe.composition.fallback_keys import FallbackKeys
from coe.composition.keys import BackendName, JsonObject, Keys, Name, Text, Texts
from coe.composition.learning_keys import LearningKeys
from coe.composition.limit_keys import BudgetKeys, LimitKeys
from coe.composition.observe_keys import ObserveKeys
from coe.composition.policy_keys import PolicyKeys
from coe.composition.routing_keys import (
    CategoryKeys,
    EncoderKeys,
    ModelKeys,
    RouterKeys,
    RoutingKeys,
)


class ServerKeys(Keys):
    """Where the gateway listens."""

    LATER = frozenset({"state"})
    SHORT: ClassVar[JsonObject] = {"type": "string", "description": "the address to listen on"}

    listen: Text = Field("127.0.0.1:8088", description="Address and port, `HOST:PORT`.")
    auth: Literal["auto", "keys"] = Field(
        "auto",
        description="`auto`: who asks needs a key, unless the gateway listens on loopback alone;"
        " `keys`: always.",
    )

    @classmethod
    def from_short(cls, value: Any) -> Any:
        """`127.0.0.1:8088` is the address."""
        return {"listen": value} if isinstance(value, str) else value


class FileKeys(Keys):
    """A Composition of Experts: what the system is made of."""

    LATER = frozenset(
        {
            "migrate",
            "permissions",
            "residency",
            "sessions",
        }
    )
    # Checked by hand, so that one of them missing hides no other problem.
    REQUIRED: ClassVar[tuple[str, ...]] = ("version", "backends", "experts", "default")
    model_config = ConfigDict(json_schema_extra={"required": list(REQUIRED)})

    version: Literal[1] | None = Field(None, description="Version of this schema: 1.")
    include: Texts = Field(
        [],
        description="Files whose backends, experts, categories and so on stand as if they were "
        "written here; patterns such as `experts.d/*.yaml` are relative to this file's folder.",
    )
    server: ServerKeys = Field(ServerKeys(), description="The gateway's own address.")
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
        {},
        description="Virtual names that clients may use. `coe/auto`, `coe/cheap` and `coe/best` are"
        " always there.",
    )
    default: Text | None = Field(
        None, description="The expert that answers when nothing else is decided."
    )
    timeouts: TimeoutKeys = Field(TimeoutKeys(), description="Time limits of a call.")
    fallbacks: FallbackKeys = Field(FallbackKeys(), description="When an expert fails.")
    limits: list[LimitKeys] = Field(
        [], description="How many requests and tokens, for whom. Each one that fits holds."
    )
    budgets: list[BudgetKeys] = Field(
        [], description="How much money, for whom. Each one that fits holds."
    )
    aggregation: dict[Name, PanelKeys] = Field(
        {}, description="Panels by name: several experts, one answer."
    )
    cache: CacheKeys = Field(CacheKeys(), description="Answers that are given again.")
    batching: BatchingKeys = Field(
        BatchingKeys(), description="How calls wait for experts that are not in memory."
    )
    experiments: dict[Name, ExperimentKeys] = Field(
        {}, description="Comparisons of variants of this file on real requests, by name."
    )
    learning: LearningKeys = Field(
        LearningKeys(), description="What is learnt from what is said of answers."
    )
    observe: ObserveKeys = Field(ObserveKeys(), description="What is remembered of requests.")
    policies: PolicyKeys | None = Field(
        None, description="Who may be sent what: data classes, detectors and rules."
    )

    @classmethod
    def from_short(cls, value: Any) -> Any:
        """A section without a value is as good as absent: all of it may be commented out."""
        return {key: entry for key, entry in value.items() if entry is not None}


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of experts.yaml, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **FileKeys.model_json_schema(),
        "title": "experts.yaml",
    }
