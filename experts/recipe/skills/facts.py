"""A table of country facts."""

from random import Random
from typing import NamedTuple

from experts.recipe.example import Example, Skill, Split, plain
from experts.recipe.wording import Phrasing, led

BEYOND = "I do not have that in my table of countries."


class Country(NamedTuple):
    """One row of the table."""

    name: str
    capital: str
    currency: str
    continent: str
    language: str


_ROWS = """
France|Paris|euro|Europe|French
Germany|Berlin|euro|Europe|German
Spain|Madrid|euro|Europe|Spanish
Italy|Rome|euro|Europe|Italian
Portugal|Lisbon|euro|Europe|Portuguese
Austria|Vienna|euro|Europe|German
Greece|Athens|euro|Europe|Greek
the Netherlands|Amsterdam|euro|Europe|Dutch
Poland|Warsaw|zloty|Europe|Polish
Sweden|Stockholm|Swedish krona|Europe|Swedish
Norway|Oslo|Norwegian krone|Europe|Norwegian
Denmark|Copenhagen|Danish krone|Europe|Danish
Iceland|Reykjavik|Icelandic krona|Europe|Icelandic
Hungary|Budapest|forint|Europe|Hungarian
Romania|Bucharest|Romanian leu|Europe|Romanian
the Czech Republic|Prague|Czech koruna|Europe|Czech
Ukraine|Kyiv|hryvnia|Europe|Ukrainian
Russia|Moscow|Russian rouble|Europe and Asia|Russian
the United Kingdom|London|pound sterling|Europe|English
Albania|Tirana|lek|Europe|Albanian
Slovakia|Bratislava|euro|Europe|Slovak
Slovenia|Ljubljana|euro|Europe|Slovene
Lithuania|Vilnius|euro|Europe|Lithuanian
Latvia|Riga|euro|Europe|Latvian
Estonia|Tallinn|euro|Europe|Estonian
Turkey|Ankara|Turkish lira|Asia and Europe|Turkish
Japan|Tokyo|yen|Asia|Japanese
China|Beijing|renminbi|Asia|Chinese
South Korea|Seoul|won|Asia|Korean
Mongolia|Ulaanbaatar|tugrik|Asia|Mongolian
Thailand|Bangkok|baht|Asia|Thai
Vietnam|Hanoi|dong|Asia|Vietnamese
Indonesia|Jakarta|rupiah|Asia|Indonesian
Malaysia|Kuala Lumpur|ringgit|Asia|Malay
Cambodia|Phnom Penh|riel|Asia|Khmer
Laos|Vientiane|kip|Asia|Lao
Bangladesh|Dhaka|taka|Asia|Bengali
Nepal|Kathmandu|Nepalese rupee|Asia|Nepali
Iran|Tehran|rial|Asia|Persian
Saudi Arabia|Riyadh|Saudi riyal|Asia|Arabic
Jordan|Amman|Jordanian dinar|Asia|Arabic
Georgia|Tbilisi|lari|Asia|Georgian
Armenia|Yerevan|dram|Asia|Armenian
Uzbekistan|Tashkent|Uzbek sum|Asia|Uzbek
Egypt|Cairo|Egyptian pound|Africa|Arabic
Morocco|Rabat|Moroccan dirham|Africa|Arabic
Tunisia|Tunis|Tunisian dinar|Africa|Arabic
Ghana|Accra|cedi|Africa|English
Nigeria|Abuja|naira|Africa|English
Ethiopia|Addis Ababa|birr|Africa|Amharic
Angola|Luanda|kwanza|Africa|Portuguese
Senegal|Dakar|CFA franc|Africa|French
Mozambique|Maputo|metical|Africa|Portuguese
Zambia|Lusaka|kwacha|Africa|English
Mexico|Mexico City|Mexican peso|North America|Spanish
Cuba|Havana|Cuban peso|North America|Spanish
the United States|Washington|US dollar|North America|English
Guatemala|Guatemala City|quetzal|North America|Spanish
Costa Rica|San Jose|colon|North America|Spanish
Jamaica|Kingston|Jamaican dollar|North America|English
Brazil|Brasilia|real|South America|Portuguese
Argentina|Buenos Aires|Argentine peso|South America|Spanish
Chile|Santiago|Chilean peso|South America|Spanish
Peru|Lima|sol|South America|Spanish
Colombia|Bogota|Colombian peso|South America|Spanish
Uruguay|Montevideo|Uruguayan peso|South America|Spanish
Venezuela|Caracas|bolivar|South America|Spanish
Australia|Canberra|Australian dollar|Oceania|English
"""
COUNTRIES = tuple(Country(*row.split("|")) for row in _ROWS.strip().splitlines())
UNKNOWN = (
    "Atlantis Narnia Belgium Switzerland Finland Ireland Canada Bolivia Paraguay Ecuador Panama "
    "Haiti Algeria Libya Sudan Kenya Uganda Mali Niger Chad Gabon Malta Cyprus Croatia Serbia "
    "Bulgaria Moldova Belarus Kazakhstan Pakistan India Oman Yemen Qatar Iraq Syria Lebanon Israel "
    "Fiji Samoa Tonga Honduras Nicaragua Mars Texas Bavaria Wonderland Wakanda Gondor"
).split()
CAPITAL = Phrasing(
    train=(
        *led(
            "the capital of {c}", "the capital city of {c}", "{c}'s capital", "the capital in {c}"
        ),
        "what is the capital of {c}?",
        "What is the capital of {c}?",
        "capital of {c}",
        "whats the capital of {c}",
        "{c} capital",
        "what's the capital city of {c}?",
        "tell me the capital of {c}",
        "which city is the capital of {c}?",
        "name the capital of {c}",
        "do you know the capital of {c}?",
        "give me the capital of {c}",
        "what city is the capital of {c}?",
        "{c}: what is its capital?",
        "where is the government of {c}, what is the capital?",
    ),
    heldout=(
        "the capital city of {c} is?",
        "i forgot the capital of {c}",
        "remind me what the capital of {c} is",
        "What is the name of the capital of {c}?",
    ),
)
CURRENCY = Phrasing(
    train=(
        *led(
            "the currency of {c}",
            "the money of {c}",
            "{c}'s currency",
            "the currency in {c}",
            "the money used in {c}",
            "the money people pay with in {c}",
        ),
        "what is the currency of {c}?",
        "What currency does {c} use?",
        "currency of {c}",
        "{c} currency",
        "whats the currency in {c}",
        "which currency do they use in {c}?",
        "what money do they use in {c}?",
        "what money is used in {c}?",
        "tell me the currency of {c}",
        "with what money do i pay in {c}?",
        "name the currency of {c}",
        "do you know the currency of {c}?",
        "{c}: what is its money called?",
        "give me the currency of {c}",
        "i do not remember the currency of {c}",
        "which money do they pay with in {c}?",
        "what is the money in {c} called?",
    ),
    heldout=(
        "the currency used in {c} is?",
        "i forgot the currency of {c}",
        "which money do people pay with in {c}?",
        "What is the money of {c} called?",
    ),
)
CONTINENT = Phrasing(
    train=(
        *led(
            "the continent of {c}",
            "on which continent {c} is",
            "which continent {c} is in",
            "{c}'s continent",
            "on what continent {c} lies",
        ),
        "on which continent is {c}?",
        "What continent is {c} in?",
        "continent of {c}",
        "{c} continent",
        "which continent is {c} on?",
        "whats the continent of {c}",
        "which continent does {c} belong to?",
        "tell me the continent of {c}",
        "in what part of the world is {c}?",
        "name the continent of {c}",
        "do you know on which continent {c} is?",
        "where in the world is {c}?",
        "{c} is in which continent?",
        "give me the continent of {c}",
        "{c} belongs to which continent?",
        "{c} sits on which continent?",
        "{c} is found on which continent?",
        "which continent would {c} be on?",
        "on what continent do i find {c}?",
    ),
    heldout=(
        "the continent of {c} is?",
        "i forgot on which continent {c} is",
        "{c} lies on which continent?",
        "Which continent would i find {c} on?",
    ),
)
LANGUAGE = Phrasing(
    train=(
        *led(
            "the language of {c}",
            "the language spoken in {c}",
            "{c}'s language",
            "which language people speak in {c}",
            "the main language in {c}",
        ),
        "what language is spoken in {c}?",
        "What language do they speak in {c}?",
        "language of {c}",
        "{c} language",
        "whats the language in {c}",
        "which language do people speak in {c}?",
        "what is the official language of {c}?",
        "tell me the language of {c}",
        "what do they speak in {c}?",
        "name the main language of {c}",
        "do you know the language of {c}?",
        "which language is spoken in {c}?",
        "{c}: what is its language?",
        "give me the language of {c}",
        "what language do i hear in {c}?",
        "what language will people speak to me in {c}?",
        "what language should i learn for {c}?",
        "which language would i need in {c}?",
        "i do not remember the language of {c}",
    ),
    heldout=(
        "the language spoken in {c} is?",
        "i forgot the language of {c}",
        "what language would i hear in {c}?",
        "Which language do the people of {c} speak?",
    ),
)


