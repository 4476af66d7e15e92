"""What the bodies of requests look like, as JSON schemas for the OpenAPI document. Pure data.

They name what the gateway itself reads. What it does not know is passed on, so that no schema here
forbids further fields.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 1}
MODEL: Schema = {"type": "string", "minLength": 1, "examples": ["coe/auto"]}


def record(required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    """Return the schema of an object."""
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **(optional or {})},
    }


def listed(items: Schema, *, least: int = 0) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "minItems": least, "items": items}


def words(*known: str) -> Schema:
    """Return the schema of a string that is one of a few."""
    return {"type": "string", "enum": list(known)}


def either(*schemas: Schema) -> Schema:
    """Return the schema of what is one of several."""
    return {"anyOf": list(schemas)}


def _part(kind: str, **fields: Schema) -> Schema:
    return record({"type": words(kind), **fields})


_CONTENT = either(
    TEXT,
    listed(either(_part("text", text=TEXT), _part("image_url", image_url=record({"url": TEXT})))),
)
_OBJECT = record({})
_FUNCTION = record({"name": {"type": "string", "minLength": 1}}, {"parameters": _OBJECT})
_CALL = record(
    {
        "id": TEXT,
        "type": words("function"),
        "function": record({"name": TEXT, "arguments": TEXT}),
    }
)
_MESSAGE = either(
    record({"role": words("system", "developer", "user"), "content": _CONTENT}),
    record({"role": words("assistant")}, {"content": _CONTENT, "tool_calls": listed(_CALL)}),
    record({"role": words("tool"), "content": _CONTENT, "tool_call_id": TEXT}),
)

CHAT = record(
    {"model": MODEL, "messages": listed(_MESSAGE, least=1)},
    {
        "stream": FLAG,
        "n": {**COUNT, "maximum": 4},
        "max_tokens": COUNT,
        "max_completion_tokens": COUNT,
        "tools": listed(record({"type": words("function"), "function": _FUNCTION})),
        "response_format": record({"type": words("text", "json_object")}),
        "user": TEXT,
    },
)
EMBEDDINGS = record(
    {"model": MODEL, "input": either(TEXT, listed(TEXT, least=1))},
    {"encoding_format": words("float", "base64")},
)
COMPLETIONS = record(
    {"model": MODEL, "prompt": either(TEXT, {**listed(TEXT, least=1), "maxItems": 1})},
    {"max_tokens": COUNT, "echo": FLAG, "stream": FLAG},
)

_INPUT = either(
    record(
        {
            "role": words("user", "assistant", "system", "developer"),
            "content": either(TEXT, listed(_part("input_text", text=TEXT), least=1)),
        }
    ),
    record({"type": words("function_call"), "call_id": TEXT, "name": TEXT, "arguments": TEXT}),
    record({"type": words("function_call_output"), "call_id": TEXT, "output": TEXT}),
)
RESPONSES = record(
    {"model": MODEL, "input": either(TEXT, listed(_INPUT, least=1))},
    {
        "instructions": TEXT,
        "tools": listed(record({"type": words("function"), "name": TEXT, "parameters": _OBJECT})),
        "text": record({"format": _part("text")}),
        "max_output_tokens": COUNT,
        "stream": FLAG,
    },
)

_BLOCK = either(
    _part("text", text=TEXT),
    _part("tool_result", tool_use_id=TEXT, content=TEXT),
    _part("tool_use", id=TEXT, name=TEXT, input=_OBJECT),
)
_TURN = record(
    {
        "role": words("user", "assistant"),
        "content": either(TEXT, listed(_BLOCK, least=1)),
    }
)
_CONVERSATION: dict[str, Schema] = {"model": MODEL, "messages": listed(_TURN, least=1)}
_BESIDE: dict[str, Schema] = {
    "system": either(TEXT, listed(_part("text", text=TEXT))),
    "tools": listed(record({"name": TEXT, "input_schema": _OBJECT})),
}
MESSAGES = record({**_CONVERSATION, "max_tokens": COUNT}, {**_BESIDE, "stream": FLAG})
COUNTED = record(_CONVERSATION, _BESIDE)
