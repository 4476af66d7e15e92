"""The fixtures of the integration tests, and a real process."""

from tests.e2e.conftest import client, start
from tests.integration.conftest import coe, gateways, serve, upstream

__all__ = ["client", "coe", "gateways", "serve", "start", "upstream"]
