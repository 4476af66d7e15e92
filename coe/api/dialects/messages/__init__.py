"""/v1/messages and /v1/messages/count_tokens: Anthropic's Messages API."""

from coe.api.dialects.messages.counting import Counting
from coe.api.dialects.messages.exchange import MessagesExchange
from coe.api.dialects.messages.request import parse

__all__ = ["Counting", "MessagesExchange", "parse"]
