"""How /v1/messages is sent: Anthropic's errors, and the header in which its SDKs look for an id."""

from __future__ import annotations

from coe.api import explain
from coe.api.dialects.messages import failures
from coe.api.dialects.translation import Translation
from coe.errors import CoEError


class MessagesExchange(Translation):
    """One request and its response, in Anthropic's words."""

    def refused(self, error: CoEError) -> dict[str, object]:
        """Return Anthropic's error object."""
        return failures.body(error, self.request_id)

    async def _start(self, headers: explain.Headers) -> None:
        await super()._start([*headers, (b"request-id", self.request_id.encode())])
