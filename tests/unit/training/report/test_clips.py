"""Measures clips through the service's streams, and checks the section of the report."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from silhouette_seg.engine import open_engine
from silhouette_seg.engine.fake import FakeEngine
from silhouette_seg.pipeline.segmenter import Segmenter
from silhouette_seg.runtime.thread_pool import ThreadPool
from silhouette_seg.spec import load_spec
from silhouette_seg.streaming.session import DEFAULT_SMOOTHING
from silhouette_seg.streaming.smoothing import SCENE_CUT_CHANGE
from tests.support.images import person
from tests.support.tiny_model import tiny_spec, write_tiny_model
from training.data.clips import read_clips, read_videos
from training.report import clips as report
from training.report.clips import (
    FULL_PRIOR,
    NO_PRIOR,
    PRIOR_FACTORS,
    CachedEngine,
    ClipResult,
    CutFigures,
    StreamFigures,
)
from training.report.streams import VideoFigures, streams_text

HW = (48, 64)


def write_clip(data, name: str, *, frames: int = 5, step: int = 2, level: int = 0) -> None:
    """Writes a portrait that moves to the right, with a square as its mask."""
    folder = data / "clips_labelled" / name
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    (folder / "fps.txt").write_text("25\n")
    for number in range(frames):
        image = np.maximum(np.roll(person(*HW), number * step, axis=1), level)
        mask = np.zeros(HW, np.uint8)
        mask[8:40, 10 + number * step : 34 + number * step] = 255
        cv2.imwrite(str(folder / "images" / f"{number:04}.jpg"), image[..., ::-1])
        cv2.imwrite(str(folder / "masks" / f"{number:04}.png"), mask)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    data = tmp_path_factory.mktemp("data")
    write_clip(data, "dark")
    write_clip(data, "white", level=250)
    return data


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model_repository")
    for name in ("connectnet", "rcrnet", "md_trisenet"):
        write_tiny_model(folder, tiny_spec(name))
    return folder


@pytest.fixture(scope="module")
def streams(data, repository):
    specs = [tiny_spec(name) for name in ("connectnet", "md_trisenet", "rcrnet")]
    specs = [load_spec(repository / spec.name) for spec in specs]
    return report.measure_streams(specs, repository, read_clips(data, frames=4))


def test_streams_cover_every_clip_model_and_smoothing(streams):
    assert [clip.name for clip in streams.clips] == ["dark", "white"]
    assert {(result.label, result.smoothing) for result in streams.select("dark", 0.5)} == {
        ("connectnet", 0.5),
        (f"rcrnet {NO_PRIOR}", 0.5),
        (f"rcrnet {FULL_PRIOR}", 0.5),
        ("rcrnet", 0.5),
    }
    assert len(streams.clip_results) == 2 * 4 * len(report.SMOOTHINGS)
    for result in streams.clip_results:
        assert [alpha.shape for alpha in result.alphas] == [HW] * 4
        assert 0 <= result.iou <= 100
        assert result.dtssd > 0


def test_reference_that_follows_the_motion_has_high_iou(streams):
    assert streams.reference["dark"] > 80


async def test_stream_of_a_clip_keeps_its_temporal_state(data, repository):
    """The tiny model's alpha depends on the prior, so the temporal state has an effect."""
    (clip, _) = read_clips(data, frames=4)
    spec = load_spec(repository / "rcrnet")
    masks = {}
    for prior in PRIOR_FACTORS:
        workers = ThreadPool(1)
        engine = CachedEngine(open_engine("onnx", spec, repository), prior=PRIOR_FACTORS[prior])
        segmenter = Segmenter(engine, workers)
        masks[prior] = await report.stream_masks(segmenter, clip, 0.0)
        await segmenter.close()
        workers.close()
    for prior in (NO_PRIOR, FULL_PRIOR):
        assert np.array_equal(masks[prior][0], masks[""][0])
        assert not np.array_equal(masks[prior][1], masks[""][1])


@pytest.mark.parametrize(
    ("factor", "expected"), [(0.0, [0, 0, 0]), (1.0, [0, 50, 200]), (2, [0, 100, 255])]
)
async def test_cached_engine_scales_the_prior(factor, expected):
    spec = tiny_spec("rcrnet", size_hw=(1, 3))
    prior = np.array([[[0, 50, 200]]], np.uint8)
    inputs = {"image": np.zeros((1, 1, 3, 3), np.uint8), "prior": prior}
    # The alpha of an image without red is the prior.
    engine = CachedEngine(FakeEngine(spec), prior=factor)
    assert (await engine.infer(inputs)).tolist() == [[expected]]


