"""How people ask for rows, counts and totals."""

from experts.recipe.wording import Phrasing

Choices = tuple[str, ...]

LEADS = (
    "show {}",
    "show me {}",
    "get {}",
    "get me {}",
    "find {}",
    "list {}",
    "give me {}",
    "select {}",
    "i need {}",
    "i want {}",
    "i would like {}",
    "i want to see {}",
    "tell me {}",
    "query {}",
    "sql for {}",
    "sql: {}",
    "write sql for {}",
    "write a query for {}",
    "a query that gives {}",
    "can you query {}?",
    "what is the sql for {}?",
    "{}",
    "{} in sql",
    "{}, sql please",
)


def _led(*cores: str) -> Choices:
    return tuple(lead.format(core) for lead in LEADS for core in cores)


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
        *_led("all {t}", "every one of our {t}", "the whole {t} table"),
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
        *_led(
            "{a} and {b} of all {t}",
            "the {a} and {b} of our {t}",
            "{a}, {b} from {t}",
            "{a} and {b} for every row in {t}",
        ),
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
        *_led(
            "the number of {t}",
            "how many {t} we have",
            "the count of all {t}",
            "how many rows {t} has",
        ),
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
    *_led("all {t} {w}", "the {t} {w}", "our {t} {w}", "every row in {t} {w}"),
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
    *_led(
        "how many {t} there are {w}",
        "the number of {t} {w}",
        "how many of the {t} {w}",
        "the count of all {t} {w}",
    ),
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
    *_led("the {a} of {t} {w}", "{a} of all {t} {w}", "the {a} for our {t} {w}"),
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
        *_led(
            "the {f} {c} of {t}",
            "the {f} {c} of all our {t}",
            "the {f} {c} for the {t}",
            "{f} {c} in the {t} table",
            "the {f} of {c} in {t}",
        ),
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
        *_led(
            "the top {n} {t} by {c}",
            "the {n} {t} with the highest {c}",
            "the {n} {t} having the largest {c}",
        ),
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
        *_led(
            "all {t} sorted by {c}",
            "the {t} ordered by {c}",
            "our {t} in order of {c}",
            "{t} sorted by the {c}",
        ),
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
        *_led(
            "the number of {t} per {g}",
            "the number of {t} for each {g}",
            "for each {g} the number of {t}",
            "for every {g}, how many {t} there are",
            "per {g}, the count of {t}",
            "the count of {t} by {g}",
            "how many {t} each {g} has",
        ),
    ),
    ("for each {g}, how many {t} are there?", "break the count of {t} down by {g}"),
)
