"""The endpoints of the dialects, by their paths, and what the OpenAPI document says of them."""

from __future__ import annotations

from typing import Any, NamedTuple

from coe import pipeline
from coe.api.dialects import completions, messages, responses
from coe.api.dialects.translation import Translation
from coe.api.inference import After, Inference, Parse
from coe.live import Live
from coe.settings import Settings

_TEXT = {"type": "string"}
_MODEL = {"type": "string", "examples": ["coe/auto"]}
_LIST = {"type": "array", "items": {"type": "object"}}
_MESSAGES = {"type": "array", "minItems": 1, "items": {"type": "object"}}
_CONVERSATION = {"model": _MODEL, "messages": _MESSAGES, "system": _TEXT, "tools": _LIST}


class Page(NamedTuple):
    """What the OpenAPI document says of an endpoint."""

    summary: str
    description: str
    required: list[str]
    properties: dict[str, Any]


PAGES = {
    "/v1/completions": Page(
        "Completion",
        "OpenAI's older completions: the prompt is sent to a chat model as a user's message, and "
        "answered rather than continued. Where `max_tokens` is left out, the expert's own limit "
        "holds. `suffix`, `best_of`, several prompts and token numbers are refused.",
        ["model", "prompt"],
        {
            "model": _MODEL,
            "prompt": {"anyOf": [_TEXT, {"type": "array"}]},
            "max_tokens": {"type": "integer"},
            "echo": {"type": "boolean"},
            "stream": {"type": "boolean"},
        },
    ),
    "/v1/responses": Page(
        "Response",
        "OpenAI's responses, as far as they need no memory on the server: send the whole "
        "conversation in `input`. `store: true`, `previous_response_id`, `conversation`, "
        "`background` are refused. Tools other than functions are left out. A stream that fails "
        "ends with `response.failed`.",
        ["model", "input"],
        {
            "model": _MODEL,
            "input": {"anyOf": [_TEXT, {"type": "array"}]},
            "instructions": _TEXT,
            "tools": _LIST,
            "text": {"type": "object"},
            "max_output_tokens": {"type": "integer"},
            "stream": {"type": "boolean"},
        },
    ),
    "/v1/messages": Page(
        "Message",
        "Anthropic's messages. The key may be in `x-api-key` or in `authorization`. Errors are "
        "Anthropic's error object. Documents other than text are refused; tools without an "
        "`input_schema` of their own are left out; `thinking`, `cache_control` and "
        "`output_config.effort` are taken and not passed on. Where the expert tells no usage, it "
        "is an estimate.",
        ["model", "messages", "max_tokens"],
        {
            **_CONVERSATION,
            "max_tokens": {"type": "integer"},
            "stream": {"type": "boolean"},
        },
    ),
    "/v1/messages/count_tokens": Page(
        "Tokens of a message",
        "How many tokens a prompt has, as `input_tokens`: the gateway's estimate, a quarter of its "
        "characters. No expert is asked.",
        ["model", "messages"],
        _CONVERSATION,
    ),
}


def endpoints(
    live: Live, settings: Settings, after: After
) -> dict[str, Inference | messages.Counting]:
    """Return the endpoints over the gateway that serves now."""

    def asked(name: str, parse: Parse, exchange: type[Translation]) -> Inference:
        return Inference(name, live, settings, parse, pipeline.answer, after, exchange=exchange)

    return {
        "/v1/completions": asked("completions", completions.parse, Translation),
        "/v1/responses": asked("responses", responses.parse, Translation),
        "/v1/messages": asked("messages", messages.parse, messages.MessagesExchange),
        "/v1/messages/count_tokens": messages.Counting(live, settings),
    }
