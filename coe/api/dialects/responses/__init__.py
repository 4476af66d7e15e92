"""/v1/responses: the part of OpenAI's Responses API that needs no memory on the server."""

from coe.api.dialects.responses.request import parse

__all__ = ["parse"]
