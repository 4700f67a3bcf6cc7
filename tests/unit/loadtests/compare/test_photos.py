"""Tests of the photos of the comparison."""

import cv2
import numpy as np

from loadtests.compare.photos import photos


def test_photos_differ_and_have_one_size():
    images = [
        cv2.imdecode(np.frombuffer(photo.jpeg, np.uint8), cv2.IMREAD_COLOR) for photo in photos()
    ]
    assert {image.shape for image in images} == {(720, 1280, 3)}
    assert len({photo.name for photo in photos()}) == len({photo.jpeg for photo in photos()}) == 4
