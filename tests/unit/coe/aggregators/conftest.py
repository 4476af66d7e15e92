from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from coe.drafts import Draft, Member, Table

Lay = Callable[..., Table]


@pytest.fixture(scope="session")
def lay() -> Lay:
    """A function that lays a table: drafts by position, in the order in which they ended.

    A draft that is None has failed. Those in `pending` write yet; the others were not asked.
    """

    def laid(
        drafts: Mapping[int, str | None],
        *,
        weights: Sequence[float] = (0.5, 0.5, 0.5),
        quorum: int = 0,
        pending: Sequence[int] = (),
        logprobs: Mapping[int, float] | None = None,
        **rest: Any,
    ) -> Table:
        ended = tuple(
            Draft(member=member, error="it broke")
            if text is None
            else Draft(member=member, text=text, logprob=(logprobs or {}).get(member))
            for member, text in drafts.items()
        )
        return Table(
            messages=rest.pop("messages", ({"role": "user", "content": "what is 6 * 7?"},)),
            members=tuple(Member(expert=f"e{i}", weight=w) for i, w in enumerate(weights)),
            quorum=quorum or len(weights),
            asked=frozenset((*drafts, *pending)),
            drafts=ended,
            **rest,
        )

    return laid
