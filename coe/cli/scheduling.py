"""`coe scheduling`: who is in memory at a gateway that runs, and what happened there of late."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

import orjson

from coe.cli import timeline
from coe.cli.asked import KEY, key_header
from coe.cli.printed import columns, print_json, write_file
from coe.cli.timeline import Window, busiest_first, lasting, legend, picture
from coe.composition.units import format_size
from coe.errors import ConfigError
from coe.page.markup import Child, Markup, element
from coe.page.parts import card, section, table
from coe.page.parts import page as whole
from coe.page.texts import shown
from coe.scheduler.chronicle import Mark, Record
from coe.scheduler.recorded import read
from coe.scheduler.stays import loads, stays

PATH = "/v1/scheduling"
LIMIT_S = 10.0
LEAST_S = 0.001  # of a call: nothing takes no time
RECENT = 12  # events that the terminal shows
LISTED = 60  # and the page
_NOT_FOUND = 404
HEADS = ("expert", "now", "runs", "waits", "takes", "loads", "in memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """An expert as it stands now; see the endpoint."""

    expert: str
    state: str
    running: int
    waiting: int
    memory: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """One backend whose memory is managed. Times of the record are seconds since 1970."""

    backend: str
    memory: int
    experts: Sequence[Member]
    record: Record


def show(
    url: str, *, html: Path | None = None, calls: Path | None = None, as_json: bool = False
) -> None:
    """Ask a gateway and print what it says.

    Args:
        url: its address, with or without `/v1`.
        html: where a page with the timeline is written, too.
        calls: where its last calls are written, for `coe plan`.
        as_json: print what it said as it is.

    Raises:
        ConfigError: it does not answer, or manages no memory, or a file cannot be written.
    """
    said = fetch(url)
    memories = read_answer(said, url)
    if not memories:
        raise ConfigError(
            f"{url}: no backend's memory is managed there: say what there is with `memory` in the"
            " composition"
        )
    if html is not None:
        write_file(html, page(memories, url, said["at"]).encode("utf-8", "replace"))
    if calls is not None:
        write_file(calls, b"".join(trace_lines(memories)))
    if as_json:
        print_json(said)
        return
    for one in memories:
        print("\n".join(_lines(one)))


class _Stay(HTTPRedirectHandler):
    """Follows no redirect: the key is for the address that was named."""

    def redirect_request(self, *_: Any) -> None:
        """Return no request, so that the redirect is an error like any other status."""


def fetch(url: str) -> Any:
    """Return what a gateway says of its scheduling. Raises ConfigError."""
    address = url.rstrip("/").removesuffix("/v1") + PATH
    if not address.startswith(("http://", "https://")):
        raise ConfigError(f"`{url}` is no address; such as http://127.0.0.1:8088")
    try:
        request = Request(address, headers=key_header())  # noqa: S310 - checked above
        with build_opener(ProxyHandler({}), _Stay).open(request, timeout=LIMIT_S) as answer:
            return orjson.loads(answer.read())
    except HTTPError as error:
        old = "; is it an older gateway, or none?" if error.code == _NOT_FOUND else ""
        if error.code in {401, 403}:
            old = f"; {KEY} must hold a key with the scope admin or metrics"
        raise ConfigError(f"{address}: {error.code} {error.reason}{old}") from None
    except (URLError, TimeoutError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise ConfigError(f"{address}: no gateway answers there: {reason}") from None
    except ValueError:
        raise ConfigError(f"{address}: what answers there is no gateway of ours") from None


def read_answer(said: Any, url: str) -> list[Memory]:
    """Return the memories of an answer. Raises ConfigError where it is something else."""
    try:
        return [
            Memory(
                backend=str(pool["backend"]),
                memory=int(pool["memory"]),
                experts=tuple(
                    Member(
                        expert=str(row["expert"]),
                        state=str(row["state"]),
                        running=int(row["running"]),
                        waiting=int(row["waiting"]),
                        memory=int(row["memory"]),
                    )
                    for row in pool["experts"]
                ),
                record=read(pool),
            )
            for pool in said["pools"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{url}: what answers there is no gateway of ours ({error})") from None


def trace_lines(memories: Sequence[Memory]) -> Iterator[bytes]:
    """Yield the last calls as `coe plan` reads them; times count from the first."""
    calls = sorted(call for one in memories for call in one.record.calls)
    for call in calls:
        row = {
            "at_s": round(call.at_s - calls[0].at_s, 3),
            "expert": call.expert,
            "work_s": max(round(call.took_s, 3), LEAST_S),
        }
        yield orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)


# ---------------------------------------------------------------- terminal


def _lines(one: Memory) -> Iterator[str]:
    since = lasting(one.record.until_s - one.record.since_s)
    yield f"{one.backend}: {format_size(one.memory)}, {loads(one.record)} loads within {since}"
    yield from (f"  {line}" for line in columns(HEADS, _rows(one)))
    for mark in one.record.marks[-RECENT:]:
        yield f"  {_time(mark.at_s)}  {shown(mark.expert)} {_what(mark)}; {mark.waiting} wait"


def _rows(one: Memory) -> Iterator[tuple[str, ...]]:
    record = one.record
    length_s = max(record.until_s - record.since_s, 1e-9)
    found = stays(record)
    begun = [mark.expert for mark in record.marks if mark.what == "loading"]
    for member in one.experts:
        own = [stay for stay in found if stay.expert == member.expert]
        here_s = sum(stay.until_s - max(stay.from_s, record.since_s) for stay in own)
        yield (
            shown(member.expert),
            member.state,
            str(member.running),
            str(member.waiting),
            format_size(member.memory),
            str(begun.count(member.expert)),
            f"{max(here_s, 0.0) / length_s:.0%}",
        )


def _what(mark: Mark) -> str:
    """Say what happened, after the expert's name."""
    said = {
        "loading": "is being loaded",
        "ready": "is ready",
        "failed": "could not be loaded",
        "leaving": "leaves",
        "left": "is gone",
        "stayed": "could not be unloaded",
        "lost": "was lost",
    }[mark.what]
    if mark.source == "host":
        return f"{said} from host memory"
    return f"{said} for {shown(mark.for_expert)}" if mark.for_expert else said


