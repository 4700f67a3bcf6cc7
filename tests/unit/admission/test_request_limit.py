import asyncio

import pytest

from silhouette_seg.admission.request_limit import Admission
from silhouette_seg.errors import Draining, Overloaded


def test_counts_who_is_inside():
    admission = Admission(max_requests=3)
    with admission.admit(), admission.admit():
        assert admission.requests == 2
    assert admission.requests == 0


def test_too_many_are_refused_with_the_numbers():
    admission = Admission(max_requests=1)
    with admission.admit(), pytest.raises(Overloaded) as caught, admission.admit():
        pytest.fail("admitted")
    assert (caught.value.limit, caught.value.actual) == (1, 2)
    assert caught.value.retry_after_s == 1


def test_a_failure_makes_room_again():
    admission = Admission(max_requests=3)
    with pytest.raises(KeyError), admission.admit():
        raise KeyError
    assert admission.requests == 0


async def test_a_cancelled_request_makes_room_again():
    admission = Admission(max_requests=3)

    async def request():
        with admission.admit():
            await asyncio.Event().wait()

    task = asyncio.create_task(request())
    await asyncio.sleep(0)
    assert admission.requests == 1
    task.cancel()
    await admission.idle()
    assert admission.requests == 0


async def test_draining_refuses_the_new_and_waits_for_the_rest():
    admission = Admission(max_requests=3)
    with admission.admit():
        admission.refuse()
        with pytest.raises(Draining), admission.admit():
            pytest.fail("admitted")
        waiting = asyncio.create_task(admission.idle())
        await asyncio.sleep(0)
        assert not waiting.done()
    await waiting


async def test_nobody_inside_is_idle():
    await Admission(max_requests=3).idle()
