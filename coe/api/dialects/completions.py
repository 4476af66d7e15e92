"""/v1/completions: a prompt is one user message, and what the model says is the completion.

The experts are chat models: their chat template is around the prompt, so that a text is answered
and not continued. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from coe import sse
from coe.api import errors, wire
from coe.api.dialects import speech
from coe.api.dialects.node import Node, passed_on
from coe.api.dialects.translation import Translated, translated
from coe.errors import BackendProtocolError, CoEError
from coe.settings import Settings
from coe.unfold import unfold

_OWN = frozenset({"prompt", "suffix", "echo", "best_of", "logprobs"})
_INSTEAD = {
    "messages": "send them to /v1/chat/completions",
    "tools": "send them to /v1/chat/completions",
}
_MOST_LOGPROBS = 20


def parse(
    body: dict[str, Any], query_id: str, settings: Settings, sender: wire.Sender
) -> Translated:
    """Return the query of a body.

    Raises:
        InvalidRequest: with `param` naming the field.
    """
    root = Node(body)
    prompt = _prompt(root["prompt"])
    chat = passed_on(root, _OWN, _INSTEAD)
    chat["messages"] = [{"role": "user", "content": prompt}]
    if root["suffix"].value:
        raise root["suffix"].wrong("cannot be filled in by a chat model; put it into the prompt")
    n = root["n"].count() or 1
    best_of = root["best_of"]
    if (best_of.count() or n) != n:
        raise best_of.wrong("must be `n` or left out: no answers are made that are not returned")
    echo, logprobs = root["echo"].flag(), root["logprobs"].count(0)
    if logprobs is not None:
        if logprobs > _MOST_LOGPROBS:
            raise root["logprobs"].wrong(f"is at most {_MOST_LOGPROBS}")
        if echo:
            raise root["echo"].wrong(
                "with `logprobs` is not served: nobody tells the log probabilities of a prompt"
            )
        chat["logprobs"], chat["top_logprobs"] = True, logprobs
    writer = _Writer(prompt if echo else "")
    return translated(chat, query_id, settings, sender, writer=writer)


def _prompt(given: Node) -> str:
    """Return the one text."""
    if given.is_text:
        return given.text()
    texts = list(given) if isinstance(given.value, list) else []
    if len(texts) == 1 and texts[0].is_text:
        return texts[0].text()
    if len(texts) > 1 and all(text.is_text for text in texts):
        raise given.wrong("holds several prompts; send a request for each, or a batch")
    raise given.wrong("must be a string or a list of one string; token numbers are not served")


class _Writer:
    """Writes text completions; `echo` is the prompt, where it is to come first."""

    def __init__(self, echo: str) -> None:
        self._echo = echo
        self._echoed: set[int] = set()
        self._offsets: dict[int, int] = {}

    def whole(self, completion: bytes) -> Mapping[str, Any]:
        """Return the text completion, with the fields that the chat completion has."""
        value = speech.whole(completion)
        choices: dict[int, dict[str, Any]] = {}
        for chunk in unfold(value):
            for one in self._choices(chunk):
                known = choices.setdefault(one["index"], one)
                if known is not one:
                    known["finish_reason"] = one["finish_reason"]
        return {**value, "object": "text_completion", "choices": list(choices.values())}

    def chunk(self, chunk: Mapping[str, Any]) -> Iterator[bytes]:
        """Yield the chunk as a text completion."""
        choices = list(self._choices(chunk))
        if choices or chunk.get("usage") or not chunk.get("choices"):
            shown = {**chunk, "object": "text_completion", "choices": choices}
            yield sse.frame(orjson.dumps(shown))

    def end(self) -> Iterator[bytes]:
        """Yield the end mark."""
        yield sse.DONE

    def broken(self, error: CoEError) -> bytes:
        """Return OpenAI's error frame; no end mark follows it."""
        return errors.frame(error)

    def _choices(self, chunk: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the choices of a chunk that say or end something."""
        for choice in chunk.get("choices") or ():
            delta = speech.mapping(speech.mapping(choice, "a choice").get("delta") or {}, "a delta")
            text, index = _text(delta), choice.get("index") or 0
            if self._echo and index not in self._echoed:
                self._echoed.add(index)
                text = self._echo + text
            finish = choice.get("finish_reason")
            if text or finish:
                logprobs = self._logprobs(choice.get("logprobs"), index)
                yield {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}

    def _logprobs(self, given: Mapping[str, Any] | None, index: int) -> dict[str, Any] | None:
        """Return log probabilities as this API has them: a list for each of their sides."""
        rows = (given or {}).get("content")
        if not rows:
            return None
        offsets, at = [], self._offsets.get(index, 0)
        for row in rows:
            offsets.append(at)
            at += len(row["token"])
        self._offsets[index] = at
        return {
            "tokens": [row["token"] for row in rows],
            "token_logprobs": [row["logprob"] for row in rows],
            "top_logprobs": [
                {one["token"]: one["logprob"] for one in row.get("top_logprobs") or ()}
                for row in rows
            ],
            "text_offset": offsets,
        }


def _text(delta: Mapping[str, Any]) -> str:
    """Return what a delta says; a refusal is text here, because there is no field for it."""
    text = delta.get("content") or delta.get("refusal") or ""
    if not isinstance(text, str):
        raise BackendProtocolError("an expert sent a text that is not a string")
    return text
