"""Secrets of a foreign file: a reference takes the place of each, and none is ever copied."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from coe.composition.check_backends import base_url

_NAME = r"([A-Za-z_][A-Za-z0-9_]*)"
# `os.environ/X` (LiteLLM), `${env.X}` (llama-swap), `${env:X}` (ours), `${X}`, `${X:-...}`, `$X`
_WHOLE = re.compile(
    rf"os\.environ/{_NAME}|\$\{{(?:env[.:])?{_NAME}(?::?-[^{{}}]*)?\}}|\${_NAME}", re.ASCII
)
_INSIDE = re.compile(rf"\$\{{(?:env[.:])?{_NAME}\}}")
# What people write where a key is wanted and none is needed.
_PLACEHOLDERS = frozenset(
    {"dummy", "empty", "fake", "fake-key", "na", "no-key", "none", "not-needed", "null", "unused"}
)


class Credentials:
    """Which environment variable holds which secret. The same secret is one variable."""

    def __init__(self) -> None:
        self._variables: dict[str, str] = {}
        self._taken: set[str] = set()

    def expect(self, text: str) -> None:
        """Take the name that a text refers to, where it does, before literals get theirs."""
        if name := variable(text):
            self._taken.add(name)

    def reference(self, text: str, wish: str) -> tuple[str, str]:
        """Return (reference, variable to set); the latter is empty where the text was a reference.

        Args:
            text: the secret, or what refers to it.
            wish: what a variable for it might be called.
        """
        if name := variable(text):
            self._taken.add(name)
            return f"${{env:{name}}}", ""
        if text not in self._variables:
            safe = re.sub(r"[^A-Z0-9]+", "_", wish.upper(), flags=re.ASCII).strip("_")[:60]
            safe = safe if safe and not safe[0].isdigit() else f"KEY_{safe}".rstrip("_")
            name, number = safe, 1
            while name in self._taken:
                number += 1
                name = f"{safe}_{number}"
            self._taken.add(name)
            self._variables[text] = name
        name = self._variables[text]
        return f"${{env:{name}}}", name


def variable(text: str) -> str:
    """Return the environment variable that a text stands for; empty where it is none.

    Example:
        >>> variable("os.environ/OPENAI_API_KEY"), variable("${env.KEY}"), variable("sk-1")
        ('OPENAI_API_KEY', 'KEY', '')
    """
    match = _WHOLE.fullmatch(text.strip())
    return next(filter(None, match.groups()), "") if match else ""


def is_placeholder(text: str) -> bool:
    """Whether a text stands where a key is wanted and says that there is none."""
    return text.strip().lower() in _PLACEHOLDERS


def address(text: str) -> tuple[str, str]:
    """Return (address that a backend can have, what was taken away); the address may be empty.

    Names and passwords, queries and fragments are never kept: a key may be among them.

    Example:
        >>> address("http://u:secret@10.0.0.5:8000/v1?key=secret")
        ('http://10.0.0.5:8000/v1', 'a name or password, a query or fragment')
        >>> address("os.environ/API_BASE")
        ('${env:API_BASE}', '')
    """
    if name := variable(text):
        return f"${{env:{name}}}", ""
    text = _INSIDE.sub(lambda match: f"${{env:{match[1]}}}", text.strip())
    plain = re.sub(r"\$\{env:\w+\}", "0", text)
    try:
        parts = urlsplit(plain)
        # A slash in a password cuts it in two; and what is no name of a variable is no address.
        if "@" in parts.path or "${" in plain:
            raise ValueError
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")
        base_url(bare.geturl())
    except ValueError:
        return "", "all of it: it is no http or https address"
    gone = []
    if "@" in parts.netloc:
        gone.append("a name or password")
    if parts.query or parts.fragment:
        gone.append("a query or fragment")
    if not gone:
        return text, ""
    if plain != text:
        return "", "all of it: it has more than an address in it"
    return bare.geturl(), ", ".join(gone)
