"""Many photos: order, threads, memory, errors and the progress bar."""

import threading
from itertools import count

import pytest

from silhouette_seg import map_photos
from silhouette_seg.errors import InvalidArgument
from tests.support.images import make_png, quadrants

PNG = make_png(quadrants())


def double(number: int) -> int:
    if number == 3:
        raise InvalidArgument("photo", "is three")
    return 2 * number


def test_results_have_the_order_of_the_photos(session):
    photos = [make_png(quadrants(64, side)) for side in (96, 80, 72)]
    assert list(map_photos(session.segment, photos, threads=2)) == [
        session.segment(photo) for photo in photos
    ]


def test_photos_are_processed_in_several_threads():
    together = threading.Barrier(3)

    def meet(_: int) -> int:
        together.wait(20)
        return threading.get_ident()

    assert len(set(map_photos(meet, range(3), threads=3))) == 3


def test_endless_photos_are_read_as_results_are_taken():
    taken = []

    def photos():
        for number in count(10):
            taken.append(number)
            yield number

    results = map_photos(double, photos(), threads=2)
    assert taken == []
    assert [next(results) for _ in range(3)] == [20, 22, 24]
    results.close()
    assert len(taken) == 4 + 3


def test_error_of_a_photo_ends_the_iteration():
    results = map_photos(double, [1, 2, 3, 4], threads=1)
    assert [next(results), next(results)] == [2, 4]
    with pytest.raises(InvalidArgument, match="is three"):
        next(results)
    assert list(results) == []


def test_error_takes_the_place_of_its_result_on_request():
    results = list(map_photos(double, [1, 3, 4], return_errors=True))
    assert (results[0], results[2]) == (2, 8)
    assert isinstance(results[1], InvalidArgument)


def test_fault_of_the_function_is_always_raised():
    with pytest.raises(ZeroDivisionError):
        list(map_photos(lambda number: 1 // number, [0], return_errors=True))


def test_progress_bar_counts_photos_on_stderr(capsys):
    assert list(map_photos(double, [1, 2], progress=True)) == [2, 4]
    shown = capsys.readouterr()
    assert "2/2" in shown.err
    assert shown.out == ""


@pytest.mark.parametrize("threads", [0, -1])
def test_number_of_threads_below_one_raises_invalid_argument(threads):
    with pytest.raises(InvalidArgument, match=r"^threads: "):
        map_photos(double, [], threads=threads)


@pytest.mark.parametrize("photos", ["photo.jpg", b"photo"], ids=["str", "bytes"])
def test_single_photo_instead_of_several_is_rejected(session, photos):
    with pytest.raises(InvalidArgument, match=r"^photos: must be several photos"):
        map_photos(session.segment, photos)
