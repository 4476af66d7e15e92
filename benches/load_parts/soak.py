"""An hour at half load: nothing fails that was not made to fail, and memory stays as it is.

Of twenty requests one is streamed, one has its category found, one asks an expert whose upstream
fails every fiftieth time (another expert then answers), one has a wrong key (401) and one a body
that is none (400); everything else names its expert. An answer that is not the one that was made
for its request is an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benches.lanes import PROMPT, chat_body
from benches.load_parts.open_loop import Seen, Shot, fire, shot
from benches.stacks import Running

EVERY_S = 10.0
WARM_SHARE, WARM_S = 0.2, 600.0
"""The first ten minutes, or the first fifth of a shorter run, are the warm-up."""

PATH = "/v1/chat/completions"
_DONE = b"data: [DONE]\n\n"


@dataclass(slots=True)
class Soaked:
    """What a soak saw.

    Attributes:
        seen: requests and errors.
        memory: seconds since the start, and the gateway's resident MB at that time.
        p99_ms: of each ten seconds.
    """

    seconds: float
    seen: Seen = field(default_factory=Seen)
    memory: list[tuple[float, float]] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)

    @property
    def mb_per_hour(self) -> float:
        """The slope of the memory after the warm-up, by least squares."""
        warm = min(WARM_S, WARM_SHARE * self.seconds)
        return slope([row for row in self.memory if row[0] >= warm]) * 3600


def slope(rows: Sequence[tuple[float, float]]) -> float:
    """Return the slope of a line through points, by least squares.

    Raises:
        ValueError: there are not two points.
    """
    if len(rows) < 2:
        raise ValueError("a slope needs two points at least")
    mean_x = sum(x for x, _ in rows) / len(rows)
    mean_y = sum(y for _, y in rows) / len(rows)
    above = sum((x - mean_x) * (y - mean_y) for x, y in rows)
    return above / sum((x - mean_x) ** 2 for x, _ in rows)


def shots(one: Running) -> list[Shot]:
    """Return the mixture of requests, twenty in a row."""
    told = list(one.stack.headers.items())
    plain = shot(one.url, PATH, chat_body("bench", PROMPT), name="plain", headers=told)
    streamed = shot(
        one.url,
        PATH,
        chat_body("bench", PROMPT, stream=True),
        name="streamed",
        headers=told,
        ends=_DONE,
    )
    routed = shot(one.url, PATH, chat_body("coe/auto", PROMPT), name="routed", headers=told)
    flaky = shot(one.url, PATH, chat_body("coe/flaky", PROMPT), name="flaky", headers=told)
    wrong_key = [("authorization", "Bearer coe-nobody-nothing")]
    refused = shot(
        one.url, PATH, chat_body("bench", PROMPT), name="wrong key", headers=wrong_key, expected=401
    )
    nonsense = shot(
        one.url, PATH, b'{"model": "bench"', name="nonsense", headers=told, expected=400
    )
    odd = [streamed, routed, flaky, refused, nonsense]
    return [*[plain] * (20 - len(odd)), *odd]


def soaked(one: Running, *, rate: float, seconds: float, say: Callable[[str], None]) -> Soaked:
    """Ask a gateway for so long, and return what was seen."""
    found = Soaked(seconds)
    begun = 0.0

    def look(seen: Seen) -> None:
        nonlocal begun
        begun += EVERY_S
        if one.process is not None:
            found.memory.append((begun, one.process.rss_mb()))
        if seen.latencies_s:
            found.p99_ms.append(seen.quantile_ms(0.99))
        seen.forget()
        if len(found.memory) % 30 == 1:
            at, mb = found.memory[-1]
            say(
                f"{at / 60:.0f} min: {seen.sent} sent, "
                f"{seen.errors} wrong {seen.wrong or ''}, {mb:.0f} MB"
            )

    found.seen = asyncio.run(
        fire(one.url, shots(one), rate=rate, seconds=seconds, every=(EVERY_S, look))
    )
    return found
