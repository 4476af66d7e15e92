"""Public doubles and contract checks, for our own tests and for those of plugins.

- `coe.testing.upstream`: an OpenAI server over real sockets that misbehaves on command.
- `coe.testing.backends`: the contract of a backend, `check_backend`; `coe.testing.subject` holds
  the `Subject` that it is given.
- `coe.testing.echo`: `EchoBackend`, a double without sockets.
- `coe.testing.routers`: `check_router`, `check_encoder`, and `GivenParts` for their factories.
- `coe.testing.residency`: the contract of a backend that loads and unloads, `check_residency`.
- `coe.testing.composed`: the contract of a backend whose experts stand on others, and
  `EchoOthers`, a double of these.
- `coe.testing.model_server`: a server that holds models as Ollama, vLLM, SGLang, llama.cpp or
  llama-swap does, and misbehaves on command.
- `coe.testing.scheduling`: `check_ordering`, `check_eviction`.
- `coe.testing.aggregators`: `check_aggregator`.
"""
