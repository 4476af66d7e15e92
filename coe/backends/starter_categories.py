"""Categories to start from. They are texts to be replaced by what your own users write."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class Starter:
    """A category to start from.

    Attributes:
        models: matches the names of models that are good at it.
    """

    description: str
    utterances: tuple[str, ...]
    negatives: tuple[str, ...] = ()
    models: re.Pattern[str] = re.compile(r"(?!)")


# For models that can answer anything.
GENERAL: Mapping[str, Starter] = MappingProxyType(
    {
        "code": Starter(
            description="Write, fix, explain or review program code",
            utterances=(
                "why does this function crash",
                "write a bash script that renames files",
                "explain this stack trace",
                "refactor this class into smaller ones",
                "how do I reverse a list in Rust",
                "add a unit test for this method",
                "what does this regular expression match",
                "fix the off-by-one error in my loop",
            ),
            negatives=("what is a dress code", "the postal code of Bern", "a promo code"),
            models=re.compile(r"code|coder|codestral|devstral", re.IGNORECASE),
        ),
        "maths": Starter(
            description="Calculation, proofs and statistics",
            utterances=(
                "integrate x squared from 0 to 3",
                "prove that the sum of two even numbers is even",
                "solve the equation 3x + 4 = 19",
                "what is the probability of two sixes",
                "which test compares two paired samples",
                "find the derivative of sin x over x",
                "how many ways can I arrange five books",
            ),
            models=re.compile(r"math|reason|deepseek-r|qwq|o[134]-", re.IGNORECASE),
        ),
        "writing": Starter(
            description="Draft, rewrite, shorten or correct a text for people",
            utterances=(
                "rewrite this email in a friendlier tone",
                "draft a cover letter for a nurse",
                "summarise this article in three sentences",
                "correct the grammar of this paragraph",
                "write a short poem about autumn",
                "make this text sound more formal",
                "suggest a title for my blog post",
            ),
        ),
    }
)

# For the adapters that come with the gateway, by the adapter's name.
SKILLS: Mapping[str, Starter] = MappingProxyType(
    {
        "arithmetic": Starter(
            description="Sums, differences and products of whole numbers",
            utterances=(
                "what is 17 * 24?",
                "318 + 467",
                "how much is 905 minus 377",
                "multiply 12 by 34",
                "add 250 and 199",
                "what do you get if you subtract 48 from 130",
            ),
        ),
        "units": Starter(
            description="Convert an amount from one unit to another",
            utterances=(
                "how many feet are 12 metres",
                "convert 5 miles to kilometres",
                "how many grams are in 3 pounds",
                "30 celsius in fahrenheit",
                "turn 4 hours into minutes",
                "how many litres are 10 gallons",
            ),
        ),
        "dates": Starter(
            description="Weekdays, and days between dates",
            utterances=(
                "what day of the week is 14 March 2026",
                "which weekday was 1 January 2025",
                "what date is 10 days after 20 May 2026",
                "how many days are there in February 2024",
                "how many days from 3 June 2025 to 9 July 2025",
                "is 2027 a leap year",
            ),
        ),
        "sql": Starter(
            description="An SQL query from a plain request",
            utterances=(
                "write SQL that lists the users older than 30",
                "an SQL query for the average price of products",
                "select all orders above 100 in SQL",
                "SQL to count employees by city",
                "query the table of users sorted by score",
                "give me the SQL for the five most expensive products",
            ),
        ),
        "json": Starter(
            description="Take the facts of a sentence out as JSON",
            utterances=(
                "extract name and city as JSON: Anna lives in Oslo",
                "turn this sentence into JSON: Tom is 34 years old",
                "give me the fields of this text as a JSON object",
                "JSON with person and company: Maria works at Acme",
                "pull out the item and the price as JSON",
            ),
        ),
        "phrasebook": Starter(
            description="Travel phrases in other languages",
            utterances=(
                "how do you say thank you in French",
                "good morning in Italian",
                "translate goodbye into German",
                "what is please in Spanish",
                "say where is the station in French",
                "how would I say see you tomorrow in Italian",
            ),
        ),
        "python": Starter(
            description="Python one-liners",
            utterances=(
                "python one-liner to reverse a list",
                "one line of Python that sums the even numbers of xs",
                "write a Python expression that counts words in text",
                "python: sort names by length in one line",
                "a one-line Python comprehension of the squares of numbers",
            ),
        ),
        "facts": Starter(
            description="Facts about countries",
            utterances=(
                "what is the capital of Norway",
                "which currency is used in Japan",
                "on which continent is Peru",
                "what language do they speak in Brazil",
                "capital city of Kenya",
            ),
        ),
        "general": Starter(
            description="Greetings, and what this assistant is and can do",
            utterances=(
                "hello",
                "who are you",
                "what can you do",
                "good day to you",
                "how can you help me",
                "are you a person",
            ),
        ),
    }
)
