"""Photos for the fake engine, which returns red as alpha, and a queue in front of it."""

import numpy as np

from silhouette_seg.engine.batcher import Batcher
from silhouette_seg.engine.fake import FakeEngine
from silhouette_seg.vision.codec.decode import Frame


def red(hw: tuple[int, int], level: int = 255) -> Frame:
    rgb = np.zeros((*hw, 3), np.uint8)
    rgb[..., 0] = level
    return Frame(rgb, hw)


def half_red(hw: tuple[int, int]) -> Frame:
    frame = red(hw)
    frame.rgb[:, hw[1] // 2 :] = 0
    return frame


def behind_a_queue(engine: FakeEngine, max_queue: int = 8) -> Batcher:
    return Batcher(engine, max_batch=4, max_queue=max_queue, queue_timeout_s=60, concurrency=1)
