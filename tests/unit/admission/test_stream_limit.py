import asyncio
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from silhouette_seg.admission.stream_limit import Streams
from silhouette_seg.errors import Draining, Overloaded, TooManyStreams


def refused(streams: Streams, caller: str) -> type[Exception] | None:
    try:
        with streams.enter(caller):
            return None
    except (Draining, Overloaded, TooManyStreams) as error:
        return type(error)


def test_a_place_is_held_while_inside():
    streams = Streams(most=2, most_per_caller=2)
    with streams.enter("a"), streams.enter("a"):
        assert streams.count == 2
    assert streams.count == 0


def test_one_caller_has_a_bound_of_its_own():
    streams = Streams(most=3, most_per_caller=1)
    with streams.enter("a"):
        assert refused(streams, "a") is TooManyStreams
        assert refused(streams, "b") is None
    assert refused(streams, "a") is None


def test_all_together_have_a_bound():
    streams = Streams(most=2, most_per_caller=2)
    with streams.enter("a"), streams.enter("b"):
        assert refused(streams, "c") is Overloaded
    assert refused(streams, "c") is None


@pytest.mark.parametrize(("most", "kind"), [(2, TooManyStreams), (1, Overloaded)])
def test_a_refusal_says_how_many_and_full_is_full_for_all(most, kind):
    streams = Streams(most=most, most_per_caller=1)
    with streams.enter("a"), pytest.raises(kind) as caught, streams.enter("a"):
        pass
    assert (caught.value.limit, caught.value.actual, caught.value.retry_after_s) == (1, 2, 1)


def test_a_place_is_free_however_its_stream_ended():
    streams = Streams(most=1, most_per_caller=1)
    with pytest.raises(KeyError), streams.enter("a"):
        raise KeyError
    assert streams.count == 0


def test_who_is_gone_is_forgotten():
    streams = Streams(most=1, most_per_caller=1)
    for number in range(100):
        with streams.enter(f"caller {number}"):
            pass
    assert not streams._callers


async def test_closing_tells_who_is_in_and_lets_nobody_in():
    streams = Streams(most=2, most_per_caller=2)
    with streams.enter("a"):
        streams.close()
        assert streams.closing.is_set()
        assert refused(streams, "b") is Draining


async def test_idle_once_the_last_has_left():
    streams = Streams(most=2, most_per_caller=2)
    await streams.idle()
    with ExitStack() as inside:
        inside.enter_context(streams.enter("a"))
        with streams.enter("b"):
            pass
        waiting = asyncio.create_task(streams.idle())
        await asyncio.sleep(0)
        assert not waiting.done()
    await waiting


@given(
    steps=st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=40),
    most=st.integers(1, 5),
    most_per_caller=st.integers(1, 3),
)
def test_never_more_than_the_bounds(steps, most, most_per_caller):
    streams = Streams(most=most, most_per_caller=most_per_caller)
    inside: list[tuple[str, ExitStack]] = []
    for caller, enters in steps:
        mine = [place for place in inside if place[0] == caller]
        if enters:
            full = len(inside) >= most or len(mine) >= most_per_caller
            place = ExitStack()
            try:
                place.enter_context(streams.enter(caller))
            except (Overloaded, TooManyStreams):
                assert full
            else:
                assert not full
                inside.append((caller, place))
        elif mine:
            mine[0][1].close()
            inside.remove(mine[0])
        assert streams.count == len(inside)