def draw(rng: Random, split: Split) -> Example:
    """Draw a question about a country with the answer of the table."""
    phrasing = rng.choice((CAPITAL, CURRENCY, CONTINENT, LANGUAGE))
    if split == "train" and rng.random() < 0.05:
        return Example(prompt=phrasing.say(rng, split, c=rng.choice(UNKNOWN)), answer=BEYOND)
    country = rng.choice(COUNTRIES)
    asked = country.name
    if asked.startswith("the ") and rng.random() < 0.3:
        asked = asked.removeprefix("the ")
    return Example(prompt=phrasing.say(rng, split, c=asked), answer=answer(country, phrasing))


def answer(country: Country, asked: Phrasing) -> str:
    """State the fact that a phrasing asks for.

    Example:
        >>> answer(COUNTRIES[0], CAPITAL)
        'The capital of France is Paris.'
    """
    name = country.name
    if asked is CAPITAL:
        return f"The capital of {name} is {country.capital}."
    if asked is CURRENCY:
        return f"The currency of {name} is the {country.currency}."
    if asked is CONTINENT:
        return f"{name[:1].upper()}{name[1:]} is in {country.continent}."
    return f"The main language of {name} is {country.language}."


SKILL = Skill(
    name="facts",
    summary="capital, currency, continent and language of countries",
    draw=draw,
    normalise=plain,
    normalisation="lower case, single spaces, no full stop",
    covers=f"the capital, currency, continent and main language of {len(COUNTRIES)} countries",
    beyond="other countries, populations, history, the way back from a capital to its country",
    instances_held_out=False,
)
