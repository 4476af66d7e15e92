"""The experts' text is deterministic, right and apart; the committed weights know their skills."""

# ruff: noqa: S311, RUF024 - draws are seeded on purpose, and shared values are only read

import importlib
import json
import re
import sqlite3
from calendar import isleap, monthrange
from datetime import date, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from coe.scoring.checks import Judge, Tests
from coe.scoring.rows import read_rows
from experts.recipe.example import Example, Skill, heldout_examples
from experts.recipe.heldout import write_fresh
from experts.recipe.plan import EXPERTS, Plan
from experts.recipe.primitives import Primitives
from experts.recipe.skills import (
    SKILLS,
    arithmetic,
    dates,
    facts,
    general,
    phrasebook,
    small_talk,
    sql_requests,
    units,
)
from experts.recipe.skills.columns import worked_difference, worked_sum
from experts.recipe.skills.one_liners import TASKS
from experts.recipe.skills.tables import schema
from experts.recipe.wording import Phrasing

BY_NAME = {skill.name: skill for skill in SKILLS}
DRAWS = 1500


def examples(name: str, seed: int = 7) -> list[Example]:
    rng = Random(seed)
    skill = BY_NAME[name]
    half = DRAWS // 2
    return [skill.draw(rng, "train") for _ in range(half)] + [
        skill.draw(rng, "heldout") for _ in range(half)
    ]


def bare(prompt: str) -> str:
    return " ".join(re.sub(r"[?.!]+$", "", prompt.lower().strip()).split())


def lines(folder: str, name: str) -> list[str]:
    text = (EXPERTS / folder / f"{name}.txt").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def heldout(name: str) -> list[Example]:
    text = (EXPERTS / "heldout" / f"{name}.jsonl").read_text(encoding="utf-8")
    rows = map(json.loads, text.splitlines())
    return [Example(prompt=row["prompt"], answer=row["answer"]) for row in rows]


@pytest.mark.parametrize("skill", SKILLS, ids=lambda skill: skill.name)
def test_generators_are_deterministic(skill: Skill) -> None:
    first, second = Random(3), Random(3)

    drawn = [skill.draw(first, "train") for _ in range(50)]

    assert drawn == [skill.draw(second, "train") for _ in range(50)]


@pytest.mark.parametrize("skill", SKILLS, ids=lambda skill: skill.name)
def test_heldout_files_are_what_the_generators_draw(skill: Skill) -> None:
    plan = Plan()

    drawn = heldout_examples(skill, plan.heldout, plan.seed)

    assert heldout(skill.name) == drawn
    assert len(drawn) == plan.heldout


@pytest.mark.parametrize("skill", SKILLS, ids=lambda skill: skill.name)
def test_heldout_rows_are_checked_as_the_skill_compares_answers(skill: Skill) -> None:
    """`coe score` finds right what `python -m experts.recipe evaluate` does."""
    names = [known.name for known in SKILLS]
    rows = read_rows(EXPERTS / "heldout" / f"{skill.name}.jsonl", categories=names, experts=[])
    asked = heldout(skill.name)
    said = [example.answer for name in names for example in heldout(name)[:40]]

    assert [row.category for row in rows] == [skill.name] * len(asked)
    for row, example in list(zip(rows, asked, strict=True))[:20]:
        assert not isinstance(row.check, Tests | Judge)
        for answer in (*said, f" {example.answer}\n", ""):
            right = skill.normalise(answer) == skill.normalise(example.answer)
            assert row.check.grade(answer) == right


@pytest.mark.parametrize("skill", SKILLS, ids=lambda skill: skill.name)
def test_heldout_prompts_are_never_drawn_for_training(skill: Skill) -> None:
    rng = Random(11)
    kept = {bare(example.prompt) for example in heldout(skill.name)} - {""}

    drawn = {bare(skill.draw(rng, "train").prompt) for _ in range(8000)}

    assert not kept & drawn


def test_heldout_templates_are_not_among_those_for_training() -> None:
    phrasings = [
        value
        for name in ("arithmetic", "dates", "facts", "json", "phrasebook", "python", "units")
        for value in vars(importlib.import_module(f"experts.recipe.skills.{name}")).values()
        if isinstance(value, Phrasing)
    ]
    phrasings += [value for value in vars(sql_requests).values() if isinstance(value, Phrasing)]
    phrasings += [*arithmetic.PHRASINGS.values(), *general.TALK.values()]

    for phrasing in phrasings:
        assert not {bare(said) for said in phrasing.train} & {bare(s) for s in phrasing.heldout}
    for task in TASKS:
        assert not set(task.train) & set(task.heldout)


