"""Functions and sessions in this process: the same bytes as a running server's."""

import asyncio
import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from PIL import Image

from silhouette_seg import Client, Session
from silhouette_seg.errors import InvalidArgument
from silhouette_seg.settings import Settings
from tests.integration.conftest import OnSocket, on_socket
from tests.support.images import make, make_jpeg, make_png, make_webp, person, soft_disc
from tests.support.published import REPOSITORY

FUNCTIONS = {"mask": "segment", "cutout": "cut_out", "composite": "composite"}
CAMERA = np.ascontiguousarray(np.tile(person(), (2, 2, 1)))
"""A photo with several people, which are predicted a second time on a crop."""
FILES = {
    "jpeg": make_jpeg(),
    "turned jpeg": make_jpeg(orientation=6),
    "jpeg in CMYK": make_jpeg(mode="CMYK"),
    "large jpeg": make_jpeg(person(1500, 2000)),
    "transparent png": make_png(np.dstack([person(), soft_disc(240, 320)])),
    "grey webp": make_webp(person()[..., 0]),
    "camera": make_jpeg(CAMERA),
}
OPTIONS = {
    "defaults": {},
    "soft": {"refine": "none", "feather": 1 / 3, "grow": -2},
    "binary": {"threshold": 0.25, "invert": True},
    "one person": {"person": "dominant", "crop": True, "crop_margin": 12.5},
    "placed": {"layout": "x:0.3,y:1,scale:0.6,flip:true"},
    "light": {"model": "connectnet", "format": "webp", "decontaminate": False},
    "domain": {"model": "md_trisenet", "domain": "head_shot"},
}


@pytest.fixture(scope="module")
def served() -> Iterator[OnSocket]:
    """A server with the published models."""
    with on_socket(Settings(model_repository=REPOSITORY, workers=2)) as running:
        yield running


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with Session() as session:
        yield session


def of_server(served: OnSocket, output: str, photo: bytes, **options) -> bytes:
    with Client(served.url) as client:
        return client.segment(photo, output=output, **options).body


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("output", FUNCTIONS)
def test_result_of_a_file_equals_that_of_the_server(served, session, output, name):
    function = getattr(session, FUNCTIONS[output])
    assert function(FILES[name]) == of_server(served, output, FILES[name])


def test_photo_without_face_to_blur_causes_a_warning(served, session):
    photo = make_png(np.full((96, 128, 3), 90, np.uint8))
    expected = of_server(served, "composite", photo, background="blur_faces")
    with pytest.warns(UserWarning, match="No face was found, so no face was blurred"):
        assert session.composite(photo, background="blur_faces") == expected
    assert session.run(photo, "composite", background="blur_faces").blurred_faces == 0


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("output", ["mask", "cutout"])
def test_options_have_the_effect_that_they_have_on_the_server(served, session, output, name):
    function = getattr(session, FUNCTIONS[output])
    expected = of_server(served, output, FILES["jpeg"], **OPTIONS[name])
    assert function(FILES["jpeg"], **OPTIONS[name]) == expected


def test_background_equals_that_of_the_server(served, session):
    photo, scene = FILES["jpeg"], make_png(person(100, 80)[::-1])
    coloured = of_server(served, "composite", photo, background="teal", light_wrap=20)
    assert session.composite(photo, background="teal", light_wrap=20) == coloured
    shown = of_server(served, "composite", photo, background=scene)
    for background in (scene, io.BytesIO(scene), np.asarray(Image.open(io.BytesIO(scene)))):
        assert session.composite(photo, background=background) == shown


@pytest.mark.parametrize("threads", [1, 3, 8])
def test_result_is_independent_of_the_threads_of_opencv(served, session, threads):
    expected = {
        output: of_server(served, output, FILES["large jpeg"], threshold=0.5, grow=9, feather=20)
        for output in FUNCTIONS
    }
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(threads)
        for output, name in FUNCTIONS.items():
            function = getattr(session, name)
            result = function(FILES["large jpeg"], threshold=0.5, grow=9, feather=20)
            assert result == expected[output]
    finally:
        cv2.setNumThreads(before)


def test_pixels_of_a_photo_have_the_result_of_its_png(served, session):
    png = make_png(person())
    image = Image.open(io.BytesIO(png))
    array = np.asarray(image)
    expected = of_server(served, "cutout", png)
    for photo in (image, array, array / 255, array.astype(np.uint16) * 257):
        assert session.cut_out(photo, as_="bytes") == expected


@pytest.mark.parametrize("name", ["turned jpeg", "transparent png", "jpeg in CMYK", "grey webp"])
def test_pil_image_of_a_file_has_the_result_of_the_file(session, name):
    from_file = np.asarray(session.cut_out(FILES[name], as_="pil"))
    from_pil = np.asarray(session.cut_out(Image.open(io.BytesIO(FILES[name]))))
    assert from_pil.shape == from_file.shape
    assert np.abs(from_pil.astype(int) - from_file).max() <= (1 if "CMYK" in name else 0)


@pytest.mark.parametrize("format", ["TIFF", "PNG", "WEBP"])
def test_pil_image_is_turned_upright_once(session, format):
    file = make(format, orientation=6)
    turned = session.segment(Image.open(io.BytesIO(file)))
    assert turned.size == (240, 320)
    assert np.array_equal(np.asarray(turned), session.segment(file, as_="numpy"))


async def test_session_works_inside_a_running_loop_and_its_threads(session):
    expected = session.segment(FILES["jpeg"])
    assert asyncio.get_running_loop().is_running()
    results = await asyncio.gather(
        *(asyncio.to_thread(session.segment, FILES["jpeg"]) for _ in range(4))
    )
    assert set(results) == {expected}


def test_threads_share_a_session_that_loads_its_model_once(served):
    together = threading.Barrier(4)
    expected = of_server(served, "mask", FILES["jpeg"])
    with Session() as session, ThreadPoolExecutor(4) as pool:

        def segment(_: int) -> bytes:
            together.wait()
            return session.segment(FILES["jpeg"])

        assert set(pool.map(segment, range(4))) == {expected}


def test_photo_that_is_damaged_names_its_argument(session):
    damaged = FILES["jpeg"][:2000]
    with pytest.raises(InvalidArgument, match=r"^photo: ") as invalid:
        session.cut_out(damaged)
    assert (invalid.value.argument, invalid.value.code) == ("photo", "undecodable_image")
    with pytest.raises(InvalidArgument, match=r"^background: "):
        session.composite(FILES["jpeg"], background=damaged)
    with pytest.raises(InvalidArgument, match=r"^photo: .* PIL cannot load"):
        session.cut_out(Image.open(io.BytesIO(damaged)))
