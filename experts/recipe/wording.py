"""How people word a request: templates, and the carelessness they are typed with."""

from dataclasses import dataclass
from random import Random

from experts.recipe.example import Split

IDLE = tuple(
    "the a an all please me my our your this that these just now can you could i we to here simply "
    "exactly actually quickly kindly again today really then also maybe some any for so it".split()
)
"""Words that may come and go without changing what is asked."""

SYLLABLES = [first + vowel for first in "bcdfghklmnprstvwz" for vowel in "aeiou"]

TRAIN_OPENINGS = (
    "please ",
    "hi, ",
    "hey, ",
    "quick question: ",
    "can you help? ",
    "um, ",
    "ok so ",
    "hello! ",
    "pls ",
    "one more: ",
    "i need help: ",
    "q: ",
    "so ",
    "now ",
    "tell me: ",
    "dear assistant, ",
    "excuse me, ",
    "hi! ",
    "hello, ",
    "hey! ",
    "good morning, ",
    "good evening! ",
    "well, ",
    "and ",
    "also, ",
    "hmm, ",
    "right, ",
    "sorry, ",
    "just wondering, ",
    "next: ",
    "another one: ",
    "last one: ",
    "by the way, ",
    "for school: ",
    "homework: ",
    "quickly: ",
    "a small one: ",
    "help: ",
    "my friend asks: ",
    "thanks! now ",
)
HELDOUT_OPENINGS = ("hello there, ", "good day! ", "question: ", "okay, ")
TRAIN_ENDINGS = (
    " please",
    " pls",
    " thanks",
    " thx",
    ", thank you",
    " asap",
    " please?",
    " :)",
    " thank you",
    " thank you!",
    ", please",
    ", thx",
    " ty",
    "? thanks",
    "? thank you",
    " now",
    " quickly",
    "!",
    "...",
    " please!",
    ", many thanks",
    " ;)",
    ", i need it soon",
)
HELDOUT_ENDINGS = (" cheers", ", thanks a lot", " if you can")

LEADS = (
    "what is {}?",
    "What is {}?",
    "whats {}",
    "what's {}?",
    "tell me {}",
    "name {}",
    "give me {}",
    "do you know {}?",
    "can you tell me {}?",
    "i want to know {}",
    "i would like to know {}",
    "i need {}",
    "what was {} again?",
    "look up {}",
    "find {}",
    "say {}",
    "help me with {}",
    "{}",
    "{}?",
    "{} please",
    "i cannot remember {}",
    "is it hard to say what {} is?",
    "please tell me {}",
    "please give me {}",
    "could you tell me {}?",
    "would you tell me {}?",
    "can you give me {}?",
    "can you find {}?",
    "could you look up {}?",
    "can you find out {}?",
    "let me know {}",
    "show me {}",
    "write down {}",
    "do you remember {}?",
    "i don't know {}",
    "i need to know {}",
    "I'd like to know {}.",
    "i am looking for {}",
    "i was wondering about {}",
    "help me find {}",
    "just tell me {}",
    "someone asked me {}",
    "we need to know {}",
    "can i have {}?",
    "may i ask {}?",
    "state {}",
    "{}, do you know it?",
    "{}, what is it?",
    "what would {} be?",
    "check {}",
)
"""Ways to ask for what a noun phrase names."""


def led(*cores: str) -> tuple[str, ...]:
    """Put every lead before every core: `the capital of {c}` becomes a question in many ways."""
    return tuple(lead.format(core) for lead in LEADS for core in cores)


@dataclass(frozen=True, slots=True)
class Phrasing:
    """Templates with `{slots}` for one kind of request, apart for each split.

    Where `loose`, words that say nothing come and go in training, so that what is learnt are the
    words that matter.
    """

    train: tuple[str, ...]
    heldout: tuple[str, ...]
    loose: bool = False

    def __post_init__(self) -> None:
        """Keep what is held out from training, except for whole messages: `hi` is learnt."""
        if any("{" in template for template in self.heldout):
            object.__setattr__(self, "train", apart(self.train, self.heldout))
        else:
            object.__setattr__(self, "heldout", apart(self.heldout, self.train))

    def say(self, rng: Random, split: Split, *, keep_case: bool = False, **slots: object) -> str:
        """Fill a template of the split and type it the way a hurried person might."""
        template = rng.choice(self.train if split == "train" else self.heldout)
        if split == "train":
            template = hurry(rng, template, loose=self.loose)
        return dress(rng, template.format(**slots), split, keep_case=keep_case)


def hurry(rng: Random, template: str, *, loose: bool) -> str:
    """Type a training template in haste: idle words, a slip of the finger, a capital."""
    if loose:
        template = _loosen(rng, template)
    if rng.random() < 0.08:
        template = _mistype(rng, template)
    if rng.random() < 0.4:  # else a capital would be the mark of a name
        template = template[:1].upper() + template[1:]
    return template


def apart(some: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...]:
    """Leave out of some templates those that are among the others, give or take case and dots."""
    taken = {bare(template) for template in others}
    return tuple(template for template in some if bare(template) not in taken)


def dress(rng: Random, text: str, split: Split, *, keep_case: bool = False) -> str:
    """Vary case, final punctuation and courtesy without changing what is asked."""
    if rng.random() < 0.3:
        text = text.rstrip("?.!")
    if not keep_case and rng.random() < 0.35:
        text = text.lower()
    if rng.random() < 0.12:
        openings = TRAIN_OPENINGS if split == "train" else HELDOUT_OPENINGS
        text = rng.choice(openings) + text
    if rng.random() < 0.08:
        endings = TRAIN_ENDINGS if split == "train" else HELDOUT_ENDINGS
        text = text.rstrip("?.!") + rng.choice(endings)
    return text


def bare(template: str) -> str:
    """Leave out what `dress` varies: case and the last punctuation."""
    return " ".join(template.lower().rstrip("?.! ").split())


def _loosen(rng: Random, template: str) -> str:
    words = template.split(" ")
    if rng.random() < 0.2:
        idle = [at for at, word in enumerate(words) if word.lower() in IDLE]
        if idle:
            del words[rng.choice(idle)]
    while rng.random() < 0.25:
        made_up = "".join(rng.choices(SYLLABLES, k=rng.randrange(1, 4)))
        word = rng.choice(IDLE) if rng.random() < 0.6 else made_up
        words.insert(rng.randrange(len(words) + 1), word)
    return " ".join(words)


def _mistype(rng: Random, template: str) -> str:
    words = template.split(" ")
    at = rng.randrange(len(words))
    word = words[at]
    if len(word) < 4 or not word.isalpha():
        return template
    letter = rng.randrange(1, len(word) - 1)
    if rng.random() < 0.5:
        words[at] = word[:letter] + word[letter + 1 :]
    else:
        words[at] = word[:letter] + word[letter + 1] + word[letter] + word[letter + 2 :]
    return " ".join(words)
