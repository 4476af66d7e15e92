"""The page of the HTTP interface, read from the OpenAPI document of a running application."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from coe.api.app import App
from docs.generators import markdown
from docs.generators.example import application

INTRODUCTION = """\
OpenAI's API, and what explains it. A running gateway shows the same as `GET /openapi.json` and
`/docs`. Errors are in [errors](errors.md)."""


def page() -> str:
    """Return the page."""
    document = asyncio.run(_openapi())
    parts = [
        _endpoint(method, path, operation)
        for path, operations in sorted(document["paths"].items(), key=_rank)
        for method, operation in operations.items()
    ]
    return markdown.page("HTTP interface", INTRODUCTION, *parts)


def _rank(item: tuple[str, dict[str, Any]]) -> tuple[int, str]:
    """Put the tags of the document in the order in which people need them."""
    path, operations = item
    tags = ("inference", "models", "routing", "batches", "health")
    tag = next(iter(operations.values())).get("tags", [""])[0]
    return (tags.index(tag) if tag in tags else len(tags), path)


def _endpoint(method: str, path: str, operation: dict[str, Any]) -> str:
    parts = [f"## `{method.upper()} {path}`", operation.get("description", "")]
    content = operation.get("requestBody", {}).get("content", {})
    schema = next(iter(content.values()), {}).get("schema", {})
    required = schema.get("required", [])
    rows = [
        (markdown.code(name), _kind(field), "yes" if name in required else "")
        for name, field in schema.get("properties", {}).items()
    ]
    parts.append(markdown.table(("field", "value", "required"), rows))
    for status, response in operation.get("responses", {}).items():
        headers = [
            (markdown.code(name), header["description"])
            for name, header in response.get("headers", {}).items()
        ]
        if headers:
            parts += [f"Headers of a {status}:", markdown.table(("header", "meaning"), headers)]
    return "\n\n".join(part for part in parts if part)


def _kind(field: dict[str, Any]) -> str:
    if "enum" in field:
        return ", ".join(markdown.code(value) for value in field["enum"])
    if "anyOf" in field:
        return " or ".join(_kind(choice) for choice in field["anyOf"])
    return str(field.get("type", ""))


async def _openapi() -> dict[str, Any]:
    async with application() as app:
        return await _get(app, "/openapi.json")


async def _get(app: App, path: str) -> dict[str, Any]:
    """Ask the application as a server would."""
    body = bytearray()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        body.extend(message.get("body", b""))

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [],
        "server": ("127.0.0.1", 80),
    }
    await app(scope, receive, send)
    document: dict[str, Any] = orjson.loads(bytes(body))
    return document
