"""experts.yaml: read, checked, and given to the gateway as one frozen value.

text -document-> tree with places -validation-> keys -checks-> report
     -complete-> keys without short cuts -build-> Composition
"""

from coe.composition.loading import check, expand, load
from coe.composition.models import json_schema
from coe.composition.values import (
    Adapter,
    Arm,
    Backend,
    Batching,
    CategoryEntry,
    Composition,
    Context,
    Cost,
    Experiment,
    Expert,
    Learning,
    Observe,
    Panel,
    Routing,
    Server,
    Stickiness,
    VirtualModel,
)

__all__ = [
    "Adapter",
    "Arm",
    "Backend",
    "Batching",
    "CategoryEntry",
    "Composition",
    "Context",
    "Cost",
    "Experiment",
    "Expert",
    "Learning",
    "Observe",
    "Panel",
    "Routing",
    "Server",
    "Stickiness",
    "VirtualModel",
    "check",
    "expand",
    "json_schema",
    "load",
]
