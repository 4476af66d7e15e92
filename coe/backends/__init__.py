"""How a Dispatch becomes tokens: one module per kind of server, behind `coe.protocols.Backend`."""
