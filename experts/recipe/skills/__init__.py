"""The skills that ship, in the order of the matrix."""

from experts.recipe.example import Skill
from experts.recipe.skills import (
    arithmetic,
    dates,
    facts,
    general,
    json,
    phrasebook,
    python,
    sql,
    units,
)

SKILLS: tuple[Skill, ...] = (
    arithmetic.SKILL,
    units.SKILL,
    dates.SKILL,
    sql.SKILL,
    json.SKILL,
    phrasebook.SKILL,
    python.SKILL,
    facts.SKILL,
    general.SKILL,
)
