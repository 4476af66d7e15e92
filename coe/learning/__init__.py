"""Learning from every answer: which expert next, what was that worth, and has the world changed.

All of it is arithmetic on values: no clock, no network, no composition, and no files but the
snapshots. Nothing here is loaded by a gateway that does not learn.

prior (what the map knows) -> bandit (choose, learn) -> explore (with which probability)
                              pacer (what money is worth now)
ope (what another policy would have been worth)
drift, health (alarms)
clusters (new category?)
"""

from coe.learning.bandit import Bandit, Choice
from coe.learning.belief import Belief, Settings
from coe.learning.pacer import Pacer

__all__ = ["Bandit", "Belief", "Choice", "Pacer", "Settings"]
