"""SQL queries over eight small tables, from a plain request."""

from random import Random

from experts.recipe.example import Example, Skill, Split, belongs_to
from experts.recipe.skills.tables import PLURALS, TABLES, VALUES, Table
from experts.recipe.wording import Phrasing

Choices = tuple[str, ...]

ALL = Phrasing(
    (
        "show all {t}",
        "list all {t}",
        "get every row from {t}",
        "select everything from {t}",
        "give me all the {t}",
        "sql to get all {t}",
        "query for all {t}",
        "Show me everything in the {t} table.",
        "write sql that lists all {t}",
        "fetch all {t}",
    ),
    ("return every one of the {t}", "i want to see all {t}, write the query", "dump the {t} table"),
)
COLUMNS = Phrasing(
    (
        "show the {a} and {b} of all {t}",
        "list {a} and {b} from {t}",
        "get the {a} and {b} of every row in {t}",
        "select {a} and {b} from {t}",
        "give me {a} and {b} for all {t}",
        "sql for the {a} and {b} of {t}",
        "query the {a} and {b} of the {t}",
        "write a query for {a} and {b} in {t}",
        "i need {a} and {b} of all {t}",
        "What are the {a} and {b} of the {t}?",
    ),
    ("return {a} and {b} for the {t}", "pull {a} and {b} out of {t}", "sql: {a} and {b}, all {t}"),
)
COUNT = Phrasing(
    (
        "how many {t} are there?",
        "count the {t}",
        "number of {t}",
        "how many {t} do we have",
        "sql to count all {t}",
        "count all rows in {t}",
        "give me the number of {t}",
        "write a query that counts the {t}",
        "what is the number of rows in {t}?",
    ),
    ("how many rows does {t} have?", "the count of {t} please, in sql", "tell me how many {t}"),
)
FILTERED = (
    "show all {t} {w}",
    "list {t} {w}",
    "get the {t} {w}",
    "find all {t} {w}",
    "select {t} {w}",
    "give me {t} {w}",
    "sql for {t} {w}",
    "which {t} are there {w}?",
    "write a query for {t} {w}",
    "show me every row of {t} {w}",
    "query {t} {w}",
    "i want the {t} {w}",
)
FILTERED_HELDOUT = (
    "return all {t} {w}",
    "i am looking for {t} {w}",
    "fetch {t} {w}",
    "pull the {t} {w}",
)
COUNTED = (
    "how many {t} are there {w}?",
    "count the {t} {w}",
    "number of {t} {w}",
    "how many {t} do we have {w}",
    "sql to count {t} {w}",
    "give me the number of {t} {w}",
    "write a query that counts {t} {w}",
)
COUNTED_HELDOUT = ("tell me how many {t} {w}", "the count of {t} {w}", "count up all {t} {w}")
NAMED = (
    "show the {a} of {t} {w}",
    "list the {a} of all {t} {w}",
    "get {a} from {t} {w}",
    "what is the {a} of {t} {w}?",
    "select {a} of {t} {w}",
    "give me the {a} of {t} {w}",
    "sql for the {a} of {t} {w}",
    "find the {a} of {t} {w}",
    "write a query for the {a} of {t} {w}",
)
NAMED_HELDOUT = (
    "return the {a} of {t} {w}",
    "i want the {a} of all {t} {w}",
    "fetch {a} for {t} {w}",
)
MORE: Choices = (
    "with {c} over {v}",
    "with {c} above {v}",
    "where {c} is more than {v}",
    "whose {c} is greater than {v}",
    "with a {c} larger than {v}",
    "with {c} > {v}",
)
MORE_HELDOUT: Choices = ("where the {c} is over {v}", "whose {c} is above {v}")
LESS: Choices = (
    "with {c} under {v}",
    "with {c} below {v}",
    "where {c} is less than {v}",
    "whose {c} is smaller than {v}",
    "with a {c} lower than {v}",
    "with {c} < {v}",
)
LESS_HELDOUT: Choices = ("where the {c} is under {v}", "whose {c} is below {v}")
EQUAL: Choices = (
    "with {c} {v}",
    "where {c} is {v}",
    "whose {c} is {v}",
    "with {c} equal to {v}",
    "where the {c} equals {v}",
    "having {c} {v}",
    "where {c} = {v}",
    "with {c} '{v}'",
)
EQUAL_HELDOUT: Choices = ("that have {c} {v}", "with the {c} set to {v}")
AGGREGATES = {
    "AVG": ("average", "mean", "avg"),
    "SUM": ("total", "sum of", "summed"),
    "MAX": ("highest", "maximum", "largest"),
    "MIN": ("lowest", "minimum", "smallest"),
}
AGGREGATE = Phrasing(
    (
        "what is the {f} {c} of {t}?",
        "{f} {c} of {t}",
        "the {f} {c} in {t}",
        "get the {f} {c} of all {t}",
        "find the {f} {c} of the {t}",
        "sql for the {f} {c} of {t}",
        "show the {f} {c} of {t}",
        "give me the {f} {c} over all {t}",
        "write a query for the {f} {c} in {t}",
    ),
    ("return the {f} {c} for {t}", "i want to know the {f} {c} of our {t}"),
)
TOP = Phrasing(
    (
        "top {n} {t} by {c}",
        "show the top {n} {t} by {c}",
        "the {n} {t} with the highest {c}",
        "list the {n} {t} with the largest {c}",
        "get the {n} {t} with the most {c}",
        "find the {n} {t} with the highest {c}",
        "sql for the top {n} {t} by {c}",
        "give me {n} {t} with the greatest {c}",
        "write a query for the {n} {t} with the highest {c}",
    ),
    ("return the {n} {t} that have the highest {c}", "what are the top {n} {t} by {c}?"),
)
SORTED = Phrasing(
    (
        "show all {t} sorted by {c}",
        "list {t} ordered by {c}",
        "sort the {t} by {c}",
        "order {t} by {c}",
        "get all {t} in order of {c}",
        "sql to sort {t} by {c}",
        "give me the {t} sorted by {c}",
        "write a query that sorts {t} by {c}",
    ),
    ("return the {t} ordered by {c}", "i want all {t} sorted by their {c}"),
)
GROUPED = Phrasing(
    (
        "number of {t} per {g}",
        "count {t} per {g}",
        "how many {t} per {g}?",
        "count the {t} for each {g}",
        "how many {t} are there for each {g}?",
        "show the number of {t} by {g}",
        "sql for the number of {t} in each {g}",
        "write a query that counts {t} by {g}",
        "group {t} by {g} and count them",
    ),
    ("for each {g}, how many {t} are there?", "break the count of {t} down by {g}"),
)


