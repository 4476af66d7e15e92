"""The contract of every backend, as far as a working engine can be provoked to show it."""

from __future__ import annotations

from typing import Any

import pytest

from coe.protocols import ExpertSite
from coe.testing import backends as contract
from coe.testing.subject import EXPERT, Behaviour, Subject

pytestmark = pytest.mark.anyio

# Left out is what only a server does: refuse a key, send garbage, break off, fall silent.
CHECKS: dict[contract.Check, Behaviour] = {
    contract.check_first_item_reaches_content: "answers",
    contract.check_items_are_whole_frames: "answers",
    contract.check_stream_names_the_expert: "answers",
    contract.check_whole_answer_is_one_object: "answers",
    contract.check_models_are_listed: "answers",
    contract.check_concurrent_calls_do_not_mix: "answers",
    contract.check_too_long_is_told_apart: "too-long",
    contract.check_closing_cancels_within_a_second: "stalled",
    contract.check_cancelling_the_reader_ends_the_call: "silent",
    contract.check_aclose_fails_calls_in_flight: "stalled",
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
async def test_the_engine_keeps_the_contract(lab: Any, check: contract.Check) -> None:
    """A long answer stands for one that is silent or stalls: it is not over by itself."""
    wanted: Behaviour = CHECKS[check]
    site = ExpertSite(expert=EXPERT, model="base", context=2 if wanted == "too-long" else None)
    limit = 12 if wanted == "answers" else 10_000

    async with lab.running(site) as backend:
        models: dict[Behaviour, str] = {"answers": "base", wanted: "base"}
        await check(Subject(backend=backend, models=models, body={"max_tokens": limit}))
