"""What is looked for in a text, each by a library that others keep up; loaded when it is needed.

    secrets   detect-secrets: tokens and keys whose shape tells what they are
    email     email-validator, of whatever stands around an @
    phone     phonenumbers: numbers that could be dialled; with their +, or as in given countries
    card      13 to 19 digits of an issuer's range with a right check digit (python-stdnum)
    iban      python-stdnum: country, length and check digits are right

What they miss: a password in prose has no shape, nor has a name; addresses of reserved domains
(`.test`, `.local`) are none; a number in words is no number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import NamedTuple

Finder = Callable[[str], bool]
"""Whether there is one in a text."""


class Shape(NamedTuple):
    """A plugin of detect-secrets for something of a certain shape.

    Attributes:
        plugin: its module and its class.
        needs: one of these, in small letters, is in every hit: without it nothing is tried.
        around: how many characters before and after it are looked at; None for the whole text. For
            expressions whose time grows with the square of the text.
    """

    plugin: str
    needs: tuple[str, ...]
    around: tuple[int, int] | None = None


_GITLAB = ("glpat-", "gldt-", "glft-", "glsoat-", "glrt-", "gr1348941", "glcbt-", "glimt-")

# Left out are plugins that need a variable's name and an assignment around a value that could be
# anything (they are made for source code: most questions about code would be secret), measures of
# entropy, and addresses.
SHAPES = (
    Shape("aws.AWSKeyDetector", ("a3t", "abia", "acca", "akia", "asia", "aws")),
    Shape("azure_storage_key.AzureStorageKeyDetector", ("accountkey=",)),
    Shape("basic_auth.BasicAuthDetector", ("://",)),
    Shape("discord.DiscordBotTokenDetector", (".",)),
    Shape("github_token.GitHubTokenDetector", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_")),
    Shape("gitlab_token.GitLabTokenDetector", (*_GITLAB, "glptt-", "glagent-", "gloas-")),
    Shape("jwt.JwtTokenDetector", ("eyj",)),
    Shape("mailchimp.MailchimpDetector", ("-us",)),
    Shape("npm.NpmDetector", ("_authtoken=",), around=(200, 100)),
    Shape("openai.OpenAIDetector", ("t3blbkfj",), around=(200, 50)),
    Shape("private_key.PrivateKeyDetector", ("private key", "putty-user-key-file-2")),
    Shape("pypi_token.PypiTokenDetector", ("pypi-",)),
    Shape("sendgrid.SendGridDetector", ("sg.",)),
    Shape("slack.SlackDetector", ("xox", "hooks.slack.com")),
    Shape("square_oauth.SquareOAuthDetector", ("sq0csp-",)),
    Shape("stripe.StripeDetector", ("k_live_",)),
    Shape("telegram_token.TelegramBotTokenDetector", (":",)),
    Shape("twilio.TwilioKeyDetector", ("ac", "sk")),
)

_LOCAL = re.compile(r"[^\s<>()\[\]{},;:\"'`|@]{1,64}\Z")
_DOMAIN = re.compile(r"[^\s<>()\[\]{},;:\"'`|@/]{3,253}")
_DIALLED = re.compile(r"[+\uff0b] ?\(?\d[\d ().\-/\u00a0]{5,24}\d")
_DIGITS = re.compile(r"(?<!\d)\(?\d[\d ().\-/\u00a0]{5,24}\d(?!\d)")
_CARD = re.compile(r"(?<![\d.])\d(?:[ -]?\d){12,18}(?![\d])")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}")
_LEAST_IBAN = 15
# Ranges of issuers: Visa, Mastercard (two), American Express, Discover (two), JCB, Diners (two),
# UnionPay, Maestro. One number of ten passes the check by chance.
_ISSUER = re.compile(
    r"4|5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)|3[47]|6011|6[45]|35(?:2[89]|[3-8])|3(?:0[0-5]|6|8)"
    r"|62|5[06-9]|6[37]"
)


def secrets() -> Finder:
    """Return who finds tokens and keys of a known shape."""
    plugins = [(_plugin(shape.plugin), shape) for shape in SHAPES]

    def find(text: str) -> bool:
        low = text.lower()
        if len(low) != len(text):  # a few letters become two when they are small
            low = "".join(small if len(small := letter.lower()) == 1 else " " for letter in text)
        return any(analyse(part) for analyse, shape in plugins for part in _parts(shape, text, low))

    return find


def email() -> Finder:
    """Return who finds addresses of e-mail."""
    from email_validator import validate_email

    def is_one(candidate: str) -> bool:
        try:
            validate_email(candidate, check_deliverability=False)
        except ValueError:
            return False
        return True

    def find(text: str) -> bool:
        return any(map(is_one, _addresses(text)))

    return find


def phone(countries: tuple[str, ...] = ()) -> Finder:
    """Return who finds phone numbers: with their +, and as people in some countries write them."""
    from phonenumbers import PhoneNumberMatcher

    def is_one(candidate: str) -> bool:
        regions = (None,) if candidate[0] in "+\uff0b" else countries
        return any(PhoneNumberMatcher(candidate, region).has_next() for region in regions)

    def find(text: str) -> bool:
        if ("+" in text or "\uff0b" in text) and any(map(is_one, _DIALLED.findall(text))):
            return True
        return bool(countries) and any(map(is_one, _DIGITS.findall(text)))

    return find


def card() -> Finder:
    """Return who finds numbers of payment cards."""
    from stdnum import luhn

    def is_one(candidate: str) -> bool:
        digits = re.sub(r"\D", "", candidate)
        return _ISSUER.match(digits) is not None and luhn.is_valid(digits)

    def find(text: str) -> bool:
        return any(map(is_one, _CARD.findall(text)))

    return find


def iban() -> Finder:
    """Return who finds numbers of bank accounts."""
    from stdnum import iban as numbers

    def is_one(candidate: str) -> bool:
        compact = candidate.replace(" ", "")
        # What follows in capitals may have been taken for a part of it.
        lengths = range(_LEAST_IBAN, len(compact) + 1)
        return any(numbers.is_valid(compact[:length]) for length in lengths)

    def find(text: str) -> bool:
        return any(map(is_one, _IBAN.findall(text)))

    return find


def _plugin(path: str) -> Finder:
    module, _, name = path.rpartition(".")
    plugin = getattr(import_module(f"detect_secrets.plugins.{module}"), name)()

    def has_one(text: str) -> bool:
        return any(True for _ in plugin.analyze_string(text))

    return has_one


def _parts(shape: Shape, text: str, low: str) -> Iterator[str]:
    """Yield what a plugin looks at of a text: nothing, all of it, or what is around its needs."""
    for need in shape.needs:
        place = low.find(need)
        if place >= 0 and shape.around is None:
            yield text
            return
        while place >= 0 and shape.around is not None:
            before, after = shape.around
            yield text[max(0, place - before) : place + after]
            place = low.find(need, place + 1)


def _addresses(text: str) -> Iterator[str]:
    """Yield what stands around each @, without the dot that ends a sentence."""
    place = text.find("@")
    while place >= 0:
        local = _LOCAL.search(text, max(0, place - 64), place)
        domain = _DOMAIN.match(text, place + 1)
        if local is not None and domain is not None and "." in domain[0]:
            yield f"{local[0].lstrip('*_')}@{domain[0].rstrip('.!?*_')}"
        place = text.find("@", place + 1)
