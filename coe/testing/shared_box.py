"""A model server that notes what must not happen when several gateways share its memory.

    async with SharedBox(("a", "b", "c"), room=1) as box:
        ...  # box.url; afterwards box.wrongs, box.asked

It speaks Ollama's addresses. A prompt that holds `slowly` is answered word by word.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from coe.testing import behaviours, wire
from coe.testing.model_server import ModelServer
from coe.testing.serving import Received
from coe.testing.steps import Step, Wait

SIZE = 1 << 30
WORD_S = 0.05


class SharedBox(ModelServer):
    """The server. Start it with `async with`.

    Args:
        models: that it can hold, of `SIZE` bytes each.
        room: how many of them at once.
        lasts_s: what a load takes.

    Attributes:
        asked: how often each prompt came.
        wrongs: what went wrong: a model that left while it was at work, or that was asked for and
            not there, or more models at once than there is room for.
    """

    def __init__(self, models: Iterable[str], *, room: int, lasts_s: float = 0.0) -> None:
        super().__init__("ollama", models=dict.fromkeys(models, SIZE), lasts_s=lasts_s)
        self.room = room
        self.asked: Counter[str] = Counter()
        self.wrongs: list[str] = []
        self._busy_until_s: dict[str, float] = {}

    def answer(self, request: Received) -> list[Step]:
        """Take a request; return what to do with it."""
        before = list(self.held)
        if request.path.endswith("/chat/completions"):
            steps = self._asked(request.json)
            self.received += 1
            self.requests.append(request)
        else:
            steps = super().answer(request)
        for name in before:
            if name not in self.held and self._now_s() < self._busy_until_s.get(name, 0.0):
                self.wrongs.append(f"{name} left while it was at work")
        return steps

    def _asked(self, body: dict[str, Any]) -> list[Step]:
        ask = wire.Ask.read(body, "chat/completions")
        prompt = str(body["messages"][-1]["content"])
        self.asked[prompt] += 1
        if ask.model not in self.held:
            self.wrongs.append(f"{ask.model} was asked for and is not there")
        behaviour = f"slow-token-{round(1000 * WORD_S)}ms" if "slowly" in prompt else "ok"
        steps = behaviours.steps(replace(ask, model=behaviour))
        # The last wait is behind the end mark, at which whoever asks is done.
        lasts_s = sum(step.seconds for step in steps if isinstance(step, Wait)) - WORD_S
        end_s = self._now_s() + lasts_s
        self._busy_until_s[ask.model] = max(end_s, self._busy_until_s.get(ask.model, 0.0))
        return steps

    def _bring(self, name: str) -> None:
        super()._bring(name)
        if len(self.held) > self.room:
            self.wrongs.append(f"{', '.join(self.held)} are there, and room is for {self.room}")

    @staticmethod
    def _now_s() -> float:
        return asyncio.get_running_loop().time()


def composition(box_url: str, models: Iterable[str], *, room: int, more: str = "") -> str:
    """Return a composition file of the server's models; `room` of them fit."""
    rows = "".join(f"  {name}: {{backend: box, model: {name}, memory: 1GiB}}\n" for name in models)
    return (
        "version: 1\nbackends:\n"
        f"  box: {{type: ollama, url: {box_url}, memory: {room}GiB, concurrency: 4}}\n"
        f"experts:\n{rows}default: {next(iter(models))}\nfallbacks: {{attempts: 1}}\n{more}"
    )