def draw(rng: Random, split: Split) -> Example:
    """Draw a request over one of the tables with its query."""
    while True:
        table = rng.choice(TABLES)
        kind = rng.choices(
            (_listed, _filtered, _aggregated, _topped, _sorted, _grouped), (2, 8, 2, 2, 1, 1)
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
        sign, said = rng.choice(((">", (MORE, MORE_HELDOUT)), ("<", (LESS, LESS_HELDOUT))))
        if rng.random() < 0.15:
            sign, said = "=", (EQUAL[:-1], EQUAL_HELDOUT)
        condition = f"{column} {sign} {value}"
    else:
        column, value = rng.choice(table.words), rng.choice(VALUES)
        said, condition = (EQUAL, EQUAL_HELDOUT), f"{column} = '{value}'"
    where = rng.choice(said[0] + (said[1] if split == "heldout" else ()))
    where = where.format(c=column, v=value)
    shape, wanted = rng.random(), rng.choice(table.words)
    if shape < 0.5:
        phrasing, chosen = Phrasing(FILTERED, FILTERED_HELDOUT), "*"
    elif shape < 0.75:
        phrasing, chosen = Phrasing(NAMED, NAMED_HELDOUT), wanted
    else:
        phrasing, chosen = Phrasing(COUNTED, COUNTED_HELDOUT), "COUNT(*)"
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
