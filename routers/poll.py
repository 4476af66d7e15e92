"""One question about each text, put to an expert some times over: what a judge says, or a tagger.

    body    = prompt(text), the text quoted as data
    answers = `samples` of them, each read strictly; what cannot be read is no vote

What a text says is never an instruction: it stands in the prompt as a JSON string, and of an
answer nothing is used but values that the prompt named before.
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from coe.errors import CoEError
from coe.protocols import ASK_WAIT_S, AskedExpert
from coe.types import Evidence
from routers.cache import digest

Vote = TypeVar("Vote")
Body = Mapping[str, Any]

MOST_SAMPLES = 16
ENFORCED = "enforced"
SCHEMAS = (ENFORCED, "described")
TEMPERATURE = 0.7  # of several samples: at zero they would all be the same
MAX_CHARS = 4000
LONGEST_ANSWER = 4000
THOUGHT = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
FENCED = re.compile(r"\A```(?:json)?\s*\n(.*?)\n?```\Z", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Polled(Generic[Vote]):
    """What an expert said of one text.

    Attributes:
        votes: of the answers that could be read.
        asked: how many answers were wanted.
        failure: why the first unreadable answer is none; empty where all could be read.
    """

    votes: tuple[Vote, ...]
    asked: int
    failure: str = ""


class Poll(Generic[Vote]):
    """Asks one expert about texts, and remembers what it said. Thread-safe.

    Only texts of which every answer could be read are remembered, by their digests; the least
    recently used goes first.
    """

    def __init__(
        self,
        expert: AskedExpert,
        *,
        body: Callable[[str], Body],
        read: Callable[[str], Vote],
        samples: int = 1,
        wait_s: float = ASK_WAIT_S,
        entries: int = 4096,
    ) -> None:
        """Store the parts; nobody is asked yet.

        Args:
            expert: who is asked.
            body: the question about a text, in OpenAI's words.
            read: what an answer says; raises ValueError with the reason where it says nothing.
            samples: answers for each text.
            wait_s: for each answer.
            entries: texts whose answers are remembered.
        """
        self._expert = expert
        self._body = body
        self._read = read
        self._samples = samples
        self._wait_s = wait_s
        self._entries = entries
        self._known: OrderedDict[bytes, Polled[Vote]] = OrderedDict()
        self._lock = threading.Lock()

    def ask(self, texts: Sequence[str]) -> list[Polled[Vote]]:
        """Return what the expert says of each text; a text that stands there twice is asked once.

        Failures are values (see `Polled`): nothing is raised.
        """
        keys = [digest(text) for text in texts]
        found = self._recall(keys)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        bodies = [body for text in missing.values() for body in self._bodies(text)]
        answers = self._expert.ask(bodies, wait_s=self._wait_s) if bodies else ()
        for place, key in enumerate(missing):
            start = place * self._samples
            found[key] = self._polled(answers[start : start + self._samples])
        self._remember({key: found[key] for key in missing if not found[key].failure})
        return [found[key] for key in keys]

    def _bodies(self, text: str) -> list[Body]:
        body = self._body(text)
        if self._samples == 1:
            return [{**body, "temperature": 0.0}]
        return [{**body, "temperature": TEMPERATURE, "seed": seed} for seed in range(self._samples)]

    def _polled(self, answers: Sequence[str | CoEError]) -> Polled[Vote]:
        votes, failures = [], []
        for answer in answers:
            try:
                votes.append(self._read(_text(answer)))
            except ValueError as error:
                failures.append(str(error))
        return Polled(tuple(votes), self._samples, failures[0] if failures else "")

    def _recall(self, keys: Sequence[bytes]) -> dict[bytes, Polled[Vote]]:
        found = {}
        with self._lock:
            for key in keys:
                if key in self._known:
                    self._known.move_to_end(key)
                    found[key] = self._known[key]
        return found

    def _remember(self, fresh: Mapping[bytes, Polled[Vote]]) -> None:
        with self._lock:
            self._known.update(fresh)
            while len(self._known) > self._entries:
                self._known.popitem(last=False)


def chat(task: str, text: str, *, schema: Mapping[str, Any], name: str, enforced: bool) -> Body:
    """Return the body of a question about a text.

    Args:
        task: what is to be said of the text; the same for all texts, so that servers which keep
            the prompts they saw last read it once.
        text: any string; of a long one its two ends.
        schema: of the answer, JSON schema.
        name: of the schema.
        enforced: whether the server is asked to keep the model to the schema.
    """
    body: dict[str, Any] = {
        "messages": [
            {"role": "system", "content": task},
            {"role": "user", "content": f'{{"text": {quoted(text)}}}'},
        ],
    }
    if enforced:
        form = {"name": name, "strict": True, "schema": schema}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    return body


def quoted(text: str, limit: int = MAX_CHARS) -> str:
    """Return a text as a JSON string, cut in its middle where it is longer than `limit`.

    Example:
        >>> print(quoted("hi there", limit=4))
        "hi [...] re"
    """
    if len(text) > limit:
        text = f"{text[: limit // 2]} [...] {text[-limit // 2 :]}"
    whole = text.encode("utf-8", "replace").decode()  # a lone surrogate is no JSON
    return json.dumps(whole, ensure_ascii=False)


def read_object(text: str, keys: Sequence[str]) -> dict[str, Any]:
    """Return the JSON object that an answer holds, alone or fenced, after a thought or without.

    Raises:
        ValueError: it holds something else, or more than these keys, or less.
    """
    bare = THOUGHT.sub("", text, count=1).strip()
    if len(bare) > LONGEST_ANSWER:
        raise ValueError(f"its answer is longer than {LONGEST_ANSWER} characters")
    fenced = FENCED.match(bare)
    try:
        value = json.loads(fenced[1] if fenced else bare)
    except (ValueError, RecursionError):
        raise ValueError("its answer is not JSON") from None
    if not isinstance(value, dict) or set(value) != set(keys):
        raise ValueError(f"its answer is not an object with {' and '.join(keys)}")
    return value


def silence(failure: str) -> tuple[Evidence, ...]:
    """Return the evidence of a text that an expert said nothing about."""
    return (Evidence(kind="judge", category="", text=failure),)


def _text(answer: str | CoEError) -> str:
    """Return an answer's text. Raises ValueError where there is an error instead."""
    if isinstance(answer, CoEError):
        raise ValueError(answer.message)  # noqa: TRY004 - no answer, as good as a wrong one
    return answer
