"""Whose accounts are remembered, and whose are looked for each time."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from coe.composition import load
from coe.identity import Identity
from coe.limits.scopes import accounts_of
from coe.limits.strangers import MOST_COUNTERS, OTHERS
from coe.limits.tally import Entry
from coe.metering.meter import Meter
from coe.stores.ledger import LocalLedger

NOON = datetime(2026, 3, 31, 12, tzinfo=UTC).timestamp()
FILE = """
version: 1
backends: {up: "http://127.0.0.1:9/v1"}
experts: {good: {backend: up, model: ok}}
default: good
limits: [{scope: key, requests: 5/day, tokens: 1M/day}, {scope: all, requests: 1M/day}]
"""


def token(number: int) -> Identity:
    return Identity(tenant=f"{number:016x}")


def counted(meter: Meter, identity: Identity) -> list[str]:
    """Return the keys of the accounts that requests of somebody are counted on."""
    return [entry.account.key for entry in meter.accounts(identity).requests]


def test_a_token_that_came_in_a_flood_has_its_own_account_after_it(tmp_path: Path) -> None:
    file = tmp_path / "experts.yaml"
    file.write_text(FILE)
    composition = load(file)
    meter = Meter(composition, LocalLedger(tmp_path, clock=lambda: NOON), clock=lambda: NOON)
    tally, late = meter.ledger.tally, token(10**9)
    for number in range(MOST_COUNTERS):
        tally.put([Entry(accounts_of(composition.limits, token(number))[1], 1)], NOON)

    shared = ["all/requests/day", "key:others/requests/day"]
    assert counted(meter, late) == counted(meter, late) == shared
    assert counted(meter, token(10**9 + 1)) == shared
    assert [row["who"] for row in meter.rows([])].count("key " + OTHERS.name) == 2  # of both limits
    tally.forget(NOON + 2 * 86_400)

    assert counted(meter, late)[1] == f"key:{late.tenant}/requests/day"
    assert meter.accounts(late) is meter.accounts(late)
