"""How far away a server is: what goes there stays on this machine, with us, or leaves."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Literal, get_args
from urllib.parse import urlsplit

Trust = Literal["local", "private", "external"]
TRUSTS: tuple[Trust, ...] = get_args(Trust)

_IN_PROCESS = frozenset({"local", "program"})


def trust_of(kind: str, url: str | None) -> Trust:
    """Return how far away a backend or an encoder is, where the file does not say.

    `local` is what runs in this process, and a server on loopback; every other address is
    `external`, and so is a type that finds its servers by itself. Nothing is `private` of itself.

    Args:
        kind: the type of backend, or of encoder.
        url: its address; None where it has none.

    Example:
        >>> trust_of("openai", "http://127.0.0.1:8001/v1"), trust_of("openai", "http://10.0.0.5/v1")
        ('local', 'external')
    """
    if url is None:
        return "local" if kind in _IN_PROCESS else "external"
    return "local" if is_loopback(url) else "external"


def is_loopback(url: str) -> bool:
    """Whether an address is on this machine, whatever a name server says."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
