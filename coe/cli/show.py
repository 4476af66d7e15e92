"""`coe check`, `coe route`, `coe experts`: what is in a composition, and what it decides."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from coe import pipeline
from coe.api import explain, wire
from coe.applied import expect_map
from coe.cli.printed import print_json
from coe.cli.serve import read_settings
from coe.composition import Composition, check, load
from coe.composition.build import TEN_POINTS
from coe.composition.lock import read_lock, stale_message
from coe.composition.units import format_share
from coe.errors import CoEError, CompositionError, ConfigError, Problem
from coe.protocols import Encoder
from coe.settings import Settings
from coe.telemetry import Telemetry
from coe.wiring import lock_changes
from coe.wiring import wire as wire_gateway


def check_file(file: Path, *, as_json: bool) -> None:
    """Print every problem of a file; exit 2 if one of them is an error.

    A file without errors is built too, short of connecting to anything: that is where plugins
    check their own options and look for their files.
    """
    problems = check(file)
    size = "but for the secrets that are not set here"
    if not _errors(problems):
        # What `load` could still refuse is a secret that is not set, of which `check` has warned.
        with suppress(CompositionError):
            composition = load(file)
            size = f"{len(composition.experts)} experts, {len(composition.categories)} categories"
            problems += _build(file, composition)
    errors = _errors(problems)
    if as_json:
        report = {"ok": not errors, "problems": [asdict(problem) for problem in problems]}
        print_json(report)
    else:
        for problem in problems:
            print(f"{problem.severity}: {problem}", file=sys.stderr)
        if not errors:
            print(f"{file}: ok, {size}, {len(problems)} warnings")
    if errors:
        raise SystemExit(2)


def _errors(problems: list[Problem]) -> list[Problem]:
    return [problem for problem in problems if problem.severity == "error"]


def _build(file: Path, composition: Composition) -> list[Problem]:
    """Return what goes wrong when the composition's parts are made."""

    async def build() -> None:
        gateway = wire_gateway(composition, Settings(), Telemetry(log_requests=False))
        try:
            expect_map(composition, gateway.applied)
            if gateway.classifier is not None:
                await gateway.classifier.load(patient=False)
            changes.extend(_lock_changes(composition, gateway.encoders))
            notes.extend(gateway.notes)
        finally:
            await gateway.aclose()

    changes: list[str] = []
    notes: list[str] = []
    try:
        asyncio.run(build())
    except ConfigError as error:
        return [_problem(file, error, "error")]
    except CoEError as error:
        return [_problem(file, error, "warning")]
    if changes:
        notes.insert(0, stale_message(composition, changes))
    return [_problem(file, ConfigError(note), "warning") for note in notes]


def _lock_changes(composition: Composition, encoders: Mapping[str, Encoder]) -> tuple[str, ...]:
    lock = read_lock(composition)
    return () if lock is None else lock_changes(composition, lock, encoders)


def _problem(file: Path, error: CoEError, severity: str) -> Problem:
    return Problem(
        file=str(file), line=0, column=0, path="", message=error.message, severity=severity
    )


def route_prompt(prompt: str, config: Path | None, model: str, *, as_json: bool) -> None:
    """Print the decision for a prompt."""
    settings = read_settings(config, None, None)
    decision = asyncio.run(_route(settings, prompt, model))
    if as_json:
        print_json(decision)
        return
    _print_decision(decision)


def list_experts(config: Path | None, *, as_json: bool) -> None:
    """Print the experts of a composition."""
    composition = load(read_settings(config, None, None).config)
    rows = [
        {
            "expert": name,
            "kind": expert.kind,
            "backend": expert.backend,
            "model": expert.adapter_source or expert.model,
            "status": expert.status,
            "share": format_share(expert.share) if expert.status == "canary" else "",
            "categories": [
                category
                for category, ranked in composition.routing.routes.items()
                if name in ranked
            ],
        }
        for name, expert in composition.experts.items()
    ]
    if as_json:
        print_json(rows)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in rows[0] if rows else ():
        table.add_column(column)
    for row in rows:
        table.add_row(*(", ".join(v) if isinstance(v, list) else str(v) for v in row.values()))
    Console().print(table)


