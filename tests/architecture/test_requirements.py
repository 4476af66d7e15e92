"""Every requirement has a test, or a reason why not; and no test names one that there is not."""

from __future__ import annotations

from docs.generators.requirements import REQUIREMENTS, WITHOUT, held_by


def test_every_requirement_has_a_test_or_a_reason() -> None:
    found = held_by()

    assert [name for name in REQUIREMENTS if not found[name] and name not in WITHOUT] == []
    assert [name for name in WITHOUT if found[name]] == []


def test_no_test_names_a_requirement_that_there_is_not() -> None:
    assert set(held_by()) <= set(REQUIREMENTS)
