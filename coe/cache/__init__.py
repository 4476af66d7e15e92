"""Whole answers, kept for a while and given again: to the same request, or to one that means it.

    key -> recall: the same request (exact), or one of the same scope whose last turn is as near in
                   meaning (semantic)
        -> keep:   a whole good answer, once it has been sent

What one tenant was told is never told to another: a tenant is part of every key, of the place where
answers are kept, and of each answer, which is looked at again before it is given away.
"""

from coe.cache.cache import Cache, Lookup
from coe.cache.counts import Counts
from coe.cache.entry import Entry
from coe.cache.mark import mark_of
from coe.cache.memory import MemoryShelf
from coe.cache.shelf import Shelf, Stock

__all__ = ["Cache", "Counts", "Entry", "Lookup", "MemoryShelf", "Shelf", "Stock", "mark_of"]
