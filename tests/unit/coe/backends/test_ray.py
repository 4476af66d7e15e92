"""Errors on their way from an engine of another process to the gateway. Ray: tests/deploy."""

from __future__ import annotations

import copy

import pytest

from coe import errors
from coe.backends import ray
from coe.errors import BackendError, BackendRejected, CoEError, CompositionError, ConfigError
from coe.protocols import BackendSpec, ExpertSite

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type)
    and issubclass(kind, CoEError)
    and kind not in {CompositionError, BackendRejected}
]


def sent(error: CoEError) -> CoEError:
    return ray.error_of(copy.deepcopy(ray.failure_of(error)))


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_is_the_same_on_the_other_side(kind: type[CoEError]) -> None:
    error = sent(kind("no room", param="n", retry_after_s=2.5))

    assert type(error) is kind
    assert (error.message, error.param, error.retry_after_s) == ("no room", "n", 2.5)


def test_a_refusal_keeps_the_status_and_what_follows_from_it() -> None:
    given = BackendRejected("slow", backend_status=429, code="busy", retry_after_s=1.0)
    error = sent(given)

    assert isinstance(error, BackendRejected)
    assert vars(error) | {"args": error.args} == vars(given) | {"args": given.args}


def test_an_error_that_cannot_be_made_again_says_what_it_said() -> None:
    error = sent(CompositionError(()))

    assert type(error) is BackendError


def test_options_are_those_of_the_engine() -> None:
    spec = BackendSpec(name="e", type="ray", options={"thread": 2})

    with pytest.raises(ConfigError, match="did you mean `threads`"):
        ray.build(spec)


def test_an_expert_is_learnt_and_none_changes_its_weights() -> None:
    backend = ray.build(
        BackendSpec(name="e", type="ray", experts=(ExpertSite(expert="a", model="m"),))
    )

    assert backend.serve((ExpertSite(expert="b", model="m"),))
    assert not backend.serve((ExpertSite(expert="a", model="other"),))
