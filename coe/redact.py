"""Keys in texts: what looks like one is replaced before a text is shown or written down. Pure."""

from __future__ import annotations

import re

_SECRET = re.compile(
    r"\b(?:bearer\s+\S+"
    r"|(?:sk|pk|hf|gsk|xai|key|AIza|gh[oprsu]|glpat|xox[abp])[-_][\w*.-]{6,}"
    r"|AIza[\w-]{20,}|(?:AKIA|ASIA)[A-Z0-9]{12,}"
    r"|eyJ[\w-]{8,}\.[\w.-]+)",  # a JSON web token
    re.IGNORECASE,
)
_NAMED = re.compile(
    r"((?:api[-_ ]?key|access[-_]?key|token|secret|password|authorization)[\"']?\s*[:=]\s*[\"']?"
    r"(?:\w+\s+)?)[\w+/=.~*-]{8,}",
    re.IGNORECASE,
)


def without_keys(text: str) -> str:
    """Return a text with `[key]` in the place of what looks like a credential.

    Example:
        >>> without_keys("use sk-abcdef123456, or password: hunter2hunter2")
        'use [key], or password: [key]'
    """
    text = _SECRET.sub(lambda found: "[key]" + ("," if found[0].endswith(",") else ""), text)
    return _NAMED.sub(r"\1[key]", text)
