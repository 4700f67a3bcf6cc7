"""Health of the processes of a server, as each of them reads it."""

from contextlib import closing

import pytest

from silhouette_seg.api.process_health import ModelState, ProcessHealth
from silhouette_seg.runtime.process_group import ProcessGroup


@pytest.fixture
def group():
    with closing(ProcessGroup(2)) as group:
        yield group


@pytest.fixture
def first_and_second(group):
    return [ProcessHealth(group.member(index), ["net"]) for index in range(2)]


def test_expected_process_is_cold_until_its_first_report(first_and_second):
    first, second = first_and_second
    first.expect(1)
    assert (first.others_ready, first.worst_of_others("net")) == (False, ModelState.COLD)
    second.report(ready=True, states={"net": ModelState.WORKING})
    assert (first.others_ready, first.worst_of_others("net")) == (True, ModelState.WORKING)
    assert first.ready_count == 1


def test_failing_model_of_another_process_is_the_worst(first_and_second):
    first, second = first_and_second
    second.report(ready=False, states={"net": ModelState.FAILING})
    assert first.worst_of_others("net") is ModelState.FAILING
    assert second.worst_of_others("net") is ModelState.WORKING


def test_process_that_died_does_not_count_until_it_reports(group, first_and_second):
    first, second = first_and_second
    second.report(ready=False, states={"net": ModelState.FAILING})
    assert first.is_running(1)
    group.forget(1)
    assert not first.is_running(1)
    assert (first.others_ready, first.worst_of_others("net")) == (True, ModelState.WORKING)