@pytest.mark.parametrize("skill", SKILLS, ids=lambda skill: skill.name)
def test_right_answers_survive_normalisation(skill: Skill) -> None:
    for example in heldout(skill.name)[:50]:
        assert skill.normalise(example.answer)
        assert skill.normalise(f" {example.answer} ") == skill.normalise(example.answer)


def test_utterances_belong_to_one_skill_and_are_not_held_out() -> None:
    owner: dict[str, str] = {}
    kept = {bare(example.prompt) for skill in SKILLS for example in heldout(skill.name)}

    for skill in SKILLS:
        said = lines("utterances", skill.name)
        assert 40 <= len(said) <= 80
        assert 5 <= len(lines("negatives", skill.name)) <= 15
        for line in said:
            assert bare(line) not in kept
            assert owner.setdefault(bare(line), skill.name) == skill.name


def test_small_talk_is_worded_in_many_ways_and_no_wording_is_of_two_kinds() -> None:
    rng = Random(13)
    owner: dict[str, str] = {}

    for answer, patterns in general.GRAMMARS.items():
        said = {bare(small_talk.message(rng, patterns)) for _ in range(3000)}
        said |= {bare(listed) for listed in general.TALK[answer].train}
        assert len(said) > 1500
        assert all(owner.setdefault(message, answer) == answer for message in said)


def test_columns_are_worked_like_on_paper() -> None:
    assert worked_sum("340", "68") == "0+8=8, 4+6=10, 3+0+1=4"
    assert worked_difference("502", "37") == "2-7=5 borrow, 0-3-1=6 borrow, 5-0-1=4"


def test_a_difference_below_zero_borrows_from_nothing_and_turns_round() -> None:
    worked = arithmetic.worked(37, "-", 502).splitlines()

    assert worked[0].endswith("0-5=5 borrow")
    assert worked[1:] == [
        "502 - 37: 2-7=5 borrow, 0-3-1=6 borrow, 5-0-1=4",
        "37 - 502 = -465",
    ]


def test_exercises_of_the_base_are_right_and_none_asks_what_a_skill_is_asked() -> None:
    primitives, rng = Primitives(SKILLS, 0), Random(5)
    kept = {bare(example.prompt) for skill in SKILLS for example in heldout(skill.name)}

    for _ in range(6000):
        exercise = primitives.draw(rng)
        assert bare(exercise.prompt) not in kept
        for sum_, value in re.findall(r"(\d+[-+*]\d+(?:[-+]1)?)=(\d+)(?! borrow)", exercise.answer):
            assert eval(sum_) == int(value), exercise  # noqa: S307 - digits and signs alone


