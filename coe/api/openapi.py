"""Puts the plain ASGI endpoints into the OpenAPI document that FastAPI makes of the others."""

from __future__ import annotations

from typing import Any, get_args

from fastapi import FastAPI

from coe.api import schemas
from coe.api.dialects.endpoints import PAGES
from coe.types import Chosen, Reason

_EXPLAIN = {
    name: {"description": text, "schema": {"type": "string"}}
    for name, text in {
        "x-request-id": "the client's own id, or the gateway's",
        "x-coe-decision-id": "the decision's id",
        "x-coe-expert": "who answers",
        "x-coe-category": "what the prompt was taken for; absent where the router abstained",
        "x-coe-confidence": "the category's probability; `raw` before it where not calibrated",
        "x-coe-router": "the router stage that decided",
        "x-coe-session": "where the session's key is from; absent where the router was not asked "
        "or nothing is remembered",
        "x-coe-alone": "where the session kept the category: what the router would have chosen, "
        "or `none`; absent where it was not asked",
        "x-coe-choose": "where a fitted map was asked for: what ranked the experts "
        f"({', '.join(get_args(Chosen))})",
        "x-coe-expected-quality": "what the map expects of the answer, 0 to 1; absent where it "
        "says nothing of who answers",
        "x-coe-expected-cost": "what the map expects the answer to cost, in the currency of the "
        "prices; absent where none is known",
        "x-coe-reason": ", ".join(get_args(Reason)),
        "x-coe-attempts": "experts asked, the answering one included",
        "x-coe-tried": "who was asked without success, each with the kind of failure; absent where "
        "the first one answers",
        "x-coe-panel": "the panel that answers; absent where one expert does. The body's `coe`, or "
        "that of a stream's last chunk, says who wrote what",
        "x-coe-cache": "where answers are kept: `hit` with the id of what is given again and how "
        "near it is, `miss`, `refresh`, `off`, or `unavailable`",
        "x-coe-calls": "calls that the panel made; of a stream, the one that writes it included",
        "x-coe-cost-usd": "what those of its calls that had ended cost: for an answer that is not "
        "streamed, all; absent where no price in USD is known. Without a panel it is there where "
        "the composition limits tokens or money",
        "x-ratelimit-limit-requests": "requests of the limit that is nearest to its end, with "
        "`x-ratelimit-remaining-requests` and `x-ratelimit-reset-requests`: in how "
        "many seconds nothing counts any more of what was used, if nobody asks meanwhile (there is "
        "room for some sooner: `retry-after` of a 429 says when); the same "
        "for tokens, as `x-ratelimit-limit-tokens`; absent without such a limit",
        "x-coe-left-out": "types of tools that were offered to /v1/responses or /v1/messages and "
        "that no expert can use; absent where there are none",
        "x-coe-overhead-ms": "time to the headers less that of the backend that answers; waits for "
        "a slot, loads, and calls that failed before are in it",
        "server-timing": "milliseconds of `route`: deciding and planning; `queue`: waits for a "
        "slot and loads; `upstream`: the call that answers, to its first content",
    }.items()
}


def describe(app: FastAPI) -> None:
    """Make `app.openapi()` include the hot endpoints."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        document["paths"].setdefault(
            "/v1/chat/completions",
            _post(
                "Chat completion",
                "OpenAI's chat completions; `model` may be coe/auto, an expert or a category. "
                "Fields that the gateway does not know are passed on. Where a panel answers, "
                "`usage` is the sum over its calls, and `coe.provenance` says who wrote what, in "
                "the body or in the last chunk of a stream.",
                schemas.CHAT,
            ),
        )
        document["paths"].setdefault(
            "/v1/embeddings",
            _post(
                "Embeddings",
                "OpenAI's embeddings, by one of the composition's encoders or by an expert.",
                schemas.EMBEDDINGS,
            ),
        )
        for path, page in PAGES.items():
            document["paths"].setdefault(path, _post(*page))
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _post(summary: str, description: str, body: schemas.Schema) -> dict[str, Any]:
    return {
        "post": {
            "tags": ["inference"],
            "summary": summary,
            "description": description,
            "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
            "responses": {
                "200": {
                    "description": "the answer",
                    "headers": _EXPLAIN,
                    "content": {"application/json": {}, "text/event-stream": {}},
                },
                "4XX": {"description": "an error object; the request cannot be served"},
                "5XX": {"description": "an error object; x-coe-error-origin says whose"},
            },
        }
    }
