"""Public doubles and contract checks, for our own tests and for those of plugins.

- `coe.testing.upstream`: an OpenAI server over real sockets that misbehaves on command.
- `coe.testing.backends`: `check_backend`, and `EchoBackend`, a double without sockets.
"""
