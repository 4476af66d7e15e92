"""Python one-liners over named variables."""

from dataclasses import dataclass
from random import Random

from experts.recipe.example import Example, Skill, Split, belongs_to
from experts.recipe.wording import Phrasing

LISTS = ("xs", "nums", "numbers", "values", "scores", "prices", "data", "items", "ages", "points")
WORDS = ("words", "names", "lines", "titles", "tags", "files", "cities", "labels", "keys", "users")
TEXTS = ("text", "s", "line", "name", "word", "title", "message", "path", "sentence", "body")
MAPS = ("d", "totals", "config", "stock", "ratings", "ages", "lookup", "mapping", "counts", "index")


@dataclass(frozen=True, slots=True)
class Task:
    """What is wanted of a variable `{v}` (and a number `{n}`), and the expression that does it."""

    code: str
    train: tuple[str, ...]
    heldout: tuple[str, ...]
    variables: tuple[str, ...] = LISTS


TASKS = (
    Task(
        "sum({v})",
        ("sum of {v}", "add up all of {v}", "the total of {v}", "sum the list {v}", "sum {v}"),
        ("sum up {v}", "total up the list {v}"),
    ),
    Task(
        "sum({v}) / len({v})",
        ("average of {v}", "mean of {v}", "the average of the list {v}", "compute the mean of {v}"),
        ("the mean value of {v}", "average the list {v}"),
    ),
    Task(
        "max({v})",
        ("largest of {v}", "the maximum of {v}", "biggest value in {v}", "find the max of {v}"),
        ("the largest value in {v}", "get the maximum of the list {v}"),
    ),
    Task(
        "min({v})",
        ("smallest of {v}", "the minimum of {v}", "lowest value in {v}", "find the min of {v}"),
        ("the smallest value in {v}", "get the minimum of the list {v}"),
    ),
    Task(
        "[x * x for x in {v}]",
        ("square every number in {v}", "squares of {v}", "square each item of {v}", "square {v}"),
        ("the squares of the numbers in {v}", "square all of {v}"),
    ),
    Task(
        "sum(x * x for x in {v})",
        ("sum of squares of {v}", "sum of the squares in {v}", "add up the squares of {v}"),
        ("the sum of the squares of {v}", "sum the squares of {v}"),
    ),
    Task(
        "[x * {n} for x in {v}]",
        (
            "multiply every number in {v} by {n}",
            "multiply {v} by {n}",
            "each item of {v} times {n}",
            "scale {v} by {n}",
        ),
        ("multiply all items of {v} by {n}", "every number in {v} times {n}"),
    ),
    Task(
        "[x + {n} for x in {v}]",
        (
            "add {n} to every number in {v}",
            "add {n} to each item of {v}",
            "{v} with {n} added to each",
            "increase each of {v} by {n}",
        ),
        ("add {n} to all items of {v}", "increase every number in {v} by {n}"),
    ),
    Task(
        "[x for x in {v} if x > {n}]",
        (
            "numbers in {v} greater than {n}",
            "keep the items of {v} above {n}",
            "filter {v} for values over {n}",
            "all {v} larger than {n}",
            "keep only numbers above {n} in {v}",
        ),
        ("values of {v} that are more than {n}", "keep what is above {n} in {v}"),
    ),
    Task(
        "[x for x in {v} if x < {n}]",
        (
            "numbers in {v} less than {n}",
            "keep the items of {v} below {n}",
            "filter {v} for values under {n}",
            "all {v} smaller than {n}",
            "keep only numbers below {n} in {v}",
        ),
        ("values of {v} that are less than {n}", "keep what is below {n} in {v}"),
    ),
    Task(
        "[x for x in {v} if x % 2 == 0]",
        ("even numbers in {v}", "keep the even items of {v}", "filter {v} for even numbers"),
        ("only the even numbers of {v}", "keep what is even in {v}"),
    ),
    Task(
        "[x for x in {v} if x % 2 == 1]",
        ("odd numbers in {v}", "keep the odd items of {v}", "filter {v} for odd numbers"),
        ("only the odd numbers of {v}", "keep what is odd in {v}"),
    ),
    Task(
        "sum(x > {n} for x in {v})",
        (
            "count items of {v} above {n}",
            "how many of {v} are greater than {n}",
            "number of values in {v} over {n}",
            "count how many {v} are larger than {n}",
        ),
        ("count the values of {v} above {n}", "how many items of {v} are over {n}"),
    ),
    Task(
        "sorted({v})",
        ("sort {v}", "sort the list {v}", "put {v} in order", "{v} in ascending order"),
        ("order the list {v}", "sort the items of {v}"),
    ),
    Task(
        "sorted({v}, reverse=True)",
        ("sort {v} descending", "sort {v} in reverse", "{v} from high to low", "reverse sort {v}"),
        ("sort the list {v} in reverse", "sort {v} from high to low"),
    ),
    Task(
        "{v}[::-1]",
        ("reverse {v}", "reverse the list {v}", "{v} backwards", "turn {v} around"),
        ("the list {v} backwards", "{v} in reversed order"),
    ),
    Task(
        "list(dict.fromkeys({v}))",
        ("remove duplicates from {v}", "unique items of {v}", "drop duplicates in {v}"),
        ("the unique values of {v}", "remove the duplicates in {v}"),
    ),
    Task(
        "{v}[:{n}]",
        ("first {n} items of {v}", "take the first {n} of {v}", "the first {n} elements of {v}"),
        ("get the first {n} in {v}", "the first {n} values of {v}"),
    ),
    Task(
        "{v}[-{n}:]",
        ("last {n} items of {v}", "take the last {n} of {v}", "the last {n} elements of {v}"),
        ("get the last {n} in {v}", "the last {n} values of {v}"),
    ),
    Task(
        "len({v})",
        ("length of {v}", "how many items are in {v}", "count the items of {v}", "size of {v}"),
        ("the number of items in {v}", "how long is the list {v}"),
    ),
    Task(
        "[x.upper() for x in {v}]",
        ("upper case every word in {v}", "make all {v} upper case", "uppercase each of {v}"),
        ("turn every word in {v} upper case", "all of {v} in upper case"),
        WORDS,
    ),
    Task(
        "[len(x) for x in {v}]",
        ("lengths of {v}", "the length of each word in {v}", "how long each of {v} is"),
        ("length of every word in {v}", "get the lengths of the words in {v}"),
        WORDS,
    ),
    Task(
        "[x for x in {v} if len(x) > {n}]",
        (
            "words in {v} longer than {n} letters",
            "keep {v} with more than {n} letters",
            "filter {v} for words longer than {n}",
        ),
        ("keep only words longer than {n} letters in {v}", "words of {v} with over {n} letters"),
        WORDS,
    ),
    Task(
        "', '.join({v})",
        ("join {v} with commas", "comma separated string of {v}", "put commas between {v}"),
        ("join the list {v} with commas", "{v} as a comma separated string"),
        WORDS,
    ),
    Task(
        "sorted({v}, key=len)",
        ("sort {v} by length", "order {v} by length", "{v} from shortest to longest"),
        ("sort the words in {v} by length", "sort {v} from short to long"),
        WORDS,
    ),
    Task(
        "max({v}, key=len)",
        ("longest word in {v}", "the longest of {v}", "find the longest string in {v}"),
        ("get the longest word of {v}", "which of {v} is longest"),
        WORDS,
    ),
    Task(
        "{v}.split()",
        ("split {v} into words", "words of the string {v}", "split the string {v} at spaces"),
        ("split up {v} into its words", "get the words in the string {v}"),
        TEXTS,
    ),
    Task(
        "len({v}.split())",
        ("count the words in {v}", "number of words in {v}", "how many words are in {v}"),
        ("the number of words in the string {v}", "count words of {v}"),
        TEXTS,
    ),
    Task(
        "{v}.lower()",
        ("lower case of {v}", "make {v} lower case", "convert the string {v} to lowercase"),
        ("turn {v} into lower case", "the string {v} in lower case"),
        TEXTS,
    ),
    Task(
        "{v} == {v}[::-1]",
        ("check if {v} is a palindrome", "is {v} a palindrome", "palindrome test for {v}"),
        ("test whether {v} is a palindrome", "find out if {v} is a palindrome"),
        TEXTS,
    ),
    Task(
        "sum(c in 'aeiou' for c in {v})",
        ("count the vowels in {v}", "number of vowels in {v}", "how many vowels are in {v}"),
        ("the number of vowels in the string {v}", "count vowels of {v}"),
        TEXTS,
    ),
    Task(
        "{v}.strip()",
        ("strip {v}", "remove spaces around {v}", "trim the string {v}", "trim {v}"),
        ("trim spaces around {v}", "strip the string {v}"),
        TEXTS,
    ),
    Task(
        "{{b: a for a, b in {v}.items()}}",
        ("swap keys and values of {v}", "invert the dict {v}", "flip keys and values in {v}"),
        ("swap the keys and values in {v}", "invert the dictionary {v}"),
        MAPS,
    ),
    Task(
        "max({v}, key={v}.get)",
        ("key with the highest value in {v}", "key of the largest value in dict {v}"),
        ("find the key with the largest value in {v}", "the key of the highest value in {v}"),
        MAPS,
    ),
    Task(
        "list(range(1, {n} + 1))",
        ("numbers from 1 to {n}", "list of numbers 1 to {n}", "all numbers 1 through {n}"),
        ("make a list of the numbers from 1 to {n}", "the numbers 1 up to {n} in a list"),
        ("",),
    ),
)
ASKED = Phrasing(
    train=(
        "python: {s}",
        "in python, {s}",
        "{s} in python",
        "{s}, python",
        "python one-liner: {s}",
        "python one liner for {s}",
        "write python code: {s}",
        "python code for this: {s}",
        "how do i do this in python: {s}",
        "Give me Python for: {s}",
        "python expression: {s}",
        "{s} (python)",
        "one line of python: {s}",
        "i need a python one-liner: {s}",
        "Write a Python expression: {s}.",
        "show me python code: {s}",
    ),
    heldout=(
        "using python, {s}",
        "a line of python please: {s}",
        "{s} with a python one-liner",
        "what is the python for this: {s}",
        "python snippet: {s}",
    ),
)


def draw(rng: Random, split: Split) -> Example:
    """Draw a small programming task with its expression."""
    while True:
        task, number = rng.choice(TASKS), rng.randrange(1, 100)
        variable = rng.choice(task.variables)
        code = task.code.format(v=variable, n=number)
        if "{n}" not in task.code or belongs_to(split, code):
            break
    wanted = rng.choice(task.train if split == "train" else task.heldout)
    prompt = ASKED.say(rng, split, s=wanted.format(v=variable, n=number))
    return Example(prompt=prompt, answer=code)


SKILL = Skill(
    name="python",
    summary="Python one-liners over named variables",
    draw=draw,
    normalise=lambda text: "".join(text.split()),
    normalisation="equal but for spaces",
    covers=f"{len(TASKS)} one-line tasks on a list, a string or a dict that the prompt names, "
    "with numbers from 1 to 99",
    beyond="other tasks, longer programs, libraries, bugs, other languages",
)
