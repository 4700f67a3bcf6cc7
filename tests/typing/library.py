"""Types of the public functions, which `make types` checks; nothing runs this file."""

from pathlib import Path
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from silhouette_seg import AsyncClient, Client, Session, composite, cut_out, map_photos, segment
from silhouette_seg.client import Refused, Segmented
from silhouette_seg.library.many import PhotoError
from silhouette_seg.library.segmentation import Segmentation


def check_kinds(path: Path, image: Image, array: NDArray[Any], session: Session) -> None:
    assert_type(segment(path), bytes)
    assert_type(segment(str(path)), bytes)
    assert_type(segment(path.open("rb")), bytes)
    assert_type(cut_out(image), Image)
    assert_type(composite(array, background=path, grow=2), NDArray[np.uint8])
    assert_type(session.cut_out(array, as_="bytes"), bytes)
    assert_type(session.composite(path, as_="pil"), Image)
    assert_type(session.segment(image, as_="numpy"), NDArray[np.uint8])
    assert_type(session.run(path, "cutout"), Segmentation)


def check_errors(path: Path) -> None:
    segment(3)  # type: ignore[call-overload]
    segment(path, as_="PIL")  # type: ignore[call-overload]
    segment(path, treshold=0.5)  # type: ignore[call-overload]
    Session("unet", threshold=0.5)
    Session(treshold=0.5)  # type: ignore[call-arg]


def check_many(paths: list[Path], images: list[Image]) -> None:
    for body in map_photos(cut_out, paths):
        assert_type(body, bytes)
    for result in map_photos(cut_out, images, return_errors=True):
        assert_type(result, Image | PhotoError)


async def check_clients(client: Client, other: AsyncClient) -> None:
    assert_type(client.segment("photo.jpg", crop=True), Segmented)
    async for answer in other.segment_batch([b"photo"], background=b"wall"):
        assert_type(answer, Segmented | Refused)
    client.segment("photo.jpg", treshold=0.5)  # type: ignore[call-arg]
