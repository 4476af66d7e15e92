"""Checks of backends, and of the plugins that backends, encoders and routers name."""

from __future__ import annotations

from importlib.metadata import entry_points
from urllib.parse import SplitResult, urlsplit

from coe.composition.document import KeyPath
from coe.composition.expert_keys import BackendKeys
from coe.composition.models import FileKeys
from coe.composition.references import References, check_secret, heads_a_secret, names_a_secret
from coe.composition.report import Report, suggestion

# Types that run in this process or find their servers by themselves; what a third party's type
# needs is for its factory to say.
WITHOUT_SERVER = "local"
WITH_URL = frozenset(
    {
        "openai",
        "vllm",
        "sglang",
        "lorax",
        "ollama",
        "llamacpp",
        "llama_cpp_python",
        "llama_swap",
    }
)


def check_plugins(file: FileKeys, report: Report) -> None:
    """Every `type` is the name of an installed plugin."""
    for section, group in (
        ("backends", "coe.backends"),
        ("encoders", "coe.encoders"),
        ("routers", "coe.routers"),
    ):
        entries: dict[str, BackendKeys] = getattr(file, section)
        if not entries:
            continue
        installed = sorted({point.name for point in entry_points(group=group)})
        for name, entry in entries.items():
            if entry.type not in installed:
                hint = suggestion(entry.type, installed, what="installed")
                hint = hint if installed else "install coe-gateway itself: `pip install -e .`"
                message = f"no `{group}` plugin is named `{entry.type:.60}`"
                report.error((section, name, "type"), message, hint)


def check_backends(file: FileKeys, report: Report, references: References) -> None:
    """Addresses can be used, secrets are not in the file, and the reserve fits the memory."""
    for name, backend in file.backends.items():
        path: KeyPath = ("backends", name)
        _check_secrets(backend, report, path)
        _check_url(backend, report, references, path)
        is_known = not report.has_broken((*path, "memory"))
        if is_known and backend.reserve is not None and backend.reserve >= (backend.memory or 0):
            report.error(
                (*path, "reserve"),
                "nothing is left for experts: `reserve` is not smaller than `memory`",
                "lower it" if backend.memory is not None else "add `memory`",
            )
    for section in ("encoders", "routers"):
        for name, entry in getattr(file, section).items():
            for key, value in entry.options.items():
                if isinstance(value, str) and names_a_secret(key):
                    check_secret(report, value, (section, name, key))


def base_url(text: str) -> str:
    """Return the address to build on: `/v1` is added where an http address has no path.

    Example:
        >>> base_url("http://127.0.0.1:11434")
        'http://127.0.0.1:11434/v1'

    Raises:
        ValueError: not an http or https address; the message does not repeat it.
    """
    parts = _split(text.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("not an http or https address")
    if parts.query or parts.fragment:
        raise ValueError("an address with a query or a fragment cannot be built on")
    path = parts.path.rstrip("/") or "/v1"
    return f"{parts.scheme}://{parts.netloc}{path}"


def split_address(listen: str) -> tuple[str, int]:
    """Return (host, port) of `HOST:PORT`.

    Raises:
        ValueError: not that, or a port outside 0 to 65535.
    """
    parts = _split(f"//{listen.strip()}")
    if not parts.hostname or parts.port is None or parts.path or "@" in parts.netloc:
        raise ValueError(f"`{listen:.60}` is not `HOST:PORT`")
    return parts.hostname, parts.port


def _split(text: str) -> SplitResult:
    # A space or a control character would be dropped or sent as it is, depending on the client.
    if not text.isprintable() or " " in text:
        raise ValueError("an address has no spaces")
    parts = urlsplit(text)
    _ = parts.port  # raises where the port is no number from 0 to 65535
    return parts


def _check_secrets(backend: BackendKeys, report: Report, path: KeyPath) -> None:
    if backend.api_key is not None:
        check_secret(report, backend.api_key, (*path, "api_key"))
    for header, value in backend.headers.items():
        if heads_a_secret(header):
            check_secret(report, value, (*path, "headers", header))
    for key, value in backend.options.items():
        if isinstance(value, str) and names_a_secret(key):
            check_secret(report, value, (*path, "options", key))


def _check_url(backend: BackendKeys, report: Report, references: References, path: KeyPath) -> None:
    at = (*path, "url")
    if backend.url is None:
        if backend.type in WITH_URL:
            message = f"a backend of type `{backend.type}` needs a `url`"
            report.error(path, message, "such as `url: http://127.0.0.1:8000/v1`", key=True)
        return
    if backend.type == WITHOUT_SERVER:
        report.error(at, "the embedded engine runs in this process and has no url", "remove it")
        return
    url = references.resolve(backend.url, at)
    if references.is_missing(at):
        return
    try:
        base_url(url)
        has_password = _split(backend.url).password if "${" not in backend.url else None
    except ValueError as error:
        report.error(at, f"cannot be used: {error}", "such as `http://127.0.0.1:11434`")
        return
    if has_password:
        report.error(at, "a literal password in the address", "use `api_key` or a reference")
