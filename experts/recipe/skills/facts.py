"""A table of country facts."""

from random import Random
from typing import NamedTuple

from experts.recipe.example import Example, Skill, Split, plain
from experts.recipe.skills import countries_asked, heldout
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
        "what is {c}'s capital city?",
        "what is the name of {c}'s capital?",
        "what is the capital of {c} called?",
        "what city is {c}'s capital?",
        "which city is {c}'s capital?",
        "which city is the capital city of {c}?",
        "which city serves as the capital of {c}?",
        "which is the capital of {c}?",
        "which town is the capital of {c}?",
        "which is the capital city of {c}?",
        "which city in {c} is the capital?",
        "which city does {c} have as its capital?",
        "what capital does {c} have?",
        "which capital does {c} have?",
        "the capital of {c} is which city?",
        "the capital of {c} is what?",
        "the capital of {c} is called what?",
        "{c} has which capital?",
        "{c} has which city as its capital?",
        "{c} has what capital?",
        "{c} has what city as its capital?",
        "{c}'s capital city",
        "{c}'s capital is which city?",
        "{c} - capital?",
        "{c}, capital",
        "{c}: capital",
        "{c}: capital city?",
        "{c} capital city",
        "{c}, which capital?",
        "{c} capital name",
        "capital: {c}",
        "capital? {c}",
        "capital, {c}",
        "capital city: {c}",
        "capital of {c}?",
        "capital city of {c}",
        "capital city for {c}",
        "capital for {c}",
        "capital in {c}",
        "name of the capital of {c}",
        "for {c}, what is the capital?",
        "for {c}, which city is the capital?",
        "in {c}, what is the capital?",
        "in {c}, which city is the capital?",
        "country {c}, capital?",
        "tell me what the capital of {c} is",
        "tell me which city is the capital of {c}",
        "tell me the name of the capital of {c}",
        "can you tell me what the capital of {c} is?",
        "could you tell me what the capital of {c} is?",
        "would you tell me what the capital of {c} is?",
        "can you name the capital of {c}?",
        "could you name the capital of {c}?",
        "could you name the capital city of {c}?",
        "do you know what the capital of {c} is?",
        "do you know which city is the capital of {c}?",
        "any idea what the capital of {c} is?",
        "i'd like to know what the capital of {c} is",
        "i do not know the capital of {c}",
        "i do not remember the capital of {c}",
        "i am asking for the capital of {c}",
        "i wonder what the capital of {c} is",
        "my homework asks for the capital of {c}",
        "quiz: the capital of {c}",
        "quiz: what is the capital of {c}?",
        "geography: the capital of {c}",
        "geography: what is the capital of {c}?",
        "geography question: the capital of {c}",
        "geography question: what is the capital of {c}?",
        "trivia: the capital of {c}",
        "trivia: what is the capital of {c}?",
        "remind me of the capital of {c}",
        "write the capital of {c}",
        "give the capital of {c}",
        "list the capital of {c}",
        "search the capital of {c}",
        "give me the name of the capital of {c}",
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
        "the capital city of {c} is?",
        "i forgot the capital of {c}",
        "remind me what the capital of {c} is",
        "What is the name of the capital of {c}?",
        *countries_asked.CAPITAL,
    ),
    heldout=heldout.FACTS_CAPITAL,
    loose=True,
)
CURRENCY = Phrasing(
    train=(
        "what is {c}'s money called?",
        "what is the official currency of {c}?",
        "what is the national currency of {c}?",
        "what is the local currency in {c}?",
        "what is the local money in {c}?",
        "what is the currency used in {c}?",
        "what is the name of the currency of {c}?",
        "what is the name of the money in {c}?",
        "what is the currency of {c} called?",
        "what currency does {c} have?",
        "what currency do they use in {c}?",
        "what currency do people use in {c}?",
        "what currency do i need in {c}?",
        "what currency do i need for {c}?",
        "what currency do i pay with in {c}?",
        "what currency should i take to {c}?",
        "what currency will i need in {c}?",
        "what money does {c} use?",
        "what money do they have in {c}?",
        "what money do people pay with in {c}?",
        "what money do i need in {c}?",
        "what money do i need for {c}?",
        "what money should i bring to {c}?",
        "what money is accepted in {c}?",
        "what kind of money do they use in {c}?",
        "what sort of money do they use in {c}?",
        "what type of money do they use in {c}?",
        "what kind of currency does {c} have?",
        "what type of currency does {c} have?",
        "what do people pay with in {c}?",
        "what do they pay with in {c}?",
        "what do you pay with in {c}?",
        "which currency is used in {c}?",
        "which currency does {c} use?",
        "which currency do people use in {c}?",
        "which currency do i need in {c}?",
        "which currency is accepted in {c}?",
        "which currency do i need for a trip to {c}?",
        "which money is used in {c}?",
        "which money does {c} use?",
        "which money do i need in {c}?",
        "in which currency do people pay in {c}?",
        "in which currency are prices in {c}?",
        "in which currency do i pay in {c}?",
        "in what currency do people pay in {c}?",
        "in what currency are prices in {c}?",
        "in what currency do i pay in {c}?",
        "in {c}, what currency do they use?",
        "in {c}, which currency is used?",
        "in {c}, what is the money called?",
        "for a trip to {c}, which currency do i need?",
        "for a holiday in {c}, which currency do i need?",
        "i travel to {c}, what money do i need?",
        "i am going to {c}, what money do i need?",
        "how is the currency of {c} called?",
        "how is the money in {c} called?",
        "{c} uses which currency?",
        "{c} uses what currency?",
        "{c} has which currency?",
        "{c} has what currency?",
        "{c} pays with which currency?",
        "{c} pays with what currency?",
        "{c} money",
        "{c}'s money",
        "{c} currency name",
        "{c} - currency?",
        "{c}, currency",
        "{c}: currency",
        "{c}: which currency?",
        "{c} official currency",
        "currency: {c}",
        "currency? {c}",
        "currency, {c}",
        "currency in {c}",
        "currency for {c}",
        "currency used in {c}",
        "money: {c}",
        "money in {c}",
        "money of {c}",
        "money used in {c}",
        "official currency of {c}",
        "local currency in {c}",
        "name of the currency of {c}",
        "the currency of {c} is which?",
        "the currency of {c} is what?",
        "the money used in {c} is which?",
        "the money used in {c} is what?",
        "tell me what currency {c} uses",
        "tell me which money is used in {c}",
        "tell me what money they use in {c}",
        "can you tell me which currency {c} uses?",
        "could you tell me which currency {c} uses?",
        "would you tell me which currency {c} uses?",
        "can you name the currency of {c}?",
        "can you tell me what money they use in {c}?",
        "could you name the currency of {c}?",
        "could you tell me what money they use in {c}?",
        "do you know what money they use in {c}?",
        "do you know which currency {c} uses?",
        "any idea which currency they use in {c}?",
        "i want to know which currency {c} uses",
        "i want to know what money they use in {c}",
        "i do not know the currency of {c}",
        "i am asking for the currency of {c}",
        "i wonder which currency they use in {c}",
        "write the currency of {c}",
        "give the currency of {c}",
        "list the currency of {c}",
        "remind me of the currency of {c}",
        "remind me what money they use in {c}",
        "give me the name of the money in {c}",
        "name the official currency of {c}",
        "say which currency {c} uses",
        "geography: currency of {c}",
        "geography: what is the currency of {c}?",
        "quiz: currency of {c}",
        "quiz: what is the currency of {c}?",
        "trivia: currency of {c}",
        "trivia: what is the currency of {c}?",
        "whats the money in {c}",
        "whats the money called in {c}",
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
        "the currency used in {c} is?",
        "i forgot the currency of {c}",
        "which money do people pay with in {c}?",
        "What is the money of {c} called?",
        *countries_asked.CURRENCY,
    ),
    heldout=heldout.FACTS_CURRENCY,
    loose=True,
)
CONTINENT = Phrasing(
    train=(
        "what 's {c}'s continent?",
        "what continent is {c} on?",
        "what continent is {c} part of?",
        "what continent is {c} located on?",
        "what continent does {c} belong to?",
        "what continent does {c} lie on?",
        "what continent do you find {c} on?",
        "what continent will i find {c} on?",
        "what continent contains {c}?",
        "which continent is {c} in?",
        "which continent is {c} part of?",
        "which continent is {c} located on?",
        "which continent does {c} lie in?",
        "which continent has {c}?",
        "which continent contains {c}?",
        "which continent do i find {c} on?",
        "which continent is home to {c}?",
        "which continent am i on in {c}?",
        "in which continent is {c}?",
        "in which continent is {c} located?",
        "in which continent does {c} lie?",
        "in which continent do i find {c}?",
        "in what continent is {c}?",
        "in what continent does {c} lie?",
        "in which part of the world is {c}?",
        "in which part of the world does {c} lie?",
        "on which continent is {c} located?",
        "on which continent does {c} lie?",
        "on which continent do i find {c}?",
        "on which continent can i find {c}?",
        "on what continent is {c}?",
        "on what continent is {c} located?",
        "on what continent does {c} lie?",
        "on what continent can i find {c}?",
        "to which continent does {c} belong?",
        "to what continent does {c} belong?",
        "of which continent is {c} a part?",
        "what part of the world is {c} in?",
        "which part of the world is {c} in?",
        "where is {c}, on which continent?",
        "where does {c} lie, on which continent?",
        "where on earth is {c}, which continent?",
        "if i go to {c}, which continent am i on?",
        "if i travel to {c}, which continent am i on?",
        "{c} is on which continent?",
        "{c} is on what continent?",
        "{c} is in what continent?",
        "{c} is part of which continent?",
        "{c} is part of what continent?",
        "{c} is located on which continent?",
        "{c} is located on what continent?",
        "{c} is located in which continent?",
        "{c} is located in what continent?",
        "{c} lies in which continent?",
        "{c} belongs to what continent?",
        "{c} is a country on which continent?",
        "{c} - continent?",
        "{c}, continent",
        "{c}: continent",
        "{c}: which continent?",
        "{c}, on which continent?",
        "{c} which continent",
        "{c} what continent",
        "{c} continent name",
        "continent: {c}",
        "continent? {c}",
        "continent, {c}",
        "continent for {c}",
        "continent where {c} is",
        "continent that {c} is in",
        "name of the continent of {c}",
        "the continent of {c} is which?",
        "the continent where {c} lies is which?",
        "the continent where {c} lies",
        "for {c}, what is the continent?",
        "for {c}, which continent?",
        "country {c}, continent?",
        "tell me which continent {c} is on",
        "tell me what continent {c} belongs to",
        "tell me on which continent {c} lies",
        "can you name the continent of {c}?",
        "could you name the continent of {c}?",
        "do you know what continent {c} is on?",
        "any idea on which continent {c} is?",
        "i do not know the continent of {c}",
        "i forgot which continent {c} is in",
        "i do not know which continent {c} is in",
        "i wonder on which continent {c} is",
        "remind me which continent {c} is on",
        "remind me of the continent of {c}",
        "write the continent of {c}",
        "give the continent of {c}",
        "name the continent {c} is in",
        "name the continent where {c} lies",
        "say which continent {c} belongs to",
        "geography: continent of {c}",
        "geography: which continent is {c} in?",
        "quiz: continent of {c}",
        "quiz: which continent is {c} in?",
        "trivia: continent of {c}",
        "trivia: which continent is {c} in?",
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
        "the continent of {c} is?",
        "i forgot on which continent {c} is",
        "{c} lies on which continent?",
        "Which continent would i find {c} on?",
        *countries_asked.CONTINENT,
    ),
    heldout=heldout.FACTS_CONTINENT,
    loose=True,
)
LANGUAGE = Phrasing(
    train=(
        "what is {c}'s main language?",
        "what is {c}'s official language?",
        "what's the language in {c}?",
        "what's the main language of {c}?",
        "what is the language in {c}?",
        "what is the main language of {c}?",
        "what is the main language spoken in {c}?",
        "what is the official language in {c}?",
        "what is the usual language in {c}?",
        "what is the local language in {c}?",
        "what is the national language of {c}?",
        "what is spoken in {c}?",
        "what language does {c} have?",
        "what language does {c} speak?",
        "what language does {c} use?",
        "what language is official in {c}?",
        "what language do people in {c} speak?",
        "what language do the people of {c} speak?",
        "what language do they use in {c}?",
        "what language do most people speak in {c}?",
        "what language do i need in {c}?",
        "what language do i speak in {c}?",
        "what language should i speak in {c}?",
        "what language will i hear in {c}?",
        "what language will i need in {c}?",
        "what language should i learn before going to {c}?",
        "what do people speak in {c}?",
        "what do people in {c} speak?",
        "what do the people of {c} speak?",
        "which language does {c} speak?",
        "which language does {c} use?",
        "which language does {c} have?",
        "which language is used in {c}?",
        "which language do they speak in {c}?",
        "which language do people in {c} speak?",
        "which language do most people speak in {c}?",
        "which language do i need in {c}?",
        "which language do i hear in {c}?",
        "which language is official in {c}?",
        "which language is mainly spoken in {c}?",
        "which language is the main language in {c}?",
        "which language should i learn for {c}?",
        "which language should i speak in {c}?",
        "in which language do people talk in {c}?",
        "in what language do people talk in {c}?",
        "in {c}, what language do they speak?",
        "in {c}, which language is spoken?",
        "in {c}, what do people speak?",
        "in {c} people speak which language?",
        "for a trip to {c}, which language do i need?",
        "for a holiday in {c}, which language do i need?",
        "i am going to {c}, what language do they speak there?",
        "i am moving to {c}, what language do they speak there?",
        "i am travelling to {c}, what language do they speak there?",
        "people in {c} speak which language?",
        "people in {c} speak what?",
        "they speak what in {c}?",
        "{c} speaks which language?",
        "{c} speaks what language?",
        "{c} uses which language?",
        "{c} uses what language?",
        "{c} has which main language?",
        "{c}'s main language",
        "{c}'s official language",
        "{c} main language",
        "{c} official language",
        "{c} spoken language",
        "{c} - language?",
        "{c}, language",
        "{c}: language",
        "{c}: main language",
        "{c}, which language?",
        "{c}, what do they speak?",
        "language: {c}",
        "language? {c}",
        "language, {c}",
        "language in {c}",
        "language for {c}",
        "language spoken in {c}",
        "language used in {c}",
        "main language of {c}",
        "main language in {c}",
        "official language of {c}",
        "official language in {c}",
        "main language: {c}",
        "the language of {c} is which?",
        "the language of {c} is what?",
        "the main language of {c} is which?",
        "the main language of {c} is what?",
        "the language spoken in {c} is which?",
        "the language spoken in {c} is what?",
        "tell me what language they speak in {c}",
        "tell me which language is spoken in {c}",
        "tell me what people speak in {c}",
        "can you tell me what language they speak in {c}?",
        "could you tell me what language they speak in {c}?",
        "would you tell me what language they speak in {c}?",
        "can you name the language of {c}?",
        "can you name the main language of {c}?",
        "could you name the language of {c}?",
        "could you name the main language of {c}?",
        "do you know what they speak in {c}?",
        "do you know which language is spoken in {c}?",
        "any idea what language they speak in {c}?",
        "i want to know what language they speak in {c}",
        "i need to know what language they speak in {c}",
        "i forgot what language they speak in {c}",
        "i do not know what language they speak in {c}",
        "i do not know the language of {c}",
        "i wonder what language they speak in {c}",
        "remind me of the language of {c}",
        "remind me what they speak in {c}",
        "state the main language of {c}",
        "write the main language of {c}",
        "write down the main language of {c}",
        "show me the main language of {c}",
        "give the main language of {c}",
        "check the main language of {c}",
        "give me the main language of {c}",
        "say which language they speak in {c}",
        "geography: language of {c}",
        "geography: which language is spoken in {c}?",
        "quiz: language of {c}",
        "quiz: which language is spoken in {c}?",
        "trivia: language of {c}",
        "trivia: which language is spoken in {c}?",
        "whats the main language of {c}",
        "whats spoken in {c}",
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
        "the language spoken in {c} is?",
        "i forgot the language of {c}",
        "what language would i hear in {c}?",
        "Which language do the people of {c} speak?",
        *countries_asked.LANGUAGE,
    ),
    heldout=heldout.FACTS_LANGUAGE,
    loose=True,
)


def draw(rng: Random, split: Split) -> Example:
    """Draw a question about a country with the answer of the table."""
    phrasing = rng.choice((CAPITAL, CURRENCY, CONTINENT, LANGUAGE))
    if split == "train" and rng.random() < 0.05:
        chosen = _choices(rng, split, phrasing, "")
        prompt = phrasing.say(rng, split, c=rng.choice(UNKNOWN), **chosen)
        return Example(prompt=prompt, answer=BEYOND)
    country = rng.choice(COUNTRIES)
    asked = country.name
    if asked.startswith("the ") and rng.random() < 0.3:
        asked = asked.removeprefix("the ")
    chosen = _choices(rng, split, phrasing, country.continent)
    prompt = phrasing.say(rng, split, c=asked, **chosen)
    return Example(prompt=prompt, answer=answer(country, phrasing))


def _choices(rng: Random, split: Split, asked: Phrasing, right: str) -> dict[str, str]:
    """Draw the continents that a training question offers; others offer none."""
    if split == "train" and asked is CONTINENT:
        return countries_asked.choices(rng, right)
    return {}


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
