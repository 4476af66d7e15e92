"""Checks of experts: what they stand on exists, fits, and can do what is asked of it."""

from __future__ import annotations

from pathlib import Path

from coe.composition.check_programs import program_keys
from coe.composition.document import KeyPath
from coe.composition.expert_keys import ExpertKeys
from coe.composition.models import FileKeys
from coe.composition.names import check_known
from coe.composition.report import Report, suggestion
from coe.composition.units import format_size

WITHOUT_LORA = frozenset({"litellm"})
CAPABILITIES = frozenset(
    {"audio", "chat", "embeddings", "fim", "json", "logprobs", "reasoning", "tools", "vision"}
)


def check_experts(file: FileKeys, report: Report, folder: Path) -> None:
    """Report experts that cannot run."""
    for name, expert in file.experts.items():
        path: KeyPath = ("experts", name)
        _check_capabilities(expert, report, path)
        if expert.share is not None and expert.status != "canary":
            message = f"a share is for canaries, and its status is `{expert.status}`"
            report.error((*path, "share"), message, "remove it or write `status: canary`", key=True)
        _check_cost(expert, report, path)
        _check_fits(name, file, report)
        if any(report.has_broken((*path, key)) for key in ("kind", "base", "adapter")):
            continue  # what it is meant to be is not known
        if program_keys(expert):
            continue  # see `check_programs`
        if is_lora(expert):
            _check_lora(name, file, report, folder)
        else:
            _check_llm(expert, report, path)
            if expert.backend is not None:
                check_known(report, "backends", expert.backend, (*path, "backend"))
            if expert.model is not None and _is_local(file, expert.backend):
                _check_folder(expert.model, "config.json", (*path, "model"), report, folder)


def is_lora(expert: ExpertKeys) -> bool:
    """Whether an expert is an adapter on another one."""
    if program_keys(expert):
        return False
    return expert.kind == "lora" or (expert.kind is None and expert.base is not None)


def _check_cost(expert: ExpertKeys, report: Report, path: KeyPath) -> None:
    """Both prices are there, or none: what a call costs is not known by one of them."""
    cost = expert.cost
    if cost is None or (cost.input is None) == (cost.output is None):
        return
    missing, of = ("output", "answers") if cost.output is None else ("input", "prompts")
    given = cost.input or cost.output
    assert given is not None  # noqa: S101 - one of them is
    hint = f"add `{missing}`; `{missing}: 0 {given[1]}/M` where {of} cost nothing"
    report.error((*path, "cost"), f"there is no price for {of}", hint)


def _check_llm(expert: ExpertKeys, report: Report, path: KeyPath) -> None:
    if expert.kind == "program":
        hint = "add `recipe`, `cached`, `constant` or `refuse`"
        report.error((*path, "kind"), "nothing says which program it is", hint)
        return
    for key in ("backend", "model"):
        if getattr(expert, key) is None:
            hint = "add it, or `base` where this is a LoRA adapter"
            report.error(path, f"`{key}` is missing", hint, key=True)
    for key in ("base", "adapter"):
        if getattr(expert, key) is not None:
            hint = "add `base`" if key == "adapter" else "write `kind: lora` or remove it"
            report.error((*path, key), f"`{key}` is for LoRA adapters", hint, key=True)


def _check_lora(name: str, file: FileKeys, report: Report, folder: Path) -> None:
    expert, path = file.experts[name], ("experts", name)
    for key in ("backend", "model"):
        if getattr(expert, key) is not None:
            message = f"a LoRA adapter has the `{key}` of its base"
            report.error((*path, key), message, "remove it", key=True)
    if expert.adapter is None:
        report.error(path, "`adapter` is missing", "name the folder of its weights", key=True)
    if expert.base is None:
        report.error(path, "a LoRA adapter without `base`", "name the expert it adapts", key=True)
        return
    if not check_known(report, "experts", expert.base, (*path, "base")):
        return
    base = file.experts.get(expert.base)
    if base is None:
        return
    if is_lora(base) or program_keys(base):
        what = "prompt program" if program_keys(base) else "LoRA adapter itself"
        message = f"its base `{expert.base}` is a {what}"
        report.error((*path, "base"), message, "name the whole model under it")
        return
    backend = file.backends.get(base.backend or "")
    if backend is not None and backend.type in WITHOUT_LORA:
        message = f"the backend `{base.backend}` of its base is of type `{backend.type}`"
        report.error((*path, "base"), f"{message}, which loads no LoRA adapters", "use another")
    elif expert.adapter is not None and _is_local(file, base.backend):
        at = (*path, "adapter", "source")
        _check_folder(expert.adapter.source, "adapter_config.json", at, report, folder)


def _is_local(file: FileKeys, backend: str | None) -> bool:
    return backend in file.backends and file.backends[backend].type == "local"


def _check_folder(text: str, needed: str, path: KeyPath, report: Report, folder: Path) -> None:
    """Report a path that does not lead to weights.

    `organisation/name` may be a Hugging Face name: it is taken as a path only where its first part
    is a folder here.
    """
    marked = text.startswith((".", "/", "~"))
    if "://" in text or "${" in text or not (marked or "/" in text):
        return
    where = _under(folder, text)
    if not marked and text.count("/") == 1 and not _is_folder(folder / text.partition("/")[0]):
        report.warning(
            path,
            f"no folder {where}: taken as a Hugging Face name",
            "start a path with `./`",
            place=report.document.place(path),
        )
    elif not _is_folder(where):
        report.error(path, f"there is no folder {where}", "correct the path, or build it first")
    elif not (where / needed).is_file():
        report.error(path, f"the folder {where} holds no {needed}", "name the folder that does")


def _under(folder: Path, text: str) -> Path:
    try:
        return folder / Path(text).expanduser()
    except RuntimeError:  # `~someone` who is not known here
        return folder / text


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # such as a name that is too long
        return False


def _check_capabilities(expert: ExpertKeys, report: Report, path: KeyPath) -> None:
    for i, capability in enumerate(expert.capabilities or ()):
        if capability not in CAPABILITIES:
            at = (*path, "capabilities", i)
            report.warning(
                at,
                f"nothing ever asks for the capability `{capability:.60}`",
                suggestion(capability, CAPABILITIES),
                place=report.document.place(at),
            )


def _check_fits(name: str, file: FileKeys, report: Report) -> None:
    expert = file.experts[name]
    base = file.experts.get(expert.base or "") if is_lora(expert) else None
    backend = file.backends.get((base or expert).backend or "")
    if backend is None or backend.memory is None or expert.memory is None:
        return
    needed = expert.memory + ((base.memory or 0) if base else 0)
    room = backend.memory - (backend.reserve or 0)
    if needed > room:
        with_base = f" with its base `{expert.base}`" if base else ""
        report.error(
            ("experts", name, "memory"),
            f"never fits: {format_size(needed)}{with_base}, but `{(base or expert).backend}` has"
            f" room for {format_size(room)} (memory less reserve)",
            "correct a size, or place it on another backend",
        )
