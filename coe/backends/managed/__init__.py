"""Servers that speak OpenAI's API and can be told which models or adapters to hold in memory.

`base` holds what they share; each server has a file with its own endpoints. How sure each of them
is, and which was run for real, stands in docs/explanation/what-servers-hold.md.
"""
