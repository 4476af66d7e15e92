"""The scheduler that owns residency: which expert is in memory, and whose call runs next.

`state` is the machine, `policies` what can be chosen about it, `memory` what it is told of sizes;
`simulate` runs it on traces. None of these reads a clock or does I/O; `loop` does, for one backend.
"""
