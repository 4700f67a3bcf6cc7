"""The photos are what the report says."""

import cv2
import numpy as np

from loadtests.compare.photos import photos


def test_photos_are_different_and_of_one_size():
    pictures = [
        cv2.imdecode(np.frombuffer(each.jpeg, np.uint8), cv2.IMREAD_COLOR) for each in photos()
    ]
    assert {picture.shape for picture in pictures} == {(720, 1280, 3)}
    assert len({photo.name for photo in photos()}) == len({photo.jpeg for photo in photos()}) == 4
