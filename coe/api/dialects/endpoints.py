"""The endpoints of the dialects, by their paths, and what the OpenAPI document says of them."""

from __future__ import annotations

from typing import NamedTuple

from coe import pipeline
from coe.api import schemas
from coe.api.dialects import completions, messages, responses
from coe.api.dialects.translation import Translation
from coe.api.inference import After, Inference, Parse
from coe.live import Live
from coe.settings import Settings


class Page(NamedTuple):
    """What the OpenAPI document says of an endpoint."""

    summary: str
    description: str
    body: schemas.Schema


PAGES = {
    "/v1/completions": Page(
        "Completion",
        "OpenAI's older completions: the prompt is sent to a chat model as a user's message, and "
        "answered rather than continued. Where `max_tokens` is left out, the expert's own limit "
        "holds. `suffix`, `best_of`, several prompts and token numbers are refused.",
        schemas.COMPLETIONS,
    ),
    "/v1/responses": Page(
        "Response",
        "OpenAI's responses, as far as they need no memory on the server: send the whole "
        "conversation in `input`. `store: true`, `previous_response_id`, `conversation`, "
        "`background` are refused. Tools other than functions are left out. A stream that fails "
        "ends with `response.failed`.",
        schemas.RESPONSES,
    ),
    "/v1/messages": Page(
        "Message",
        "Anthropic's messages. The key may be in `x-api-key` or in `authorization`. Errors are "
        "Anthropic's error object. Documents other than text are refused; tools without an "
        "`input_schema` of their own are left out; `thinking`, `cache_control` and "
        "`output_config.effort` are taken and not passed on. Where the expert tells no usage, it "
        "is an estimate.",
        schemas.MESSAGES,
    ),
    "/v1/messages/count_tokens": Page(
        "Tokens of a message",
        "How many tokens a prompt has, as `input_tokens`: the gateway's estimate, a quarter of its "
        "characters. No expert is asked.",
        schemas.COUNTED,
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
