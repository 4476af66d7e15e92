"""What happened, as metrics and log lines. Labels are names of the composition: bounded.

The hot path only adds to numbers that one thread owns; they become Prometheus' families when
somebody scrapes. (prometheus-client's own counters lock, check and look up labels for every
event: 15 of our 100 microseconds a request, measured.) Log lines are buffered and written
together. They hold no prompt, no answer and no key.
"""

from coe.telemetry.behind import Beside, Watching, Written
from coe.telemetry.series import Spread, Tally
from coe.telemetry.telemetry import Source, Telemetry

__all__ = ["Beside", "Source", "Spread", "Tally", "Telemetry", "Watching", "Written"]
