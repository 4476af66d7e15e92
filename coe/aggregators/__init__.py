"""Aggregators: how several drafts become one answer. Pure; `coe.drafting` does what they say.

`vote`, `best_of`, `synthesize`, `concat`, `first_good` and `draft_refine` are plugins like any
other. `plain` is the base of one's own; `answers`, `gathering`, `fences` and `judging` hold what
several of them share.
"""
