"""How people word a request: templates, and the carelessness they are typed with."""

from dataclasses import dataclass
from random import Random

from experts.recipe.example import Split

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
)
HELDOUT_OPENINGS = ("hello there, ", "good day! ", "question: ", "okay, ")
TRAIN_ENDINGS = (" please", " pls", " thanks", " thx", ", thank you", " asap", " please?", " :)")
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
)
"""Ways to ask for what a noun phrase names."""


def led(*cores: str) -> tuple[str, ...]:
    """Put every lead before every core: `the capital of {c}` becomes a question in many ways."""
    return tuple(lead.format(core) for lead in LEADS for core in cores)


@dataclass(frozen=True, slots=True)
class Phrasing:
    """Templates with `{slots}` for one kind of request, apart for each split."""

    train: tuple[str, ...]
    heldout: tuple[str, ...]

    def say(self, rng: Random, split: Split, *, keep_case: bool = False, **slots: object) -> str:
        """Fill a template of the split and type it the way a hurried person might."""
        template = rng.choice(self.train if split == "train" else self.heldout)
        if split == "train" and rng.random() < 0.08:
            template = _mistype(rng, template)
        return dress(rng, template.format(**slots), split, keep_case=keep_case)


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
