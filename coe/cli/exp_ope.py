"""`coe exp ope`: what another way to choose would have got, from decisions drawn at random.

The action of a decision is whom it asked first. Where that expert failed and another one answered,
the answer still counts for who was asked: so it would have gone for the other policy, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from math import fsum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from coe import planner
from coe.applied import applied_map
from coe.cli.exp import experiment_of
from coe.cli.logged import open_log
from coe.cli.printed import columns, print_json
from coe.cli.serve import read_settings
from coe.composition import Composition, load
from coe.errors import ConfigError
from coe.learning import ope
from coe.stores.decisions import Feedback, Record
from coe.types import Decision, Dial, RankedCategory

if TYPE_CHECKING:
    from coe.mapping.choose import Chooser

WAYS = ("ranked", "fitted", "best_single")
EXPERT = "expert:"
_SHADOW = "shadow"
_METHODS: tuple[tuple[ope.Method, str], ...] = (
    ("dr", "doubly robust"),
    ("snips", "SNIPS"),
    ("ips", "IPS"),
)
_ROUNDING = 1e-6

Policy = Callable[["Drawn"], str]


class Drawn(NamedTuple):
    """A decision whose first expert was drawn at random.

    Attributes:
        asked: the expert that was drawn.
        chances: how likely each was to be it.
        reward: the mean of its feedback, 0 to 1.
    """

    record: Record
    asked: str
    chances: dict[str, float]
    reward: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a policy would have got.

    Attributes:
        policy: its name.
        decisions: that were drawn, and have feedback.
        got: the mean of their feedback: what was done instead.
        estimates: by each method.
        gain: the policy's less what was got, doubly robust.
    """

    policy: str
    decisions: int
    got: float
    estimates: tuple[ope.Estimate, ...]
    gain: ope.Estimate


def show(
    choose: str, config: Path | None, *, experiment: str | None, arm: str | None, as_json: bool
) -> None:
    """Print what a policy would have got.

    Args:
        choose: `ranked`, `fitted`, `best_single` or `expert:NAME`, by the file as it is now.
        config: the composition file.
        experiment: only decisions that took part in it.
        arm: only those in this arm of it.
        as_json: print all of it.

    Raises:
        ConfigError: there is no such policy, or the log says too little of it.
        NotFound: there is no decision log, no such experiment, or no such arm.
    """
    if arm is not None and experiment is None:
        raise ConfigError("an arm is one of an experiment: --experiment NAME --arm ARM")
    settings = read_settings(config, None, None)
    composition = load(settings.config)
    policy = policy_of(choose, composition)
    if experiment is not None:
        one = experiment_of(composition, experiment)
        names = [each.name for each in one.arms]
        if arm is not None and arm not in names:
            raise ConfigError(f"`{experiment}` has no arm `{arm:.80}`; there are: {_listed(names)}")
    with open_log(settings) as store:
        records = [
            record
            for record in store.records(experiment=experiment)
            if arm is None or record.arms.get(experiment or "") == arm
        ]
        feedback = list(store.feedback())
    found = estimated(choose, policy, drawn(records, feedback))
    if as_json:
        print_json({"object": "coe.experiment.estimate", **asdict(found)})
        return
    _print(found)


def policy_of(choose: str, composition: Composition) -> Policy:
    """Return whom a way to choose asks first.

    Raises:
        ConfigError: there is no such way, no such expert, or no fitted map.
    """
    if choose.startswith(EXPERT):
        name = choose.removeprefix(EXPERT)
        if name not in composition.experts:
            raise ConfigError(
                f"there is no expert `{name:.80}`; there are: {_listed(composition.experts)}"
            )
        return lambda _: name
    if choose not in WAYS:
        raise ConfigError(f"--choose is {', '.join(WAYS)} or {EXPERT}NAME, not `{choose:.80}`")
    applied = applied_map(composition)
    if choose == "fitted" and applied is None:
        raise ConfigError("`fitted` needs a map: run `coe map fit` and `coe map apply`")
    chooser = applied.chooser if applied is not None else None
    return lambda one: _asked(choose, composition, chooser, one)


