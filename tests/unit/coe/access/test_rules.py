from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.access.rules import ADMIN, ANYBODY, DATA, NOWHERE, OWN_OR_ALL, rule_of


@pytest.mark.parametrize(
    ("method", "path", "scopes"),
    [
        ("GET", "/health/live", ANYBODY),
        ("GET", "/health/ready", ANYBODY),
        ("GET", "/health/other", ADMIN),
        ("POST", "/health/live", ADMIN),
        ("GET", "/health/live/", ADMIN),
        ("POST", "/v1/chat/completions", DATA),
        ("GET", "/v1/models/coe/auto", DATA),
        ("GET", "/v1/models/", ADMIN),
        ("GET", "/v1/decisions/01a2", OWN_OR_ALL),
        ("GET", "/v1/decisions/01a2/more", ADMIN),
        ("DELETE", "/v1/decisions/01a2", ADMIN),
        ("GET", "/openapi.json", ADMIN),
        ("GET", "//v1/models", ADMIN),
        ("GET", "/V1/models", ADMIN),
        ("GET", "/v1/models/../keys", DATA),  # one path of the model endpoint: nobody resolves it
    ],
)
def test_the_table(method: str, path: str, scopes: frozenset[str]) -> None:
    assert rule_of(method, path).scopes == scopes


@given(st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "x"]), st.text())
def test_what_nobody_thought_of_is_for_admins(method: str, path: str) -> None:
    assert NOWHERE.scopes == ADMIN
    assert rule_of(method, "/new" + path) is NOWHERE
    assert rule_of(method, "/v1/new" + path) is NOWHERE