def _time(at_s: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at_s))


# ---------------------------------------------------------------- page


def page(memories: Sequence[Memory], url: str, at_s: float) -> str:
    """Return the page: a section for each memory."""
    when = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(at_s))
    title = "Who is in memory"
    return whole(
        title,
        element(
            "header",
            element("h1", title),
            element("p", f"The gateway at {shown(url)}, {when}.", class_="lead"),
        ),
        legend(),
        (_memory(one) for one in memories),
        style=timeline.STYLE,
    )


def _memory(one: Memory) -> Markup:
    record = one.record
    length_s = record.until_s - record.since_s
    waiting = sum(member.waiting for member in one.experts)
    inside = sum(member.state not in {"out", "parked"} for member in one.experts)
    cards = element(
        "div",
        card(format_size(one.memory), "memory", "what experts may take"),
        card(f"{inside} of {len(one.experts)}", "in memory", "now, or on the way"),
        card(str(waiting), "wait", "calls, now"),
        card(str(loads(record)), "loads", f"within {lasting(length_s)}"),
        class_="cards",
    )
    experts = busiest_first(record, (member.expert for member in one.experts))
    hidden = len(experts) - timeline.MOST_LANES
    note = f"{hidden} more experts have no lane here." if hidden > 0 else ""
    lanes = element(
        "figure",
        element("strong", f"The last {lasting(length_s)}"),
        element("p", note, class_="quiet") if note else "",
        element(
            "div",
            picture(record, experts, Window(record.since_s, record.until_s), one.backend),
            class_="wide",
        ),
        class_="lanes",
    )
    rows = [(element("bdi", name), *cells) for name, *cells in _rows(one)]
    return section(
        f"Backend “{shown(one.backend)}”",
        "",
        cards,
        lanes,
        table(HEADS, rows, numbers=range(2, len(HEADS))),
        _events(record),
    )


def _events(record: Record) -> Child:
    if not record.marks:
        return ""
    rows: list[Sequence[Child]] = [
        (_time(mark.at_s), shown(mark.expert), _what(mark), mark.waiting)
        for mark in reversed(record.marks[-LISTED:])
    ]
    listed = table(("at", "expert", "what", "calls that waited"), rows, numbers=(3,))
    summary = element("summary", f"the last {len(rows)} of {len(record.marks)} events")
    return element("details", summary, listed)
