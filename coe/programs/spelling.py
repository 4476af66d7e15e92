"""Completions and streams as the bytes that a backend yields. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from coe import sse
from coe.drafting.reading import parsed
from coe.fold import Fold
from coe.types import Call, Dispatch
from coe.unfold import unfold


def headed(dispatch: Dispatch, created_s: float) -> dict[str, Any]:
    """Return what a completion of ours begins with.

    Args:
        dispatch: the call that it answers.
        created_s: now, in seconds since 1970.
    """
    return {
        "id": f"chatcmpl-{dispatch.query_id}",
        "object": "chat.completion",
        "created": int(created_s),
        "model": dispatch.call.expert,
    }


def spelt(completion: Mapping[str, Any], call: Call) -> bytes:
    """Return a whole answer as one item: frames for a call that is streamed, else JSON."""
    if not call.stream:
        return orjson.dumps(completion)
    options = call.body.get("stream_options")
    wants_usage = isinstance(options, Mapping) and options.get("include_usage") is True
    chunks = unfold(completion, usage=wants_usage)
    return b"".join(sse.frame(orjson.dumps(chunk)) for chunk in chunks)


class Whole:
    """Collects the pieces of an answer, whether it is streamed or not."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._fold = Fold()
        self._body: dict[str, Any] = {}

    def add(self, piece: bytes) -> None:
        """Take the next piece."""
        if not self._call.stream:
            self._body = parsed(piece, self._call.expert)
            return
        for frame in sse.frames(piece):
            if (payload := sse.data(frame)) is not None:
                self._fold.add(parsed(payload, self._call.expert))

    @property
    def answer(self) -> dict[str, Any]:
        """What they are together."""
        return self._fold.completion if self._call.stream else self._body


def renamed(expert: str, call: Call) -> Callable[[bytes], bytes]:
    """Return what gives frames, or a JSON body, of another expert this call's name.

    In JSON a quote inside a text is escaped: `"model":` with bare quotes is a key, never a text.
    """
    ours = b'"model":' + orjson.dumps(call.expert)
    theirs = re.compile(rb'"model"\s*:\s*' + re.escape(orjson.dumps(expert)))
    return lambda block: theirs.sub(lambda _: ours, block)
