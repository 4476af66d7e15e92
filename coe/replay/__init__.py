"""What a changed composition would have done on recorded requests, without one model call.

| where | what |
| --- | --- |
| `records` | recorded traffic and scored prompts, as requests |
| `again` | they are decided and planned again |
| `coe.mapping.replay` | the two ways, side by side |
"""
