"""A file without its short cuts: what it leaves to us is written out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coe.composition.check_programs import program_keys
from coe.composition.expert_keys import BackendKeys, ExpertKeys
from coe.composition.models import FileKeys
from coe.composition.programs import PROGRAM
from coe.composition.routing_keys import (
    CategoryKeys,
    EncoderKeys,
    ModelKeys,
    RouteKeys,
    RouterKeys,
)

AUTO, CHEAP, BEST = "coe/auto", "coe/cheap", "coe/best"
BUILT_IN = (AUTO, CHEAP, BEST)  # virtual models that are always there
ENCODER = "minilm"
ENCODING = frozenset({"embedding", "nearest", "pilot", "skill"})  # routers that need an encoder
DEFAULT = "default"


def complete(file: FileKeys) -> FileKeys:
    """Return the file with its implicit encoder, routers, routes, virtual models and backend."""
    backends = file.backends
    if any(program_keys(expert) for expert in file.experts.values()):
        backends = {**backends, PROGRAM: BackendKeys(type=PROGRAM)}
    encoders = {ENCODER: EncoderKeys(type=ENCODER), **file.encoders}
    routers = file.routers or _implicit_routers(file)
    routers = {name: _with_encoder(router, file) for name, router in routers.items()}
    routes = dict(file.routing.routes)
    for name, category in file.categories.items():
        if category.experts is not None:
            routes.setdefault(name, RouteKeys(experts=category.experts))
    routing = file.routing.model_copy(
        update={
            "router": file.routing.router or _deciding_router(file, routers),
            "routes": routes,
            "none": file.routing.none or [name for name in (file.default,) if name],
        }
    )
    categories = {name: _without_experts(entry) for name, entry in file.categories.items()}
    return file.model_copy(
        update={
            "backends": backends,
            "experts": {name: _with_nearness(one, file) for name, one in file.experts.items()},
            "encoders": encoders,
            "routers": routers,
            "routing": routing,
            "categories": categories,
            "models": {**{name: ModelKeys() for name in BUILT_IN}, **file.models},
        }
    )


def stages_of(options: Mapping[str, Any]) -> list[str]:
    """Return the routers that a router is made of, by name; empty where it stands alone."""
    stages = options.get("stages")
    return [stage for stage in stages if isinstance(stage, str)] if isinstance(stages, list) else []


def _implicit_routers(file: FileKeys) -> dict[str, RouterKeys]:
    """Keywords where there are any, then nearness to the utterances."""
    if not file.categories:
        return {}
    embedding, keyword = RouterKeys(type="embedding"), RouterKeys(type="keyword")
    categories = file.categories.values()
    if not any(category.keywords for category in categories):
        return {DEFAULT: embedding}
    if not any(category.utterances or category.utterances_file for category in categories):
        return {DEFAULT: keyword}
    stages = {"keyword": keyword, "embedding": embedding}
    chain = RouterKeys.model_validate({"type": "chain", "stages": list(stages)})
    return {**stages, DEFAULT: chain}


def _with_encoder(router: RouterKeys, file: FileKeys) -> RouterKeys:
    """Give a router that needs an encoder and names none the only one of the file, or our own."""
    if router.type not in ENCODING or "encoder" in router.options:
        return router
    return RouterKeys.model_validate({**router.model_dump(), "encoder": _only_encoder(file)})


def _with_nearness(expert: ExpertKeys, file: FileKeys) -> ExpertKeys:
    """Give a recipe whose examples name no encoder the only one of the file, or our own."""
    recipe = expert.recipe
    if recipe is None or recipe.examples is None or recipe.examples.encoder is not None:
        return expert
    examples = recipe.examples.model_copy(update={"encoder": _only_encoder(file)})
    return expert.model_copy(update={"recipe": recipe.model_copy(update={"examples": examples})})


def _only_encoder(file: FileKeys) -> str:
    return next(iter(file.encoders)) if len(file.encoders) == 1 else ENCODER


def _deciding_router(file: FileKeys, routers: dict[str, RouterKeys]) -> str | None:
    """Return `default`, or the only router that is no part of another; None where unclear."""
    if not file.categories:
        return None
    if DEFAULT in routers:
        return DEFAULT
    parts = {stage for router in routers.values() for stage in stages_of(router.options)}
    whole = [name for name in routers if name not in parts]
    return whole[0] if len(whole) == 1 else None


def _without_experts(category: CategoryKeys) -> CategoryKeys:
    return category.model_copy(update={"experts": None})
