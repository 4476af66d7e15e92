"""The standard metrics of generative AI, beside ours; see `coe.telemetry.names`.

The model is the expert: a name of the composition, never what a request asks for.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple

from prometheus_client.metrics_core import Metric

from coe.telemetry import names
from coe.telemetry.names import prometheus
from coe.telemetry.series import Spread

_MODEL = tuple(map(prometheus, (names.OPERATION, names.PROVIDER, names.REQUEST_MODEL)))


class Marks(NamedTuple):
    """The series of one expert: a request finds all of them at once."""

    prompt: list[float]
    answer: list[float]
    whole: list[float]
    first: list[float]
    token: list[float]


class GenAI:
    """Counts tokens and times answers, by operation, provider and expert."""

    def __init__(self) -> None:
        usage, duration, first, token = map(
            prometheus, (names.USAGE, names.DURATION, names.FIRST_TOKEN, names.PER_TOKEN)
        )
        self._usage = Spread(
            usage,
            "Tokens of prompts (`input`) and answers (`output`), where the backend tells them",
            *_MODEL,
            prometheus(names.TOKEN_TYPE),
            bounds=names.TOKEN_BOUNDS,
        )
        self._duration = Spread(
            duration,
            "From the request's arrival to its last byte, in seconds; the model is the expert",
            *_MODEL,
            prometheus(names.ERROR),
            bounds=names.DURATION_BOUNDS,
        )
        self._first = Spread(
            first,
            "From the request's arrival to its first content, in seconds",
            *_MODEL,
            bounds=names.FIRST_BOUNDS,
        )
        self._token = Spread(
            token,
            "From the first content of a stream to its end, for each token after the first",
            *_MODEL,
            bounds=names.PER_TOKEN_BOUNDS,
        )

    def answered(
        self,
        marks: Marks,
        elapsed_s: float,
        first_s: float | None,
        told: tuple[int, int] | None,
        *,
        streamed: bool,
    ) -> None:
        """Count an answer, or a failure.

        Args:
            marks: of who answered, and what.
            elapsed_s: of the whole request.
            first_s: until its first content; None where there was none.
            told: tokens of prompt and answer; None where the backend did not tell.
            streamed: whether it came piece by piece.
        """
        whole = marks.whole
        whole[bisect_left(names.DURATION_BOUNDS, elapsed_s)] += 1
        whole[-1] += elapsed_s
        if first_s is not None:
            first = marks.first
            first[bisect_left(names.FIRST_BOUNDS, first_s)] += 1
            first[-1] += first_s
        if told is not None:
            prompt, answer = told
            series = marks.prompt
            series[bisect_left(names.TOKEN_BOUNDS, prompt)] += 1
            series[-1] += prompt
            series = marks.answer
            series[bisect_left(names.TOKEN_BOUNDS, answer)] += 1
            series[-1] += answer
            if streamed and first_s is not None and answer > 1:
                each_s = (elapsed_s - first_s) / (answer - 1)
                series = marks.token
                series[bisect_left(names.PER_TOKEN_BOUNDS, each_s)] += 1
                series[-1] += each_s

    def marks(self, operation: str, provider: str, expert: str, failure: str) -> Marks:
        """Return the series of some answers.

        Args:
            operation: see `coe.telemetry.names`.
            provider: likewise.
            expert: who answered; `none` for nobody.
            failure: the class of what went wrong; empty for nothing.
        """
        model = operation, provider, expert
        return Marks(
            prompt=self._usage.series(*model, "input"),
            answer=self._usage.series(*model, "output"),
            whole=self._duration.series(*model, failure),
            first=self._first.series(*model),
            token=self._token.series(*model),
        )

    def families(self) -> Iterator[Metric]:
        """Yield what was counted and timed."""
        for spread in (self._usage, self._duration, self._first, self._token):
            yield spread.family()
