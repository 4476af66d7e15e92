"""Skills: what a text needs against what each expert is good at.

    score(c | text) = worth of c's expert for the needed skills * share of them that c is about
    worth           = min over the needed skills of the expert's (or their mean)

The needed skills are those whose descriptions the text is nearest to or, with a tagger, those that
a small expert names (see `tagging`); of a text that it does not tag, the nearest again. An expert
is worth its weakest needed skill: of an answer that takes two abilities the lesser one decides. The
expert of a category is the first in its ranking that may answer; a category that declares skills is
about those, one that declares none is about anything. Scores are products of declared skills, so
they are raw: what `threshold` means for them is "good enough".

Reference: Chen et al. 2025, Symbolic Mixture-of-Experts: Adaptive Skill-based Routing for
Heterogeneous Reasoning, arXiv 2503.05641, section 3 (skills of the query by the skills of the
models; there summed, and tagged by a model); Zhong et al. 2024, Law of the Weakest Link: Cross
Capabilities of Large Language Models, arXiv 2409.19951 (the minimum).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from coe.errors import ConfigError
from coe.options import Options, nearest
from coe.protocols import Encoder, ExpertCard, Parts, RouterSpec
from coe.types import Category, Evidence, Scores
from routers.cache import CachedEncoder
from routers.poll import ENFORCED, MOST_SAMPLES, SCHEMAS, silence
from routers.tagging import AGREEMENT, SAMPLES, Tagger

TAGGER_KEYS = ("samples", "agreement", "schema")
KEYS = ("encoder", "skills", "worth", "most", "within", "at_least", "cache", "tagger", *TAGGER_KEYS)
Worth = Literal["weakest", "mean"]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """When a text needs a skill.

    Attributes:
        most: skills of one text.
        within: greatest distance in cosine from the nearest skill.
        at_least: least cosine; a text that is nearer to none needs no skill that is known.
    """

    most: int = 3
    within: float = 0.1
    at_least: float = 0.2

    def skills(self, cosines: Floats) -> NDArray[np.intp]:
        """Return the places of the needed skills, nearest first."""
        ranked = np.argsort(-cosines, kind="stable")[: self.most]
        floor = max(self.at_least, float(cosines[ranked[0]]) - self.within)
        needed: NDArray[np.intp] = ranked[cosines[ranked] >= floor]
        return needed


@dataclass(frozen=True, slots=True)
class Needed:
    """What one text needs.

    Attributes:
        places: of the skills, what is needed most first.
        cosines: with their descriptions, one per place; None where the tagger named them.
        failure: why the tagger did not; empty where it did, or was not asked.
    """

    places: NDArray[np.intp]
    cosines: Floats | None = None
    failure: str = ""


class SkillRouter:
    """Scores by the skills that a text needs. Thread-safe.

    Attributes:
        skills: the names, sorted.
    """

    calibrated = False

    def __init__(  # noqa: PLR0913 - what it reads, and the rules
        self,
        *,
        name: str,
        categories: Sequence[Category],
        experts: Sequence[ExpertCard],
        encoder: Encoder,
        descriptions: Mapping[str, str] | None = None,
        worth: Worth = "weakest",
        need: Need | None = None,
        tagger: Tagger | None = None,
    ) -> None:
        """Encode the descriptions of the skills.

        Args:
            name: as in the composition.
            categories: with their experts, and the skills that they are about.
            experts: those that may answer, at least one of them with skills.
            encoder: of the descriptions now and of the texts later.
            descriptions: by skill; one that has none is described by its name.
            worth: whether an expert is worth its weakest needed skill or their mean.
            need: when a text needs a skill; None means the defaults of `Need`.
            tagger: who names the needed skills, all of them among `skills`; None means that the
                nearest descriptions do.
        """
        self.name = name
        self.categories = tuple(category.name for category in categories)
        self.skills = skills_of(categories, experts)
        self._encoder = encoder
        self._worth = worth
        self._need = need or Need()
        self._tagger = tagger
        described = describe(self.skills, descriptions or {})
        self._vectors = encoder.encode([described[skill] for skill in self.skills])
        self._levels = np.stack([self._row(_lead(entry, experts), 0.0) for entry in categories])
        self._about = np.stack(
            [self._row(entry.skills, 0.0 if entry.skills else 1.0) for entry in categories]
        )

    def score(self, texts: Sequence[str]) -> Scores:
        """Return scores in [0, 1], and the needed skills with their similarity.

        Raises:
            RouterUnavailable: when a remote encoder does not answer.
        """
        values = np.zeros((len(texts), len(self.categories)), dtype=np.float32)
        evidence = []
        for row, needed in enumerate(self._needed(texts)):
            if len(places := needed.places):
                levels = self._levels[:, places]
                worth = levels.min(axis=1) if self._worth == "weakest" else levels.mean(axis=1)
                values[row] = worth * self._about[:, places].mean(axis=1)
            best = self.categories[int(values[row].argmax())]
            evidence.append(self._evidence(needed, best))
        return Scores(values=values, evidence=tuple(evidence))

    def _needed(self, texts: Sequence[str]) -> list[Needed]:
        """Return what each text needs: as tagged, and by nearness where that failed."""
        if self._tagger is None:
            return self._nearest(texts)
        found = {}
        for text, tags in zip(texts, self._tagger.tag(texts), strict=True):
            places = np.array([self.skills.index(skill) for skill in tags.skills], dtype=np.intp)
            found[text] = Needed(places, failure=tags.failure)
        untagged = [text for text, needed in found.items() if needed.failure]
        if untagged:
            for text, near in zip(untagged, self._nearest(untagged), strict=True):
                found[text] = replace(near, failure=found[text].failure)
        return [found[text] for text in texts]

    def _nearest(self, texts: Sequence[str]) -> list[Needed]:
        rows = [
            (cosines, self._need.skills(cosines))
            for cosines in self._encoder.encode(texts) @ self._vectors.T
        ]
        return [Needed(places, cosines[places]) for cosines, places in rows]

    def _evidence(self, needed: Needed, category: str) -> tuple[Evidence, ...]:
        cosines = [None] * len(needed.places) if needed.cosines is None else needed.cosines.tolist()
        found = [
            Evidence(kind="skill", category=category, text=self.skills[place], similarity=cosine)
            for place, cosine in zip(needed.places, cosines, strict=True)
        ]
        return (*found, *(silence(needed.failure) if needed.failure else ()))

    def _row(self, levels: Mapping[str, float], otherwise: float) -> Floats:
        return np.array([levels.get(skill, otherwise) for skill in self.skills], dtype=np.float32)


def build(spec: RouterSpec, parts: Parts) -> SkillRouter:
    """Build the router from `encoder`, `skills` (descriptions), `worth`, `most` and more.

    `within` and `at_least` are cosines, see `Need`; `cache` is a number of entries. `tagger` names
    an expert, with `samples`, `agreement` (see `tagging`) and `schema` (as of a judge, see `llm`).
    """
    place = f"routers.{spec.name}"
    options = Options(place, spec.options).allow(*KEYS)
    if not any(_lead(category, spec.experts) for category in spec.categories):
        raise ConfigError(f"{place}: no category leads to an expert with skills; give experts some")
    worth: Worth = options.choice("worth", "weakest", get_args(Worth))  # type: ignore[assignment]
    need = Need(
        most=options.integer("most", Need().most, least=1, most=100),
        within=options.number("within", Need().within, least=0.0, most=2.0),
        at_least=options.number("at_least", Need().at_least, least=-1.0, most=1.0),
    )
    entries = options.integer("cache", 4096, least=0, most=10_000_000)
    descriptions = _descriptions(options, skills_of(spec.categories, spec.experts))
    encoder = parts.encoder(options.text("encoder"))
    return SkillRouter(
        name=spec.name,
        categories=spec.categories,
        experts=spec.experts,
        encoder=CachedEncoder(encoder, entries=entries) if entries else encoder,
        descriptions=descriptions,
        worth=worth,
        need=need,
        tagger=_tagger(spec, options, parts, descriptions, entries),
    )


def _tagger(
    spec: RouterSpec,
    options: Options,
    parts: Parts,
    descriptions: Mapping[str, str],
    entries: int,
) -> Tagger | None:
    """Return the tagger that the options name, if they do."""
    if "tagger" not in options.values:
        for key in TAGGER_KEYS:
            if key in options.values:
                raise ConfigError(f"{options.place}.{key}: goes with `tagger: EXPERT`")
        return None
    samples = options.integer("samples", SAMPLES, least=1, most=MOST_SAMPLES)
    least = min(AGREEMENT, samples)
    schema = options.choice("schema", ENFORCED, SCHEMAS)
    return Tagger(
        parts.expert(options.text("tagger")),
        describe(skills_of(spec.categories, spec.experts), descriptions),
        samples=samples,
        agreement=options.integer("agreement", least, least=1, most=samples),
        enforced=schema == ENFORCED,
        wait_s=spec.wait_s,
        entries=entries,
    )


def describe(skills: Sequence[str], descriptions: Mapping[str, str]) -> dict[str, str]:
    """Return what each skill is: as described, or its name as words."""
    return {skill: descriptions.get(skill) or skill.replace("_", " ") for skill in skills}


def skills_of(categories: Sequence[Category], experts: Sequence[ExpertCard]) -> tuple[str, ...]:
    """Return every skill that a category or an expert names, sorted."""
    demanded = {skill for category in categories for skill in category.skills}
    offered = {skill for expert in experts for skill in expert.skills}
    return tuple(sorted(demanded | offered))


def _lead(category: Category, experts: Sequence[ExpertCard]) -> Mapping[str, float]:
    """Return the skills of the expert that a category leads to; empty where there is none."""
    cards = {card.name: card for card in experts}
    lead = next((name for name in category.experts if name in cards), None)
    return cards[lead].skills if lead is not None else {}


def _descriptions(options: Options, skills: Sequence[str]) -> Mapping[str, str]:
    given = options.values.get("skills", {})
    if not isinstance(given, Mapping):
        raise options.wrong("skills", "a description by skill: {maths: sums and equations, ...}")
    place = f"{options.place}.skills"
    for skill in given:
        if skill not in skills:
            hint = nearest(str(skill), skills)
            raise ConfigError(
                f"{place}.{skill}: no expert and no category has this skill "
                f"({hint}there are: {', '.join(skills)})"
            )
    return {skill: Options(place, given).text(skill) for skill in given}
