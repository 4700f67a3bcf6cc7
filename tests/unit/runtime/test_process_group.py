"""Memory, lock and wake-ups that the processes of a server share."""

import asyncio
import os
import signal
from contextlib import closing

import numpy as np
import pytest

from silhouette_seg.runtime.process_group import ProcessGroup


@pytest.fixture
def group():
    with closing(ProcessGroup(2)) as group:
        yield group


def test_counter_has_the_own_number_and_the_total_of_all_processes(group):
    first, second = (group.member(index).counter("photos") for index in range(2))
    first.add(3)
    second.add(4)
    assert (first.own, second.own, first.total, second.total) == (3, 4, 7, 7)


def test_death_of_a_process_clears_its_rows_unless_kept(group):
    open_streams, served = group.table("streams", np.int64), group.table("served", "i8", kept=True)
    for table in (open_streams, served):
        table[:] = (5, 6)
    group.forget(0)
    assert open_streams.tolist() == [0, 6]
    assert served.tolist() == [5, 6]


def test_ids_name_the_process_in_a_server_with_several():
    with closing(ProcessGroup(2)) as group:
        assert group.member(1).own_id("abc") == "1.abc"
        owners = [group.owner_of(id) for id in ("0.abc", "1.abc", "2.abc", "abc", "-1.a", "")]
        assert owners == [0, 1, None, None, None, None]
    alone = ProcessGroup()
    assert (alone.own_id("abc"), alone.owner_of("0.abc")) == ("abc", None)


async def test_wake_calls_back_in_the_woken_process_alone(group):
    calls: list[int] = []
    called = asyncio.Event()
    first, second = (group.member(index) for index in range(2))
    first.on_wake(lambda: calls.append(0))
    second.on_wake(lambda: (calls.append(1), called.set()))
    with first.listening(), second.listening():
        for _ in range(2**17):  # more than the pipe holds: none of them blocks
            first.wake(1)
        await called.wait()
    assert set(calls) == {1}


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_memory_is_shared_and_a_killed_process_leaves_the_lock_free(group):
    reader, writer = os.pipe()
    photos = group.counter("photos")
    child = os.fork()
    if not child:
        group.join(1, restarted=False)
        with group.lock():
            photos.add(1)
            os.write(writer, b"\0")
            signal.pause()
        os._exit(0)
    assert os.read(reader, 1)
    os.kill(child, signal.SIGKILL)
    with group.lock(), group.lock():  # waits for the end of the other process
        assert (photos.own, photos.total) == (0, 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    os.close(reader)
    os.close(writer)
