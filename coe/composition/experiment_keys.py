"""What may be written of experiments: arms, who takes part, what is measured, when it ends."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from coe.composition.keys import (
    Count,
    Duration,
    Fraction,
    JsonObject,
    Keys,
    Money,
    Name,
    Points,
    Share,
    Text,
    Texts,
)


class ArmKeys(Keys):
    """One variant of the composition."""

    SHORT: ClassVar[JsonObject] = {"type": "string", "description": "its share"}

    share: Share | None = Field(
        None, description="Of the units; those of all arms sum to 100%. Not for `shadow`."
    )
    set: dict[str, Any] = Field(
        {},
        description="What is other than in this file, by path: `routing.routes.code: [coder]`.",
    )
    choose: Literal["random", "best_single"] | None = Field(
        None,
        description="`random`: one of the experts that the category ranks, each as likely;"
        " `best_single`: one expert for everything. Short for `set: {routing.choose: ...}`.",
    )

    @classmethod
    def from_short(cls, value: Any) -> Any:
        """A share alone is an arm that changes nothing."""
        return {"share": value} if isinstance(value, str) else value


class AudienceKeys(Keys):
    """Who takes part. Requests that name an expert never do."""

    categories: Texts | None = Field(
        None, description="Only requests that the file's own router puts into these."
    )
    categories_not: Texts = Field([], description="All but these.")
    models: Texts | None = Field(
        None, description="Only requests that ask for these models, such as `coe/auto`."
    )
    teams: Texts | None = Field(None, description="Only requests with a key of one of these teams.")
    teams_not: Texts = Field([], description="None with a key of one of these teams.")


class GuardrailKeys(Keys):
    """How much worse than the control an arm may be."""

    error_rate: Points | None = Field(None, description="Of failed requests, in points: `0.5pt`.")
    p95: Share | None = Field(
        None, description="Of the 95th percentile of the time to the last byte: `15%`."
    )
    cost: Share | None = Field(None, description="Of the mean cost of a request: `10%`.")


class MetricsKeys(Keys):
    """What decides, and what must not suffer."""

    SHORT: ClassVar[JsonObject] = {"type": "string", "description": "`primary`"}

    primary: Literal["feedback", "judge", "errors", "latency", "cost"] = Field(
        "feedback",
        description="`feedback`: the mean of what people say, 0 to 1; `judge`: of what our own"
        " judge says; `errors`: the share of failed requests; `latency`: seconds; `cost`.",
    )
    covariate: Literal["none", "prompt"] = Field(
        "none",
        description="`prompt`: how long the prompt is takes out what requests differ by anyway"
        " (CUPED); for `latency` and `cost`.",
    )
    guardrails: GuardrailKeys = Field(GuardrailKeys(), description="What must not suffer.")

    @classmethod
    def from_short(cls, value: Any) -> Any:
        """A word is the metric that decides."""
        return {"primary": value} if isinstance(value, str) else value


class StopKeys(Keys):
    """When it ends."""

    method: Literal["sequential", "fixed", "obrien_fleming"] = Field(
        "sequential",
        description="`sequential`: may be looked at any time, and stops as soon as it is sure;"
        " `fixed`: one look at the end; `obrien_fleming`: looks on the way to it.",
    )
    worth: Text | None = Field(
        None,
        description="The smallest difference worth having: `3pt` of a share or of feedback, `0.2s`,"
        " `0.001 USD`. Default: `3pt`; needed for `latency` and `cost`.",
    )
    min_per_arm: int = Field(
        100, ge=100, description="Units of each arm before a sequential test may stop."
    )
    per_arm: Count | None = Field(
        None, description="Units of each arm at the end; what `fixed` and `obrien_fleming` need."
    )
    after: Duration | None = Field(None, description="It ends after so long at the latest.")
    confidence: Fraction = Field(0.95, description="Of what is said of the metric.")
    on_guardrail: Literal["pause", "report"] = Field(
        "pause", description="What a broken guardrail does."
    )


class ShadowJudgeKeys(Keys):
    """Who compares the answers of a shadow experiment, blind and in both orders."""

    SHORT: ClassVar[JsonObject] = {"type": "string", "description": "`expert`"}

    expert: Text = Field(description="An expert of this file.")
    max_cost_per_day: Money | None = Field(
        None, description="Of the arms' answers and the judge's. Default: no limit."
    )

    @classmethod
    def from_short(cls, value: Any) -> Any:
        """A text is the expert."""
        return {"expert": value} if isinstance(value, str) else value


class ExperimentKeys(Keys):
    """A comparison of variants of the composition on real requests."""

    status: Literal["draft", "running", "paused", "done"] = Field(
        "draft", description="Only a `running` one assigns arms."
    )
    mode: Literal["split", "shadow"] = Field(
        "split",
        description="`split`: each unit gets one arm; `shadow`: the file's own answer is sent, and"
        " the arms answer a sample of the requests beside it, unseen.",
    )
    unit: Literal["request", "session", "user", "key", "team"] = Field(
        "session",
        description="What an arm is given to. A request without it (no `user`, no key, a key"
        " without a team) takes no part.",
    )
    salt: Text | None = Field(
        None, description="Another salt deals the units anew. Default: the experiment's name."
    )
    audience: AudienceKeys = Field(AudienceKeys(), description="Who takes part.")
    sample: Share | None = Field(None, description="For `shadow`: of the requests. Default: `5%`.")
    arms: dict[Name, ArmKeys] = Field(description="Variants by name; the first is the control.")
    metrics: MetricsKeys = Field(MetricsKeys(), description="What decides.")
    stop: StopKeys = Field(StopKeys(), description="When it is sure enough to end.")
    judge: ShadowJudgeKeys | None = Field(
        None, description="For `shadow`: who compares the answers."
    )
