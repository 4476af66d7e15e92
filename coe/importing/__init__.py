"""Files of other gateways -> experts.yaml, with a comment for everything that has no counterpart.

file -source-> values with their lines -importers-> Carried -writing-> text

An importer reads every key through a `Part`, which knows what was read: what is left becomes a
comment by itself, so that nothing is dropped silently. A secret never gets further than
`Credentials`, which puts a reference in its place.
"""

from coe.importing.carried import Carried, Note
from coe.importing.importers import IMPORTERS, Importer, carry
from coe.importing.source import Source, parse_source, read_source
from coe.importing.writing import counts, described, write

__all__ = [
    "IMPORTERS",
    "Carried",
    "Importer",
    "Note",
    "Source",
    "carry",
    "counts",
    "described",
    "parse_source",
    "read_source",
    "write",
]
