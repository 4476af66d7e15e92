"""Which experts draft an answer together, and whether several are worth it.

All of it is arithmetic on values: no clock, no network, and no files but the fitted panels' own.
"""
