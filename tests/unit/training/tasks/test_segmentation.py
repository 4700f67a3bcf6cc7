"""Tests of the tasks of all architectures: lookup and validation."""

import pytest

from tests.support.made_tasks import SIZE, make_recipe
from training.models import BUILDERS, build_model
from training.tasks import TASKS, build_task


def test_architectures_each_have_a_task():
    assert TASKS.keys() == BUILDERS.keys()


def test_unknown_architecture_raises_key_error(data):
    with pytest.raises(KeyError, match="abacus"):
        build_task(make_recipe("abacus"), data)


def test_validation_passes_the_domain_of_each_photo(data):
    task = build_task(make_recipe("md_trisenet"), data)
    model, calls = build_model("md_trisenet", {}), []
    for domain, branch in enumerate(model.branches):
        branch.register_forward_pre_hook(
            lambda _module, inputs, domain=domain: calls.extend([domain] * len(inputs[0]))
        )
    scores = task.validate(model, SIZE)
    assert sorted(calls) == sorted(int(portrait.domain) for portrait in task.validation)
    assert scores.keys() == {
        "val/all",
        "val/discs",
        "val/moons",
        "val/person",
        "val/connectivity",
        "person/all",
        "person/discs",
        "person/moons",
    }
