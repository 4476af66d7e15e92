"""How much may be asked for: rules, whom they hold for, and what was used of them. Pure.

`coe.stores.ledger` and `coe.stores.redis_ledger` keep what was used; `coe.metering` asks.
"""
