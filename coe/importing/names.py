"""Names for what is imported: valid, and each only once."""

from __future__ import annotations

import re
from collections.abc import Iterable

from coe.composition.complete import BUILT_IN
from coe.composition.programs import PROGRAM

_LONGEST = 100  # of 128 characters, so that a number fits behind


class Names:
    """The names of one section, or of several that share theirs.

    Example:
        >>> names = Names("expert")
        >>> names.claim("computer science"), names.claim("computer science"), names.claim("?")
        ('computer-science', 'computer-science-2', 'expert')
    """

    def __init__(
        self, otherwise: str, *, slash: bool = True, taken: Iterable[str] = (*BUILT_IN, PROGRAM)
    ) -> None:
        """Start.

        Args:
            otherwise: the name of what has none that can be kept.
            slash: whether a name may hold `/`; a backend's may not.
            taken: names that nobody gets.
        """
        self._otherwise = otherwise
        self._invalid = re.compile(rf"[^A-Za-z0-9._:@+{'/' if slash else ''}-]+")
        self._taken = set(taken)

    def claim(self, wish: str) -> str:
        """Return a free name that looks like the wish, and is taken from now on."""
        safe = self._invalid.sub("-", wish.strip()).lstrip("._:@+/-")
        safe = safe[:_LONGEST].rstrip("-") or self._otherwise
        if safe.startswith("coe/"):  # what a category is called besides
            safe = safe.replace("/", "-", 1)
        if not self._is_free(safe):
            safe = safe.replace(".", "-")  # a dot makes one category another's child
        name, number = safe, 1
        while not self._is_free(name):
            number += 1
            name = f"{safe}-{number}"
        self._taken.add(name)
        return name

    def _is_free(self, name: str) -> bool:
        parent = name.rpartition(".")[0]
        is_parent = any(taken.rpartition(".")[0] == name for taken in self._taken)
        return name not in self._taken and parent not in self._taken and not is_parent
