"""Python one-liners over named variables."""

from random import Random

from experts.recipe.example import Example, Skill, Split, belongs_to
from experts.recipe.skills.one_liners import TASKS
from experts.recipe.wording import Phrasing

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
