"""Names of people and things, known and made up, so that copying is learnt rather than names."""

from random import Random

from experts.recipe.example import Split, belongs_to

PEOPLE = (
    "Ana Bob Clara David Emma Felix Greta Hugo Ines Jack Karen Liam Mia Noah Olga Paul Quinn "
    "Rosa Sam Tina Uma Victor Wendy Xavier Yara Zoe Alice Ben Carlos Diana Erik Fatima George "
    "Hannah Ivan Julia Kofi Lena Marco Nadia Oscar Priya Ravi Sara Tom Ursula Vera Walter "
    "Yusuf Zara Amir Bella Chen Dora Elif Frank Gina Hiro Ida Jonas Kim Laura Max Nina Omar "
    "Petra Rita Sofia Theo"
).split()
PLACES = (
    "Rome Paris London Berlin Madrid Oslo Lima Tokyo Cairo Dublin Vienna Prague Lisbon Athens "
    "Boston Chicago Denver Seattle Toronto Sydney Delhi Lagos Nairobi Seoul Geneva Zurich Milan "
    "Lyon Porto Bergen Turin Leeds Munich Hamburg Naples Bristol Dallas Austin Quito Havana"
).split()
THINGS = (
    "apples lamps chairs pens notebooks cups shirts books bags bikes candles mugs plates "
    "shoes hats tables phones keyboards bottles blankets clocks ropes towels pillows kettles "
    "spoons screws bricks stamps tents radios guitars cables plants mirrors brushes jars "
    "knives buckets ladders"
).split()
COMPANIES = "Acme Nova Zenith Orbit Globex Initech Umbra Vertex Lumen Delta Apex Quanta".split()
SYLLABLES = (
    "ba be bi bo da de di do fa fe ga go ka ke ki ko la le li lo ma me mi mo na ne ni no pa pe "
    "ra re ri ro sa se si so ta te ti to va ve vi vo za zo lan mar tin sel dor ven kal ron bel"
).split()


ONSETS = (
    "b c d f g h j k l m n p q r s t v w x y z br ch cl cr dr fl fr gl gr kl kr ph pl pr qu sh sk "
    "sl sm sn sp st str sw th tr tw wh"
).split()
CORES = "a e i o u a e i o u ai au ea ee ei ie oa oo ou ui y".split()
CODAS = ("", *"b ck d ff g k l ll m mb n nd ng nt p r rd rk rt s sh sk ss st t th tor x z".split())


def person(rng: Random, split: Split) -> str:
    """Name a person; a third of the names are made up, and more while training."""
    return _name(rng, split, PEOPLE)


def place(rng: Random, split: Split) -> str:
    """Name a town; a third of the names are made up, and more while training."""
    return _name(rng, split, PLACES)


def company(rng: Random, split: Split) -> str:
    """Name a company; a third of the names are made up, and more while training."""
    return _name(rng, split, COMPANIES)


def thing(rng: Random) -> str:
    """Name goods, in the plural."""
    return rng.choice(THINGS)


def _name(rng: Random, split: Split, known: list[str]) -> str:
    if split == "train" and rng.random() < 0.4:
        return strange(rng).capitalize()
    while True:
        made_up = "".join(rng.choices(SYLLABLES, k=rng.randrange(2, 4))).capitalize()
        name = made_up if rng.random() < 0.34 else rng.choice(known)
        if belongs_to(split, name):
            return name


def strange(rng: Random) -> str:
    """Make up a word of any shape: a name that nobody has shown is spelt by its letters."""
    parts = range(rng.randrange(1, 4))
    return "".join(rng.choice(ONSETS) + rng.choice(CORES) for _ in parts) + rng.choice(CODAS)
