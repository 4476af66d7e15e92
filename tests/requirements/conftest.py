"""The fixtures of the integration tests."""

from tests.integration.conftest import coe, gateways, serve, upstream

__all__ = ["coe", "gateways", "serve", "upstream"]
