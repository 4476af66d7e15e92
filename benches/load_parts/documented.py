"""What the OpenAPI document promises, tried by schemathesis: none of it is answered by 500."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HANGS_S = 20


def tried(  # noqa: PLR0913 - what a run is made of
    url: str,
    folder: Path,
    *,
    models: Sequence[str],
    examples: int,
    seed: int,
    phases: str = "examples,coverage,fuzzing",
    headers: Mapping[str, str] | None = None,
) -> tuple[int, list[str]]:
    """Have every operation of a gateway's document tried; return how often, and what was wrong.

    Wrong is a status of 500, and no answer within 20 seconds.

    Args:
        url: of the gateway, without a path.
        folder: where the document and the report are written.
        models: that a request's `model` is drawn from, so that requests get past it.
        examples: requests of each operation and phase.
        seed: of what is drawn.
        phases: schemathesis' own, with commas between.
        headers: of every request, such as a key's.

    Raises:
        RuntimeError: schemathesis did not run to its end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fetch = urllib.request.Request(f"{url}/openapi.json", headers=dict(headers or {}))
    with urllib.request.urlopen(fetch, timeout=HANGS_S) as response:
        document = json.load(response)
    _name_models(document, list(models))
    asked, report = folder / "openapi.json", folder / "tried.har"
    asked.write_text(json.dumps(document))
    report.unlink(missing_ok=True)
    told = [word for key, value in (headers or {}).items() for word in ("-H", f"{key}: {value}")]
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        *("run", str(asked), "--url", url, "-c", "not_a_server_error"),
        *("--phases", phases, "--max-examples", str(examples)),
        *("--continue-on-failure", "--no-shrink", "--seed", str(seed), *told),
        *("--request-timeout", str(HANGS_S), "--suppress-health-check", "all"),
        *("--report", "har", "--report-har-path", str(report)),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if not report.exists():
        raise RuntimeError(f"schemathesis ended with {ran.returncode}: {ran.stdout[-2000:]}")
    entries = json.loads(report.read_text())["log"]["entries"]
    return len(entries), [_told(entry) for entry in entries if _is_wrong(entry)]


def _is_wrong(entry: Mapping[str, Any]) -> bool:
    return entry["response"]["status"] in {0, 500}


def _told(entry: Mapping[str, Any]) -> str:
    request = entry["request"]
    body = str((request.get("postData") or {}).get("text", ""))[:300]
    return f"{entry['response']['status']} {request['method']} {request['url']} {body}"


def _name_models(tree: Any, models: list[str]) -> None:
    """Replace every schema of a `model` by a list of those that there are."""
    if isinstance(tree, dict):
        properties = tree.get("properties")
        if isinstance(properties, dict) and "model" in properties:
            properties["model"] = {"type": "string", "enum": models}
        for below in tree.values():
            _name_models(below, models)
    elif isinstance(tree, list):
        for below in tree:
            _name_models(below, models)