async def _route(settings: Settings, prompt: str, model: str) -> dict[str, Any]:
    gateway = wire_gateway(load(settings.config), settings, Telemetry(log_requests=False))
    try:
        expect_map(gateway.composition, gateway.applied)
        for note in gateway.notes:
            print(f"note: {note}", file=sys.stderr)
        body = {"model": model, "messages": [{"role": "user", "content": prompt}]}
        query = wire.parse_chat(body, wire.new_id(), settings)
        if gateway.classifier is not None:
            await gateway.classifier.load(patient=False)
        query = await pipeline.admitted(gateway, query)
        query, decision, plan = await pipeline.planned(gateway, query)
        return explain.document(gateway, query, decision, plan)
    finally:
        await gateway.aclose()


def _print_decision(decision: dict[str, Any]) -> None:
    probability = decision["probability"]
    sure = "" if probability is None else f"  {probability:.3f}"
    sure += "" if probability is None or decision["calibrated"] else " (raw, not calibrated)"
    nobody = (
        "(none: the client named the expert)" if not decision["abstained"] else "(none: not sure)"
    )
    print(f"category  {decision['category'] or nobody}{sure}")
    print(f"expert    {decision['expert'] or '(none may answer)'}  on {decision['backend']}")
    stage = f"  by the router `{decision['router']}`" if decision["router"] else ""
    detail = f": {decision['detail']}" if decision["detail"] else ""
    print(f"reason    {decision['reason']}{stage}{detail}")
    _print_choice(decision["choice"])
    _print_panel(decision["panel"])
    if decision["fallbacks"]:
        print(f"then      {', '.join(decision['fallbacks'])}")
    for row in decision["set_back"]:
        print(f"later     {row['expert']}: {row['detail']}")
    for title, rows in (("ranked", decision["categories"][:5]),):
        for index, row in enumerate(rows):
            head = title if index == 0 else ""
            print(f"{head:<9} {row['probability']:.3f}  {row['name']}")
    for index, row in enumerate(decision["evidence"][:5]):
        head = "evidence" if index == 0 else ""
        near = "     " if row["similarity"] is None else f"{row['similarity']:.3f}"
        print(f"{head:<9} {near}  {row['kind']} of {row['category'] or 'none'}: {row['text']}")
    if policy := decision["policy"]:
        found = f", by {', '.join(policy['found'])}" if policy["found"] else ""
        print(f"data      {policy['data'] or 'of no class'}{found}")
    for index, row in enumerate(decision["excluded"]):
        head = "excluded" if index == 0 else ""
        print(f"{head:<9} {row['expert']}: {row['detail']}")


def _print_panel(panel: dict[str, Any] | None) -> None:
    """Print who would be asked together, or why one expert would be."""
    if panel is None:
        return
    if "alone" in panel:
        print(f"alone     {panel['alone']}")
        return
    members = ", ".join(member["expert"] for member in panel["members"])
    print(f"panel     {panel['panel']}: {members} ({panel['detail']})")
    for index, row in enumerate(panel["excluded"]):
        head = "not on it" if index == 0 else ""
        print(f"{head:<9} {row['expert']}: {row['detail']}")


def _print_choice(choice: dict[str, Any] | None) -> None:
    """Print what a fitted map expects of the experts that it ranks first."""
    if choice is None:
        return
    detail = choice["detail"] or _dial(choice)
    print(f"choice    {choice['choose']}: {detail}")
    for index, row in enumerate(choice["experts"][:5]):
        head = "expected" if index == 0 else ""
        cost = "cost unknown" if row["cost"] is None else f"cost {row['cost']:.6g}"
        interval = f"{row['quality']:.3f} [{row['lower']:.3f}, {row['upper']:.3f}]"
        print(f"{head:<9} {interval}  {cost}  utility {row['utility']:.3f}  {row['expert']}")


def _dial(choice: dict[str, Any]) -> str:
    """Say how quality and money were weighed."""
    if choice["choose"] == "cheapest_good":
        from coe.mapping.choose import NEARLY

        floor = choice["quality_floor"]
        return f"{NEARLY:g} under the best, or better" if floor is None else f"{floor:g} or better"
    if choice["price_weight"] == 0:
        return "money is no object"
    return f"10 points of quality are worth {TEN_POINTS / choice['price_weight']:.3g}"