def drawn(records: Iterable[Record], feedback: Iterable[Feedback]) -> tuple[Drawn, ...]:
    """Return the decisions that were drawn at random and have feedback.

    All turns of a conversation have one draw, and so have conversations that begin alike: the first
    of them that has feedback stands for all.

    Raises:
        ConfigError: none was drawn, or none of these has feedback; with the fix.
    """
    said: dict[str, list[float]] = {}
    for opinion in feedback:
        if opinion.value is not None and opinion.source == "user":
            said.setdefault(opinion.decision, []).append(opinion.value)
    seen = random = 0
    found: dict[str, Drawn] = {}
    for record in records:
        if record.endpoint == _SHADOW:
            continue
        seen += 1
        rows: Sequence[dict[str, Any]] = record.detail.get("candidates", ())
        chances = {row["expert"]: row["propensity"] for row in rows if row["propensity"] > 0}
        if len(chances) < 2 or abs(fsum(chances.values()) - 1) > _ROUNDING:  # noqa: PLR2004
            continue
        random += 1
        if record.id in said:
            given = said[record.id]
            reward = fsum(given) / len(given)
            one = Drawn(record, rows[0]["expert"], chances, reward)
            found.setdefault(record.unit or record.id, one)
    if not random:
        raise ConfigError(
            f"of {seen:,} decisions none was drawn at random, so that nothing can be said of what "
            "was not done: run an experiment with an arm `choose: random`, whose categories rank "
            "two experts or more"
        )
    if not found:
        raise ConfigError(
            f"{random:,} decisions were drawn at random, and nobody said how good the answers were:"
            " send feedback to /v1/feedback"
        )
    return tuple(found.values())


def estimated(name: str, policy: Policy, decisions: Sequence[Drawn]) -> Answer:
    """Return what a policy would have got.

    Raises:
        ConfigError: the log says too little of it; with how much it takes.
    """
    log, target = _log_of(policy, decisions)
    try:
        estimates = tuple(ope.evaluate(log, target, method=method) for method, _ in _METHODS)
        gain = ope.gain(log, target)
    except ope.TooLittleSupport as error:
        raise ConfigError(f"`{name}`: {error}") from None
    return Answer(
        policy=name,
        decisions=len(decisions),
        got=float(log.rewards.mean()),
        estimates=estimates,
        gain=gain,
    )


def _log_of(policy: Policy, decisions: Sequence[Drawn]) -> tuple[ope.Log, ope.Floats]:
    """Return the decisions and the policy as arrays; features are the categories' probabilities."""
    wanted = [policy(one) for one in decisions]
    experts = {*wanted, *(name for one in decisions for name in one.chances)}
    place = {name: at for at, name in enumerate(sorted(experts))}
    ranked = [_ranked(one.record) for one in decisions]
    column = {name: at for at, name in enumerate(sorted({row for each in ranked for row in each}))}
    shape = len(decisions), len(place)
    propensities, target = np.zeros(shape), np.zeros(shape)
    features = np.zeros((len(decisions), len(column)))
    for at, one in enumerate(decisions):
        for name, chance in one.chances.items():
            propensities[at, place[name]] = chance
        target[at, place[wanted[at]]] = 1.0
        for name, probability in ranked[at].items():
            features[at, column[name]] = probability
    log = ope.Log(
        x=features,
        chosen=np.array([place[one.asked] for one in decisions], dtype=np.intp),
        propensities=propensities,
        rewards=np.array([one.reward for one in decisions]),
    )
    return log, target


def _ranked(record: Record) -> dict[str, float]:
    rows = record.detail.get("ranked", ())
    if rows:
        return {row["name"]: row["probability"] for row in rows}
    return {record.category or "": 1.0}


def _asked(choose: str, composition: Composition, chooser: Chooser | None, one: Drawn) -> str:
    """Return whom the file asks first, of those who may answer."""
    record = one.record
    decision = Decision(
        ranked=tuple(RankedCategory(*row) for row in _ranked(record).items()),
        category=record.category,
        # A record says how the answer came about; that its first expert failed is not of interest.
        reason="matched" if record.reason == "fallback" else record.reason,  # type: ignore[arg-type]
        calibrated=bool(record.detail.get("calibrated")),
    )
    is_by_hand = record.category in composition.routing.by_hand
    chosen = None
    if choose == "fitted" and chooser is not None and not is_by_hand:
        chosen = chooser.choose(decision, Dial(choose="fitted"))
    order = planner.ranking(composition, decision, chosen)
    if choose == "best_single" and not is_by_hand:
        best = composition.default if chooser is None else chooser.best_single
        order = (best, *order)
    rows = record.detail.get("excluded", ())
    barred = {row["expert"] for row in rows if row["rule"] != "attempts"}
    return next((name for name in order if name not in barred), one.asked)


def _print(found: Answer) -> None:
    print(
        f"`{found.policy}` on {found.decisions:,} decisions that were drawn at random and have "
        f"feedback; what was done got {found.got:.1%}"
    )
    print()
    rows = [
        (
            words,
            f"{one.value:.1%}",
            f"{one.low:.1%} to {one.high:.1%}",
            f"{one.effective:,.0f}",
        )
        for (_, words), one in zip(_METHODS, found.estimates, strict=True)
    ]
    for line in columns(("method", "feedback", "95 % interval", "decisions worth"), rows):
        print(line)
    gain = found.gain
    print()
    print(
        f"beside what was done: {100 * gain.value:+.1f} pt"
        f"  [{100 * gain.low:+.1f} pt, {100 * gain.high:+.1f} pt], doubly robust"
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
