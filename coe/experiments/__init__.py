"""Experiments: who gets which arm, and what may be said of the arms. Pure.

assign: unit -> arm, on the path of a request. The rest is read by whoever looks at an experiment:
values of units -> summary -> effect -> sequential | fixed | spending -> rule -> verdict.
"""
