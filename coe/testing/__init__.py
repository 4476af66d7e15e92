"""Public doubles and contract checks, for our own tests and for those of plugins.

- `coe.testing.upstream`: an OpenAI server over real sockets that misbehaves on command.
- `coe.testing.backends`: `check_backend`, and `EchoBackend`, a double without sockets.
- `coe.testing.routers`: `check_router`, `check_encoder`, and `GivenParts` for their factories.
"""
