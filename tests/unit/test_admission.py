import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.admission import Admission
from service.errors import Draining, Overloaded


def test_admits_within_the_bounds_and_counts():
    admission = Admission(max_pixels=100, max_requests=3)
    with admission.admit(40), admission.admit(60):
        assert (admission.requests, admission.pixels) == (2, 100)
    assert (admission.requests, admission.pixels) == (0, 0)


def test_too_many_pixels_are_refused_with_the_numbers():
    admission = Admission(max_pixels=100, max_requests=3)
    with admission.admit(40), pytest.raises(Overloaded) as caught, admission.admit(61):
        pytest.fail("admitted")
    assert (caught.value.limit, caught.value.actual) == (100, 101)
    assert caught.value.retry_after_s == 1


def test_too_many_requests_are_refused_with_the_numbers():
    admission = Admission(max_pixels=100, max_requests=1)
    with admission.admit(1), pytest.raises(Overloaded) as caught, admission.admit(1):
        pytest.fail("admitted")
    assert (caught.value.limit, caught.value.actual) == (1, 2)


def test_one_photo_is_admitted_when_idle_however_large():
    admission = Admission(max_pixels=100, max_requests=3)
    with admission.admit(1000), pytest.raises(Overloaded), admission.admit(1):
        pytest.fail("admitted")


def test_a_failure_gives_the_permit_back():
    admission = Admission(max_pixels=100, max_requests=3)
    with pytest.raises(KeyError), admission.admit(40):
        raise KeyError
    assert (admission.requests, admission.pixels) == (0, 0)


async def test_a_cancelled_request_gives_the_permit_back():
    admission = Admission(max_pixels=100, max_requests=3)

    async def request():
        with admission.admit(40):
            await asyncio.Event().wait()

    task = asyncio.create_task(request())
    await asyncio.sleep(0)
    assert admission.requests == 1
    task.cancel()
    await admission.idle()
    assert admission.pixels == 0


async def test_draining_refuses_the_new_and_waits_for_the_rest():
    admission = Admission(max_pixels=100, max_requests=3)
    with admission.admit(40):
        admission.refuse()
        with pytest.raises(Draining), admission.admit(1):
            pytest.fail("admitted")
        waiting = asyncio.create_task(admission.idle())
        await asyncio.sleep(0)
        assert not waiting.done()
    await waiting


async def test_nothing_in_work_is_idle():
    await Admission(max_pixels=100, max_requests=3).idle()


@given(st.lists(st.integers(0, 120), max_size=12))
def test_never_over_the_bounds_but_for_one_alone(photos):
    admission = Admission(max_pixels=100, max_requests=4)
    held = []
    for pixels in photos:
        permit = admission.admit(pixels)
        try:
            permit.__enter__()
        except Overloaded:
            continue
        held.append((permit, pixels))
        assert admission.requests <= 4
        assert admission.pixels <= 100 or admission.requests == 1
    for permit, _ in held:
        permit.__exit__(None, None, None)
    assert (admission.requests, admission.pixels) == (0, 0)


async def test_who_waits_comes_in_when_there_is_room():
    admission = Admission(max_pixels=100, max_requests=3)
    came: list[int] = []

    async def wait_for(pixels: int) -> None:
        async with admission.admit_when_free(pixels):
            came.append(pixels)

    with admission.admit(60):
        with admission.admit(30):
            waiting = [asyncio.create_task(wait_for(pixels)) for pixels in (100, 35, 20)]
            await asyncio.sleep(0)
            assert came == []
        await waiting[1]
        await waiting[2]
        assert came == [35, 20]
        assert not waiting[0].done()
    await waiting[0]
    assert (admission.requests, admission.pixels) == (0, 0)


async def test_who_gives_up_waiting_leaves_nothing():
    admission = Admission(max_pixels=100, max_requests=3)
    with admission.admit(60):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), admission.admit_when_free(50):
                pytest.fail("admitted")
        assert (admission.requests, admission.pixels) == (1, 60)


async def test_waiting_while_draining_is_refused():
    admission = Admission(max_pixels=100, max_requests=3)
    with admission.admit(60):
        waiting = asyncio.ensure_future(admission.admit_when_free(50).__aenter__())
        await asyncio.sleep(0)
        admission.refuse()
    with pytest.raises(Draining):
        await waiting
