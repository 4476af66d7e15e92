"""Follow-ups that stay and topics that switch: `python -m benches.conversations`.

Plays the dialogues of tests/data/dialogues.jsonl over ./experts.yaml and over the general-purpose
composition beside them, with the real router, a turn at a time as a client would. Of each turn
the dialogue says which category it belongs to; who wrote them decided that before any router saw
them. The part `tune` was used to choose the defaults, the part `held` only to report.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from coe.classify import Classifier, Policy
from coe.composition import Composition, Context, Routing, Stickiness, load
from coe.registry import Registry
from coe.sessions import Sessions
from coe.turns import Turns
from coe.types import Query
from coe.wiring import Workshop

ROOT = Path(__file__).parents[1]
DIALOGUES = ROOT / "tests" / "data" / "dialogues.jsonl"
COMPOSITIONS = {
    "shipped": ROOT / "experts.yaml",
    "general": ROOT / "tests" / "data" / "dialogues.yaml",
}
Way = tuple[Context, Stickiness]
DEFAULT = "a window and a session (default)"
WAYS: Mapping[str, Way] = {
    "the last turn alone": (Context(turns=1), Stickiness(stick="never")),
    "a window of 3 turns, no session": (Context(), Stickiness(stick="never")),
    DEFAULT: (Context(), Stickiness()),
}


@dataclass
class Score:
    """What came of the turns of one part, by what was to be done.

    Attributes:
        turns: `start` the first, `stay`, `tools` (stay, in a tool loop), `switch` to another
            category, and `leave`: a new topic that no category knows.
        right: those that got the category that they belong to.
        wrong: (dialogue, what was to be done, wanted, got) of the others.
    """

    turns: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    wrong: list[tuple[str, str, str | None, str | None]] = field(default_factory=list)

    def share(self, kind: str) -> float:
        """Return the share of right ones among the turns of a kind."""
        return self.right[kind] / self.turns[kind]


def main() -> int:
    """Print a table, and with `--wrong` what went wrong by default."""
    out = Console()
    table = Table(box=None, pad_edge=False)
    for column in ("part", "routed by", "start", "stay", "tools", "switch", "leave"):
        table.add_column(column)
    scores = asyncio.run(play())
    for (way, part), score in scores.items():
        kinds = ("start", "stay", "tools", "switch", "leave")
        cells = (f"{score.right[k]}/{score.turns[k]} = {score.share(k):.3f}" for k in kinds)
        table.add_row(part, way, *cells)
    out.print(table)
    if "--wrong" in sys.argv:
        for (way, part), score in scores.items():
            for row in score.wrong if way == DEFAULT else ():
                out.print(part, *row)
    return 0


async def play(ways: Mapping[str, Way] = WAYS) -> dict[tuple[str, str], Score]:
    """Return the scores by way and part."""
    scores: dict[tuple[str, str], Score] = {}
    dialogues = [json.loads(line) for line in DIALOGUES.read_text(encoding="utf-8").splitlines()]
    for name, file in COMPOSITIONS.items():
        composition = load(file)
        classifier = await _classifier(composition)
        for way, (context, rules) in ways.items():
            routing = replace(composition.routing, context=context, sessions=rules)
            for dialogue in dialogues:
                if dialogue["composition"] == name:
                    score = scores.setdefault((way, dialogue["part"]), Score())
                    await _play(dialogue, classifier, routing, score)
        classifier.close()
    return scores


async def _classifier(composition: Composition) -> Classifier:
    workshop = Workshop(composition, Registry())
    policy = Policy(
        threshold=composition.routing.threshold, margin=composition.routing.margin, wait_s=60
    )
    classifier = Classifier(partial(workshop.router, composition.routing.router or ""), policy)
    await classifier.load(patient=False)
    return classifier


async def _play(
    dialogue: Mapping[str, Any], classifier: Classifier, routing: Routing, score: Score
) -> None:
    sessions = None if routing.sessions.stick == "never" else Sessions(ttl_s=3600)
    turns = Turns(classifier, routing, sessions)
    messages: list[dict[str, Any]] = []
    for turn in dialogue["turns"]:
        messages += _messages(turn)
        body = {"messages": [{"role": "system", "content": dialogue["name"]}, *messages]}
        decision = await turns.decide(Query(id="q", model="coe/auto", body=body))
        experts = routing.routes.get(decision.category or "", ("default",))
        turns.remember(decision, experts[0])
        if "tools" not in turn:
            messages.append({"role": "assistant", "content": "Here you are."})
        wanted = turn["category"]
        kind = "leave" if wanted is None else "tools" if "tools" in turn else turn["expect"]
        score.turns[kind] += 1
        if decision.category == wanted:
            score.right[kind] += 1
        else:
            score.wrong.append((dialogue["name"], kind, wanted, decision.category))


def _messages(turn: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what a turn adds to the conversation."""
    if "tools" in turn:
        calls = [
            {"id": str(i), "type": "function", "function": {"name": name, "arguments": "{}"}}
            for i, name in enumerate(turn["tools"])
        ]
        yield {"role": "assistant", "content": None, "tool_calls": calls}
        for call in calls:
            yield {"role": "tool", "tool_call_id": call["id"], "content": "what is 3 * 4? bonjour"}
        return
    text = turn["user"]
    if "repeat" in turn:
        text += turn["repeat"] * turn["times"] + turn["end"]
    yield {"role": "user", "content": text}


if __name__ == "__main__":
    raise SystemExit(main())