def test_arithmetic_answers_are_right() -> None:
    for example in examples("arithmetic"):
        if example.answer == arithmetic.BEYOND:
            continue
        for left, sign, right, value in re.findall(
            r"(\d+) ([-+*/]) (\d+) = (-?\d+)(?! r)(?!\d)", example.answer
        ):
            a, b = int(left), int(right)
            assert int(value) == {"+": a + b, "-": a - b, "*": a * b, "/": a // (b or 1)}[sign]
        last = example.answer.splitlines()[-1]
        if "/" in last:
            a, b = (int(number) for number in re.findall(r"\d+", last)[:2])
            rest = re.search(r"remainder (\d+)", last)
            assert a % b == (int(rest[1]) if rest else 0)


def test_unit_answers_are_right_to_the_last_decimal() -> None:
    metre = {"metres": 1.0, "feet": 0.3048, "kilometres": 1000.0, "miles": 1609.344}
    metre |= {"centimetres": 0.01, "inches": 0.0254, "yards": 0.9144}
    kilogram = {"kilograms": 1.0, "pounds": 0.45359237, "grams": 0.001, "ounces": 0.028349523125}
    litre = {"litres": 1.0, "US gallons": 3.785411784}
    second = {"seconds": 1.0, "minutes": 60.0, "hours": 3600.0, "days": 86400.0, "weeks": 604800.0}

    for example in examples("units"):
        if example.answer == units.BEYOND:
            continue
        found = re.fullmatch(r"(\d+) ([\w ]+) = ([\d.]+) ([\w ]+)", example.answer.splitlines()[-1])
        assert found
        amount, source, value, target = int(found[1]), found[2], float(found[3]), found[4]
        if target == "degrees Fahrenheit":
            truth = amount * 9 / 5 + 32
        elif target == "degrees Celsius":
            truth = (amount - 32) * 5 / 9
        else:
            scale = next(s for s in (metre, kilogram, litre, second) if source in s)
            truth = amount * scale[source] / scale[target]
        assert abs(value - truth) < 0.0101, example


def test_date_answers_are_right() -> None:
    for example in examples("dates"):
        if example.answer == dates.BEYOND:
            continue
        if "leap" in example.answer:
            year = int(example.answer[:4])
            assert isleap(year) == ("is not" not in example.answer)
        elif found := re.fullmatch(r"(\w+ \d{4}) has (\d+) days\.", example.answer):
            month = datetime.strptime(found[1], "%B %Y")  # noqa: DTZ007 - a month has no zone
            assert monthrange(month.year, month.month)[1] == int(found[2])
        elif found := re.search(r"(\d+ \w+ \d{4}) is a (\w+)\.$", example.answer):
            assert f"{_day(found[1]):%A}" == found[2]
        else:
            found = re.fullmatch(
                r"(\d+)\+(\d+)=.*?, (\w+ \d{4}) has .* (\d+ \w+ \d{4})\.", example.answer
            )
            assert found
            start = _day(f"{found[1]} {found[3]}")
            assert start + timedelta(days=int(found[2])) == _day(found[4])


def _day(text: str) -> date:
    return datetime.strptime(text, "%d %B %Y").date()  # noqa: DTZ007 - a date has no zone


def test_queries_run_on_a_database() -> None:
    database = sqlite3.connect(":memory:")
    database.executescript(schema())

    for example in examples("sql"):
        database.execute(example.answer).fetchall()

    database.close()


def test_a_filtered_count_counts_what_it_says() -> None:
    database = sqlite3.connect(":memory:")
    database.executescript(schema())
    database.executemany("INSERT INTO users (name, age) VALUES (?, ?)", [("Ana", 20), ("Bob", 40)])
    counted = next(
        e
        for seed in range(100)
        for e in examples("sql", seed)
        if "COUNT(*) FROM users WHERE age >" in e.answer
    )
    limit = int(re.search(r"> (\d+)", counted.answer)[1])  # type: ignore[index]

    (number,) = database.execute(counted.answer).fetchone()

    assert number == (limit < 20) + (limit < 40)
    database.close()


def test_json_answers_parse_and_say_what_the_prompt_says() -> None:
    for example in examples("json"):
        fields = json.loads(example.answer)
        assert all(str(value) in example.prompt for value in fields.values())


def test_one_liners_evaluate() -> None:
    numbers, words = [3, 1, 2, 3], ["pear", "fig", "banana", "fig"]
    known: dict[str, object] = dict.fromkeys(
        ("xs", "nums", "numbers", "values", "scores", "prices", "data", "items", "points"), numbers
    )
    known |= dict.fromkeys(
        ("words", "names", "lines", "titles", "tags", "files", "cities", "labels", "keys", "users"),
        words,
    )
    known |= dict.fromkeys(
        ("text", "s", "line", "name", "word", "title", "message", "path", "sentence", "body"), "a b"
    )
    known |= dict.fromkeys(
        ("d", "totals", "config", "stock", "ratings", "lookup", "mapping", "counts", "index"),
        {"a": 1, "b": 2},
    )
    for example in examples("python"):
        ages: object = {"a": 1} if ".items" in example.answer or ".get" in example.answer else [4]
        eval(example.answer, {**known, "ages": ages})  # noqa: S307 - our own generated code

    assert eval("sum(x * x for x in nums)", dict(known)) == 23  # noqa: S307
    assert eval("list(dict.fromkeys(words))", dict(known)) == ["pear", "fig", "banana"]  # noqa: S307


def test_tables_are_whole() -> None:
    assert len({country.name for country in facts.COUNTRIES}) == len(facts.COUNTRIES)
    assert len({country.capital for country in facts.COUNTRIES}) == len(facts.COUNTRIES)
    assert not {country.name for country in facts.COUNTRIES} & set(facts.UNKNOWN)
    assert all(set(said) == set(phrasebook.LANGUAGES) for said in phrasebook.PHRASES.values())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_committed_adapters_know_their_skills(name: str) -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)  # two on a busy machine wait for each other: 10 to 20 times slower
    peft = pytest.importorskip("peft")
    from experts.recipe.answers import answer_all
    from experts.recipe.base import load_base
    from experts.recipe.evaluation import share_right

    model, tokenizer = load_base(EXPERTS / "base")
    adapted = peft.PeftModel.from_pretrained(model, EXPERTS / "adapters" / name).eval()
    asked = heldout(name)[:10]

    answers = answer_all(adapted, tokenizer, [example.prompt for example in asked])

    assert share_right(BY_NAME[name], asked, answers) >= 0.8


def test_fresh_prompts_are_none_of_the_held_out_ones(tmp_path: Path) -> None:
    write_fresh(Plan(heldout=40), tmp_path, 1)

    for skill in SKILLS:
        rows = (tmp_path / f"{skill.name}.jsonl").read_text(encoding="utf-8").splitlines()
        prompts = {json.loads(row)["prompt"] for row in rows}
        known = {row.prompt for row in heldout_examples(skill, 40, Plan().seed)}

        assert len(prompts) == len(rows) > 30
        assert not prompts & known
