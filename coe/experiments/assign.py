"""Which arm a unit gets: a hash, and a table of 10,000 places. On the path of every request.

The same unit and salt give the same place in every process, on every replica and after every
restart, so nothing has to be stored. What an arm owns of the places changes as little as can be
when shares change: whoever is in a growing arm stays in it.

Reference: Kohavi, Tang, Xu (2020), Trustworthy Online Controlled Experiments, chapter 4 and 12
(hash assignment, ramping up); RFC 7693 (BLAKE2).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b

PLACES = 10_000
"""A share is a whole number of these: 0.01 %."""
FEWEST, MOST = 2, 200
"""Arms of an experiment."""

_ROUNDING = 1e-6  # what a share may be off a whole number of places, being a binary fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Who gets which arm.

    Attributes:
        salt: another one shuffles the units anew; two experiments with one salt would be
            correlated.
        arms: in the order in which they are declared; the first is the control.
        owners: of each of the `PLACES` places the arm, by its number.
    """

    salt: bytes
    arms: tuple[str, ...]
    owners: bytes


def split(salt: str, shares: Mapping[str, float]) -> Split:
    """Return the split with these shares.

    The second arm owns places from the bottom upwards and the third from the top downwards, the
    next two upwards and downwards from the middle, and so on; the first has what is left. So an
    arm that grows at the first one's expense takes nothing from the others: always, where there
    are at most three arms, and else as long as no two meet (where one has taken what another
    wants, the next free places are taken instead).

    Args:
        salt: any text.
        shares: arm -> share in [0, 1], in hundredths of a percent.

    Raises:
        ValueError: there are fewer arms than `FEWEST` or more than `MOST`, a share is outside
            [0, 1] or finer than 0.01 %, or they do not sum to 100 %.
    """
    if not FEWEST <= len(shares) <= MOST:
        raise ValueError(f"an experiment has {FEWEST} to {MOST} arms, not {len(shares)}")
    wanted = {arm: _places(arm, share) for arm, share in shares.items()}
    if (total := sum(wanted.values())) != PLACES:
        found = " + ".join(f"{arm} {places / 100:g} %" for arm, places in wanted.items())
        raise ValueError(f"the shares of the arms sum to {total / 100:g} %, not 100 %: {found}")
    owners = bytearray(PLACES)
    for number, size in list(enumerate(wanted.values()))[1:]:
        free = (place for place in _from_anchor(number) if not owners[place])
        for place, _ in zip(free, range(size), strict=False):
            owners[place] = number
    return Split(salt=salt.encode(), arms=tuple(shares), owners=bytes(owners))


def place_of(salt: bytes, unit: str) -> int:
    """Return the place of a unit in [0, `PLACES`): uniform, and independent between salts."""
    # The length stands between the two, so that no other salt and unit are hashed as these are.
    text = b"%d:%b%b" % (len(salt), salt, unit.encode("utf-8", "surrogatepass"))
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big") % PLACES


def arm_of(split: Split, unit: str, *, opted_out: bool = False) -> str | None:
    """Return the arm of a unit; None, which is no arm at all, for one that opted out.

    Args:
        split: see `Split`.
        unit: what is assigned: the id of a request, session, user, key or team.
        opted_out: of the experiment; such a unit is served as if there were none, and not counted.
    """
    if opted_out:
        return None
    return split.arms[split.owners[place_of(split.salt, unit)]]


def _places(arm: str, share: float) -> int:
    if not 0.0 <= share <= 1.0:  # NaN is not, either
        raise ValueError(f"the share of arm `{arm}` is {share:g}, not within 0 and 1")
    places = round(share * PLACES)
    if abs(share * PLACES - places) > _ROUNDING:
        raise ValueError(f"the share of arm `{arm}`, {share:%}, is finer than 0.01 %")
    return places


def _from_anchor(number: int) -> Iterator[int]:
    """Yield all places, beginning where the arm of that number (1, 2, ...) has its anchor.

    Anchors halve the gaps between those before them, as in van der Corput's sequence: 0, 1/2, 1/4,
    3/4, ... Two arms share each, one goes up and one goes down.
    """
    pair, downwards = divmod(number - 1, 2)
    anchor, gap = 0, PLACES // 2
    while pair:
        anchor, pair, gap = anchor + gap * (pair & 1), pair >> 1, gap // 2
    for step in range(PLACES):
        yield (anchor - 1 - step if downwards else anchor + step) % PLACES
