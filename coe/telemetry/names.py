"""Names of OpenTelemetry's conventions for generative AI: every one that is emitted stands here.

They are those of the repository `open-telemetry/semantic-conventions-genai`, where all of them have
the status "Development" and nothing is released yet: names may change, and then they change here
and nowhere else. In Prometheus' form a dot is an underscore, and units are left out, as other
gateways write them.
"""

from __future__ import annotations

from typing import Final

SYSTEM: Final = "coe"
"""The provider where the gateway itself answers."""
CONVENTIONS: Final = "genai-development-2026-07"
"""Which state of the conventions these are: told with every span, as `coe.conventions`."""

# Operations
CHAT: Final = "chat"
COMPLETION: Final = "text_completion"
EMBEDDINGS: Final = "embeddings"
_OPERATIONS: Final = {"embeddings": EMBEDDINGS, "completions": COMPLETION}

# Attributes
OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
CONVERSATION: Final = "gen_ai.conversation.id"
REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_STREAM: Final = "gen_ai.request.stream"
RESPONSE_MODEL: Final = "gen_ai.response.model"
RESPONSE_ID: Final = "gen_ai.response.id"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105 - a name
ERROR: Final = "error.type"
ADDRESS: Final = "server.address"
PORT: Final = "server.port"
STATUS: Final = "http.response.status_code"
METHOD: Final = "http.request.method"
PATH: Final = "http.route"

SAMPLING: Final = {
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "seed": "gen_ai.request.seed",
    "n": "gen_ai.request.choice.count",
    "max_tokens": "gen_ai.request.max_tokens",
    "max_completion_tokens": "gen_ai.request.max_tokens",
}
"""Numbers of a request's body that are told, by their names there."""

# Metrics, and the bounds of their buckets
USAGE: Final = "gen_ai.client.token.usage"
DURATION: Final = "gen_ai.server.request.duration"
FIRST_TOKEN: Final = "gen_ai.server.time_to_first_token"  # noqa: S105
PER_TOKEN: Final = "gen_ai.server.time_per_output_token"  # noqa: S105
UNITS: Final = {USAGE: "{token}", DURATION: "s", FIRST_TOKEN: "s", PER_TOKEN: "s"}
TOKEN_BOUNDS: Final = tuple(float(4**power) for power in range(14))
DURATION_BOUNDS: Final = tuple(0.01 * 2**power for power in range(14))
FIRST_BOUNDS: Final = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
PER_TOKEN_BOUNDS: Final = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5,
)  # fmt: skip

# Our own attributes
CATEGORY: Final = "coe.category"
EXPERT: Final = "coe.expert"
REASON: Final = "coe.reason"
ROUTER: Final = "coe.router"
PROBABILITY: Final = "coe.probability"
DECISION: Final = "coe.decision.id"
REQUEST: Final = "coe.request.id"
BACKEND: Final = "coe.backend"
COMPOSITION: Final = "coe.composition"
PANEL: Final = "coe.panel"
EXPERIMENTS: Final = "coe.experiments"
BATCH: Final = "coe.batch.id"
BATCH_LINE: Final = "coe.batch.line"
EXPERTS: Final = "coe.experts"
EXCLUDED: Final = "coe.excluded"
QUEUED: Final = "coe.queued_s"
SWAPPED: Final = "coe.swap_s"
STATE: Final = "coe.conventions"


def operation(endpoint: str) -> str:
    """Return the operation that an endpoint is for."""
    return _OPERATIONS.get(endpoint, CHAT)


def prometheus(name: str) -> str:
    """Return a name as Prometheus has it.

    Example:
        >>> prometheus(USAGE)
        'gen_ai_client_token_usage'
    """
    return name.replace(".", "_")


_DOTTED: Final = {
    prometheus(name): name
    for name in (*UNITS, OPERATION, PROVIDER, REQUEST_MODEL, TOKEN_TYPE, ERROR)
}


def opentelemetry(name: str) -> str:
    """Return the name of a metric or a label as OpenTelemetry has it; ours are the same in both.

    Example:
        >>> opentelemetry("error_type")
        'error.type'
    """
    return _DOTTED.get(name, name)
