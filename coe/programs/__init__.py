"""Prompt programs: experts that are recipes over others, or that cost nothing.

Read `backend.py` first: programs are served by a backend like any other, which asks the experts
under them through the door that everybody uses.
"""
