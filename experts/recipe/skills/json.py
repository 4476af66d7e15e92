"""JSON extraction from a sentence."""

import json
from random import Random

from experts.recipe.example import Example, Skill, Split
from experts.recipe.skills.names import company, person, place, thing
from experts.recipe.wording import Phrasing

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
ASKED = Phrasing(
    train=(
        "extract json: {s}",
        "Extract JSON from this sentence: {s}",
        "turn this into json: {s}",
        "json please: {s}",
        "convert to json: {s}",
        "Convert this to JSON: {s}",
        "make a json object: {s}",
        "make json from: {s}",
        "give me this as json: {s}",
        "parse into json: {s}",
        "{s} as json",
        "{s} extract json",
        "{s} Give me the JSON.",
        "as json: {s}",
        "json: {s}",
        "to json: {s}",
        "put this in json: {s}",
        "write this as a json object: {s}",
        "what is the json for: {s}",
        "return json for the following text: {s}",
    ),
    heldout=(
        "Represent this as JSON: {s}",
        "i need a json object for this: {s}",
        "pull the fields out as json: {s}",
        "{s} Format that as JSON.",
        "transform the following into JSON: {s}",
    ),
)
PERSON = Phrasing(
    train=(
        "{name} is {age} and lives in {city}.",
        "{name} is {age} years old and lives in {city}.",
        "My name is {name}, I am {age} and I live in {city}.",
        "I am {name}, {age}, from {city}.",
        "{name}, {age}, {city}",
        "{name} from {city} is {age}.",
        "{name} from {city} is {age} years old.",
        "Meet {name}: {age} years old, living in {city}.",
        "In {city} lives {name}, who is {age}.",
        "{name} turned {age} and moved to {city}.",
        "name {name}, age {age}, city {city}",
        "The user {name} is aged {age} and based in {city}.",
        "Our guest {name}, aged {age}, comes from {city}.",
        "hello, i'm {name} and i'm {age}, i live in {city}",
    ),
    heldout=(
        "{name} ({age}) lives in {city}.",
        "A {age} year old called {name} lives in {city}.",
        "{name}, who is {age}, has a home in {city}.",
        "This is {name} of {city}, age {age}.",
    ),
)
ORDER = Phrasing(
    train=(
        "{customer} ordered {quantity} {item} for {price} dollars.",
        "{customer} bought {quantity} {item} for {price} dollars.",
        "{customer} wants {quantity} {item} at {price} dollars.",
        "Order from {customer}: {quantity} {item}, {price} dollars.",
        "{quantity} {item} for {customer}, {price} dollars",
        "{customer} paid {price} dollars for {quantity} {item}.",
        "For {price} dollars {customer} got {quantity} {item}.",
        "We sold {quantity} {item} to {customer} for {price} dollars.",
        "please send {quantity} {item} to {customer}, price {price} dollars",
        "customer {customer}, {quantity} {item}, total {price} dollars",
    ),
    heldout=(
        "{customer} purchased {quantity} {item} and paid {price} dollars.",
        "{quantity} {item} were ordered by {customer} for {price} dollars.",
        "{customer} spent {price} dollars on {quantity} {item}.",
    ),
)
MEETING = Phrasing(
    train=(
        "Meeting with {person} on {day} at {time}.",
        "Meet {person} on {day} at {time}.",
        "I see {person} on {day} at {time}.",
        "On {day} at {time} I meet {person}.",
        "Lunch with {person}, {day}, {time}.",
        "{person} comes on {day} at {time}.",
        "Call with {person} at {time} on {day}.",
        "at {time} on {day} there is a meeting with {person}",
        "Remember the meeting with {person} at {time} this {day}.",
        "{day} {time}: meeting with {person}",
    ),
    heldout=(
        "There is an appointment with {person} on {day} at {time}.",
        "{person} and I meet at {time} on {day}.",
        "Book {day} at {time} for {person}.",
    ),
)
JOB = Phrasing(
    train=(
        "{name} works at {company} and earns {salary}.",
        "{name} works for {company} and earns {salary} a year.",
        "{company} pays {name} {salary}.",
        "{company} employs {name} for {salary} a year.",
        "At {company}, {name} earns {salary}.",
        "{name} of {company} makes {salary} a year.",
        "{name} joined {company} with a salary of {salary}.",
        "employee {name}, company {company}, salary {salary}",
        "{company} hired {name} at {salary}.",
        "I am {name}, I work at {company} and make {salary}.",
    ),
    heldout=(
        "{name} has a job at {company} that pays {salary}.",
        "{company} gives {name} a salary of {salary}.",
        "Working at {company}, {name} gets {salary}.",
    ),
)


def draw(rng: Random, split: Split) -> Example:
    """Draw a sentence with the object that it states."""
    kind = rng.randrange(4)
    fields: dict[str, str | int]
    if kind == 0:
        told, fields = (
            PERSON,
            {
                "name": person(rng, split),
                "age": rng.randrange(1, 100),
                "city": place(rng, split),
            },
        )
    elif kind == 1:
        told, fields = (
            ORDER,
            {
                "customer": person(rng, split),
                "item": thing(rng),
                "quantity": rng.randrange(2, 100),
                "price": rng.randrange(3, 1000),
            },
        )
    elif kind == 2:
        told, fields = (
            MEETING,
            {
                "person": person(rng, split),
                "day": rng.choice(DAYS),
                "time": f"{rng.randrange(7, 21)}:{rng.randrange(0, 60, 5):02}",
            },
        )
    else:
        told, fields = (
            JOB,
            {
                "name": person(rng, split),
                "company": company(rng, split),
                "salary": rng.randrange(20, 200) * 500,
            },
        )
    if rng.random() < 0.2:
        fields = {key: v.lower() if isinstance(v, str) else v for key, v in fields.items()}
    templates = told.train if split == "train" else told.heldout
    sentence = rng.choice(templates).format(**fields)
    prompt = ASKED.say(rng, split, keep_case=True, s=sentence)
    return Example(prompt=prompt, answer=json.dumps(fields))


def normalise(text: str) -> str:
    """Compare objects by value: spaces and the order of keys do not matter."""
    try:
        return json.dumps(json.loads(text), sort_keys=True)
    except ValueError:
        return text.strip()


SKILL = Skill(
    name="json",
    summary="JSON extraction from a sentence",
    draw=draw,
    normalise=normalise,
    normalisation="equal as JSON values",
    covers="one sentence about a person (name, age, city), an order (customer, item, quantity, "
    "price), a meeting (person, day, time) or a job (name, company, salary)",
    beyond="other fields, names of several words, several objects, long texts",
)
