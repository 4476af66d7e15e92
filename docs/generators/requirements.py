"""The page of the requirements: what a gateway of this kind must hold to, and the tests of each.

The requirements were drawn from the incidents of other gateways. A test belongs to one by its name:
`test_sec_07_...`, `test_rel_03_...`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from docs.generators import markdown

ROOT = Path(__file__).parents[2]
REQUIREMENTS = {
    "SEC-01": "without a key every route is denied but the two of health; new ones fail closed",
    "SEC-02": "nobody is let in by what the Host header says, and with a key nobody kept out",
    "SEC-03": "the web framework is new enough to be safe from rebuilt addresses (CVE-2026-48710)",
    "SEC-04": "there are no default credentials; open means loopback, or an override spelt out",
    "SEC-05": "a key for data reaches nothing of the admin's, and the other way round",
    "SEC-06": "who makes a key cannot set what is not theirs to set",
    "SEC-07": "keys are stored as digests, shown once, compared in constant time",
    "SEC-08": "what is known of a key is known by all of it, and ended within a second",
    "SEC-09": "what clients send is never SQL",
    "SEC-10": "numbers that are none, negative or endless are refused, and comparisons fail closed",
    "SEC-11": "clients cannot say where a request goes, nor with which key",
    "SEC-12": "the gateway fetches no address of a client's",
    "SEC-13": "a backend's key goes to that backend only, redirected or not",
    "SEC-14": "no code is run from a request, a file of a router or a database",
    "SEC-15": "keys, prompts and tool arguments are in no log, span, metric or error",
    "SEC-16": "prompts are kept in words only where that is asked for, for a while, up to a size",
    "SEC-17": "what a backend says of an error is cleaned before a client sees it",
    "SEC-18": "metrics have a port of their own, on loopback unless told otherwise",
    "SEC-19": "sizes, depths and counts of a request are bounded, before it costs anything",
    "SEC-20": "requests in flight and in queues are bounded; what is too much may come later",
    "SEC-21": "what clients send makes no new series of metrics",
    "SEC-22": "a budget is set aside before a call and holds however many come at once",
    "SEC-23": "limits and budgets hold on every route that asks an expert",
    "SEC-24": "caches answer nobody with another tenant's answer",
    "SEC-25": "JSON with a key twice is refused, and what was checked is what is sent on",
    "SEC-26": "everything installed is locked by digest, and importing opens no connection",
    "SEC-27": "releases are signed, from a job of their own, without long-lived tokens",
    "SEC-28": "litellm is an extra, of known good versions, loaded only when used",
    "SEC-29": "there is a way to report in private, and a list of what is in a release",
    "REL-01": "limits of time to connect, to the first token, between pieces, and in all",
    "REL-02": "others are asked before the first byte only, within a budget of retries",
    "REL-03": "who keeps failing is left alone, tried again by one call, and never the last one",
    "REL-04": "nothing that the gateway stands on holds up an answer by being slow or gone",
    "REL-05": "a router that fails fails no request: the default expert answers",
    "REL-06": "who is told to stop ends what it began",
    "REL-07": "what is counted survives `kill -9`, up to the last flush",
    "REL-08": "a change of the composition is whole or not at all, and can be taken back",
    "REL-09": "a request for an expert that is not in memory waits, or goes to one that is",
}
"""What must hold, by name."""

WITHOUT: dict[str, str] = {
    "SEC-27": "releases are made by nobody yet: there is no public forge behind this repository. "
    "What it must do then stands in SECURITY.md",
}
"""Why a requirement has no test."""

INTRODUCTION = """\
What went wrong in gateways of this kind, as requirements, each with the tests that hold it. A test
belongs to a requirement by its name; one without tests has a reason."""


def page() -> str:
    """Return the page."""
    found = held_by()
    rows = [(name, text, _where(name, found[name])) for name, text in REQUIREMENTS.items()]
    return markdown.page(
        "Requirements and their tests",
        INTRODUCTION,
        markdown.table(("", "what holds", "its tests"), rows),
    )


def held_by() -> dict[str, list[tuple[Path, str]]]:
    """Return the tests of each requirement: file and name."""
    found: dict[str, list[tuple[Path, str]]] = defaultdict(list)
    for file in sorted(ROOT.joinpath("tests").rglob("test_*.py")):
        text = file.read_text(encoding="utf-8")
        for test, kind, number in re.findall(r"def (test_(sec|rel)_(\d\d)_\w+)\(", text):
            found[f"{kind.upper()}-{number}"].append((file.relative_to(ROOT), test))
    return found


def _where(name: str, found: list[tuple[Path, str]]) -> str:
    if not found:
        return WITHOUT.get(name, "")
    return ", ".join(markdown.code(str(file)) for file in dict.fromkeys(file for file, _ in found))
