"""What is seen of the gateway, and what is never seen there: SEC-15, 16, 17 and 21."""

from __future__ import annotations

import pytest

from benches.load_parts.labels import new_series
from tests.integration.conftest import Gateways

pytestmark = pytest.mark.anyio


async def test_sec_21_ten_thousand_random_labels_make_no_new_series(gateways: Gateways) -> None:
    async with gateways.start() as running:
        url = running.url.removesuffix("/v1")

        made = await new_series(url, 10_000)

        assert made == 0
        assert running.metric('coe_requests_total{endpoint="chat/completions",expert="good"') > 500
