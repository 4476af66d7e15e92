"""SQL queries over eight small tables, from a plain request."""

from random import Random

from experts.recipe.example import Example, Skill, Split, belongs_to
from experts.recipe.skills.sql_requests import (
    AGGREGATE,
    AGGREGATES,
    ALL,
    COLUMNS,
    COUNT,
    COUNTED,
    EQUAL_NUMBER,
    EQUAL_WORD,
    FILTERED,
    GROUPED,
    LESS,
    MORE,
    NAMED,
    SORTED,
    TOP,
)
from experts.recipe.skills.tables import PLURALS, TABLES, VALUES, Table


def draw(rng: Random, split: Split) -> Example:
    """Draw a request over one of the tables with its query."""
    while True:
        table = rng.choice(TABLES)
        kind = rng.choices(
            (_listed, _filtered, _aggregated, _topped, _sorted, _grouped), (4, 7, 3, 3, 3, 4)
        )[0]
        example, instance = kind(rng, split, table)
        if instance is None or belongs_to(split, instance):
            return example


def _listed(rng: Random, split: Split, table: Table) -> tuple[Example, str | None]:
    name, kind = table.name, rng.random()
    if kind < 0.2:
        return _pair(ALL.say(rng, split, t=name), f"SELECT * FROM {name};"), None
    if kind < 0.4:
        return _pair(COUNT.say(rng, split, t=name), f"SELECT COUNT(*) FROM {name};"), None
    first, second = rng.sample(table.words + table.numbers, 2)
    prompt = COLUMNS.say(rng, split, a=_some(rng, first), b=_some(rng, second), t=name)
    return _pair(prompt, f"SELECT {first}, {second} FROM {name};"), f"{first},{second} {name}"


def _filtered(rng: Random, split: Split, table: Table) -> tuple[Example, str | None]:
    if rng.random() < 0.6:
        column, value = rng.choice(table.numbers), str(_number(rng))
        sign, said = rng.choice(((">", MORE), ("<", LESS)))
        if rng.random() < 0.15:
            sign, said = "=", EQUAL_NUMBER
        condition = f"{column} {sign} {value}"
    else:
        column, value = rng.choice(table.words), rng.choice(VALUES)
        said, condition = EQUAL_WORD, f"{column} = '{value}'"
    where = rng.choice(said.heldout if split == "heldout" else said.train)
    where = where.format(c=column, v=value)
    shape, wanted = rng.random(), rng.choice(table.words)
    if shape < 0.5:
        phrasing, chosen = FILTERED, "*"
    elif shape < 0.75:
        phrasing, chosen = NAMED, wanted
    else:
        phrasing, chosen = COUNTED, "COUNT(*)"
    prompt = phrasing.say(rng, split, keep_case=True, t=table.name, w=where, a=_some(rng, wanted))
    sql = f"SELECT {chosen} FROM {table.name} WHERE {condition};"
    return _pair(prompt, sql), sql


def _aggregated(rng: Random, split: Split, table: Table) -> tuple[Example, str | None]:
    function, column = rng.choice(tuple(AGGREGATES)), rng.choice(table.numbers)
    said = rng.choice(AGGREGATES[function])
    prompt = AGGREGATE.say(rng, split, f=said, c=column, t=table.name)
    return _pair(prompt, f"SELECT {function}({column}) FROM {table.name};"), None


def _topped(rng: Random, split: Split, table: Table) -> tuple[Example, str | None]:
    count, column = rng.randrange(1, 51), rng.choice(table.numbers)
    prompt = TOP.say(rng, split, n=count, c=column, t=table.name)
    sql = f"SELECT * FROM {table.name} ORDER BY {column} DESC LIMIT {count};"
    return _pair(prompt, sql), sql


def _sorted(rng: Random, split: Split, table: Table) -> tuple[Example, str | None]:
    column = rng.choice(table.words + table.numbers)
    prompt = SORTED.say(rng, split, c=column, t=table.name)
    return _pair(prompt, f"SELECT * FROM {table.name} ORDER BY {column};"), None


def _grouped(rng: Random, split: Split, table: Table) -> tuple[Example, str | None]:
    column = rng.choice(table.words)
    prompt = GROUPED.say(rng, split, g=column, t=table.name)
    sql = f"SELECT {column}, COUNT(*) FROM {table.name} GROUP BY {column};"
    return _pair(prompt, sql), None


def _pair(prompt: str, sql: str) -> Example:
    return Example(prompt=prompt, answer=sql)


def _some(rng: Random, column: str) -> str:
    return PLURALS.get(column, f"{column}s") if rng.random() < 0.5 else column


def _number(rng: Random) -> int:
    return rng.randrange(1, 10 ** rng.randrange(1, 6))


SKILL = Skill(
    name="sql",
    summary="SQL from a plain request over known tables",
    draw=draw,
    normalise=lambda text: " ".join(text.split()).rstrip(";").lower(),
    normalisation="lower case, single spaces, no final semicolon",
    covers="one-table SELECT (columns, one condition, COUNT, AVG, SUM, MAX, MIN, ORDER BY, LIMIT, "
    "GROUP BY) over users, products, orders, employees, books, movies, students and cities",
    beyond="joins, several conditions, other tables, writing data",
)