async def test_cached_engine_computes_equal_inputs_once():
    calls = []

    class Counting:
        spec = tiny_spec("rcrnet")
        provider = "none"

        async def infer(self, inputs):
            calls.append(inputs)
            return inputs["prior"]

        async def close(self):
            calls.append("closed")

    engine = CachedEngine(Counting(), prior=0.0)
    image, prior = np.zeros((1, 4, 4, 3), np.uint8), np.full((1, 4, 4), 9, np.uint8)
    assert not (await engine.infer({"image": image, "prior": prior})).any()
    await engine.infer({"image": image, "prior": prior + 1})
    await engine.infer({"image": image + 1, "prior": prior})
    assert len(calls) == 2
    assert prior.all()
    await engine.close()
    assert calls[-1] == "closed"


def test_cuts_are_measured_within_and_between_clips(data):
    cuts = report.measure_cuts(data, read_clips(data, frames=4), frames=4, size_hw=(24, 24))
    assert cuts is not None
    assert (cuts.clips, cuts.pairs, len(cuts.between)) == (2, 6, 2)
    assert cuts.within < SCENE_CUT_CHANGE < cuts.between[0] <= cuts.between[1]
    assert cuts.detected_share == 1
    one = read_clips(data, frames=4)[:1]
    assert report.measure_cuts(data, one, frames=4, size_hw=(24, 24)) is None


def test_person_iou_of_empty_masks_is_perfect():
    one, other = np.zeros(HW, np.uint8), np.zeros(HW, np.uint8)
    one[:10], other[:20] = 255, 255
    assert report.mean_person_iou([one], [other]) == pytest.approx(50)
    empty = np.zeros(HW, np.uint8)
    assert report.mean_person_iou([one, empty], [one, empty]) == 100


def test_flicker_window_has_the_highest_dtssd(streams):
    clip, window = report.flicker_window(streams, 2)
    first = streams.select(clip.name, 0.0)[0]
    highest = report.dtssd(first.alphas[window], clip.truths[window])
    for other in streams.clips:
        alphas = streams.select(other.name, 0.0)[0].alphas
        for start in range(3):
            pair = slice(start, start + 2)
            assert report.dtssd(alphas[pair], other.truths[pair]) <= highest


def test_clip_with_a_mask_of_another_size_raises(tmp_path):
    write_clip(tmp_path, "clip")
    mask = tmp_path / "clips_labelled" / "clip" / "masks" / "0001.png"
    cv2.imwrite(str(mask), np.zeros((8, 8), np.uint8))
    with pytest.raises(ValueError, match="more than one size"):
        read_clips(tmp_path, frames=5)
    mask.unlink()
    with pytest.raises(ValueError, match="not an image"):
        read_clips(tmp_path, frames=5)
    assert len(read_clips(tmp_path, frames=1)[0].frames) == 1


def test_videos_are_read_as_rgb(tmp_path):
    (tmp_path / "clips").mkdir()
    file = str(tmp_path / "clips" / "red.mp4")
    video = cv2.VideoWriter(file, cv2.VideoWriter.fourcc(*"mp4v"), 25, (64, 48))
    for _ in range(4):
        video.write(np.full((48, 64, 3), (0, 0, 250), np.uint8))
    video.release()
    ((name, frames),) = read_videos(tmp_path, frames=3)
    assert name == "red"
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 3
    assert frames[0].mean(axis=(0, 1)) == pytest.approx([250, 0, 0], abs=12)


def video_figures(streams: StreamFigures, cuts: CutFigures | None = None) -> VideoFigures:
    model_ms = {"connectnet": 5.0, "rcrnet": 8.0}
    return VideoFigures(streams, cuts, smoothing_ms=0.25, model_ms=model_ms)


def test_streams_text_without_clips_says_not_measured():
    assert "Not measured" in streams_text(video_figures(StreamFigures((), (), {})))


def test_streams_text_has_every_figure_and_the_default(streams):
    text = streams_text(video_figures(streams, CutFigures(2, 6, 0.05, (0.11, 0.3, 0.4, 0.5))))
    for result in streams.clip_results:
        row = f"| {result.label} | {result.smoothing:g} | {result.iou:.2f} | {result.dtssd:.3f} |"
        assert row in text
    assert text.count("IoU is ") == 1
    assert f"of a stream is connectnet with smoothing {DEFAULT_SMOOTHING:g}" in text
    assert "75.0 % of 4 changes are detected; the\nsmallest are 0.110, 0.300, 0.400" in text


@pytest.mark.parametrize(("rival", "verdict"), [(90, "the best of them"), (99, "although rcrnet")])
def test_streams_text_says_if_the_default_is_best(streams, rival, verdict):
    def with_iou(result: ClipResult) -> ClipResult:
        return replace(result, iou=rival if result.spec.name == "rcrnet" else 95)

    clip_results = tuple(map(with_iou, streams.clip_results))
    assert verdict in streams_text(video_figures(replace(streams, clip_results=clip_results)))
