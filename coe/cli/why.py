"""`coe why`: what the decision log says of one answer."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from coe.api.decisions import document
from coe.cli.logged import open_log
from coe.cli.printed import print_json
from coe.cli.serve import read_settings
from coe.errors import NotFound

_MOST = 5


def why(name: str, config: Path | None, *, as_json: bool) -> None:
    """Print why an answer came from its expert.

    Args:
        name: id of the decision, or of the answer's body.
        config: the composition file, whose state folder is read.
        as_json: print all of it.

    Raises:
        NotFound: the log does not have it.
    """
    with open_log(read_settings(config, None, None)) as store:
        record = store.find(name)
        if record is None:
            raise NotFound(f"{store.path}: no decision `{name:.80}`, nor an answer of that id")
        facts = document(record, store.said(record.id))
    if as_json:
        print_json(facts)
        return
    for line in lines(facts):
        print(line)


def lines(facts: dict[str, Any]) -> list[str]:
    """Return a decision as lines for people."""
    at = datetime.fromtimestamp(facts["at"], tz=UTC).isoformat(timespec="seconds")
    came = f" {facts['error']}" if facts["error"] else ""
    sure = "" if facts["probability"] is None else f"  {facts['probability']:.3f}"
    said = [
        f"decision  {facts['id']}  {at}",
        f"asked     {facts['model']} at {facts['endpoint']}: {facts['status']}{came}",
        f"category  {facts['category'] or '(none)'}{sure}",
        f"expert    {facts['expert'] or '(nobody answered)'}",
        f"reason    {facts['reason'] or '(none)'}" + _by(facts),
    ]
    said += [
        f"tried     {row['expert']}: {row['error']}{_then(row)}"
        for row in facts.get("attempts", ())
    ]
    said += [
        f"candidate {row['expert']}  asked first with {row['propensity']:.3g}"
        for row in facts.get("candidates", ())[:_MOST]
    ]
    said += [
        f"excluded  {row['expert']}: {row['detail']}" for row in facts.get("excluded", ())[:_MOST]
    ]
    said += [f"arm       {experiment}: {arm}" for experiment, arm in facts["arms"].items()]
    took = f"took      {facts['latency_s']:.3f} s"
    if facts["first_s"] is not None:
        took += f", first content after {facts['first_s']:.3f} s"
    if facts["answer_tokens"] is not None:
        took += f", {facts['prompt_tokens']} + {facts['answer_tokens']} tokens"
    said.append(took if facts["cost"] is None else f"{took}, cost {facts['cost']:.6g}")
    said.append(f"by        composition {facts['composition']}")
    for one in facts["feedback"]:
        value = "" if "value" not in one else f" {one['value']:.2f}"
        comment = f": {one['comment']}" if "comment" in one else ""
        said.append(f"feedback  {one['source']}{value}{comment}")
    return said


def _then(row: dict[str, Any]) -> str:
    return f" ({row['then']})" if "then" in row else ""


def _by(facts: dict[str, Any]) -> str:
    router = f" by the router `{facts['router']}`" if facts["router"] else ""
    note = f": {facts['note']}" if "note" in facts else ""
    return router + note
