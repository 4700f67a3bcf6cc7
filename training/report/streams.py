"""Writes the temporal stability of streams and the reason for the default model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from silhouette_seg.pipeline.registry import STREAM_PREFERENCE
from silhouette_seg.streaming.session import DEFAULT_SMOOTHING
from silhouette_seg.streaming.smoothing import PRIOR_GAIN, SCENE_CUT_CHANGE
from silhouette_seg.vision.geometry import Size
from training.data.clips import Clip, read_clips
from training.report.clips import (
    SMOOTHINGS,
    ClipResult,
    CutFigures,
    StreamFigures,
    flicker_window,
    measure_cuts,
    measure_smoothing_ms,
    measure_streams,
)
from training.report.markdown import table
from training.report.plots import plot_strip
from training.report.results import PICTURES_FOLDER, Results
from training.report.timing import single_image_ms

HEAD = ("", "smoothing", "IoU person, mean over frames", "dtSSD", "warped IoU")
STRIP_FRAMES = 8
"""Frames side by side in the picture of a clip."""
CUT_SIZE_HW: Size = (224, 224)
"""Frame size at which scene cuts are detected and smoothing is timed."""


@dataclass(frozen=True, slots=True)
class VideoFigures:
    """Measurements of the section of streams."""

    streams: StreamFigures
    cuts: CutFigures | None
    """None if the data pack has fewer than two clips."""
    smoothing_ms: float
    model_ms: Mapping[str, float]
    """Processor time of a frame by model, in milliseconds."""


def measure_video(results: Results) -> VideoFigures:
    """Measures the clips of the data pack with the models for streams."""
    inputs = results.inputs
    frames = inputs.size.frames
    clips = read_clips(inputs.data, frames=frames)
    return VideoFigures(
        streams=measure_streams(inputs.specs, inputs.repository, clips),
        cuts=measure_cuts(inputs.data, clips, frames=frames, size_hw=CUT_SIZE_HW),
        smoothing_ms=measure_smoothing_ms(CUT_SIZE_HW),
        model_ms=single_image_ms(results.timings),
    )


def draw_strip(figures: VideoFigures, pictures: Path, gallery: Path) -> None:
    """Draws masks of neighbouring frames.

    The picture in the gallery also has the photos and the reference.
    """
    if not figures.streams.clip_results:
        return
    clip, window = flicker_window(figures.streams, STRIP_FRAMES)
    masks = {
        f"{result.label}\nsmoothing {smoothing:g}": result.alphas[window]
        for smoothing in (SMOOTHINGS[0], SMOOTHINGS[-1])
        for result in figures.streams.select(clip.name, smoothing)
    }
    inputs = {"frame": clip.frames[window], "reference": clip.truths[window]}
    plot_strip(masks, pictures / "streams.png")
    plot_strip(inputs | masks, gallery / "streams.png")


def streams_text(figures: VideoFigures) -> str:
    """Writes the section of streams, also if no clip was measured."""
    streams = figures.streams
    if not streams.clip_results:
        return "## Streams\n\nNot measured: no labelled clip, or no model for streams."
    parts = [
        "## Streams",
        _opening_text(streams),
        *(_clip_text(streams, clip) for clip in streams.clips),
        f"![masks of neighbouring frames]({PICTURES_FOLDER}/streams.png)",
        "Frames with the highest dtSSD of plain masks; the gallery has them with the photos.",
        _default_text(figures),
        _cuts_text(figures.cuts) if figures.cuts else "",
    ]
    return "\n\n".join(part for part in parts if part)


def _opening_text(streams: StreamFigures) -> str:
    clips = ", ".join(
        f"{clip.name} ({len(clip.frames)} frames, {clip.fps:g} a second)" for clip in streams.clips
    )
    gain = PRIOR_GAIN
    return f"""Each clip in the service's own stream, every frame: {clips}. *smoothing* is the
parameter of that name. A model with a prior sees the previous mask at {gain:g} of its strength;
*without prior* it sees an empty one before every frame, with *whole prior* all of it. dtSSD
compares the change of the mask since the previous frame with that of the reference: the root
mean square of their difference over pixels. It is in percent, mean over frames (Erofeev et al.,
BMVC 2015); less is better. The last column warps each mask by the optical flow (DIS) to the next
frame and takes its IoU with the mask there. Higher is more stable, but a wrong mask may be
stable too. Frames of a clip are similar, so there are no intervals."""


def _clip_text(streams: StreamFigures, clip: Clip) -> str:
    rows = [
        (
            result.label,
            f"{result.smoothing:g}",
            f"{result.iou:.2f}",
            f"{result.dtssd:.3f}",
            f"{result.warped_iou:.2f}",
        )
        for result in streams.clip_results
        if result.clip == clip.name
    ]
    rows.append(("the reference", "", "", "", f"{streams.reference[clip.name]:.2f}"))
    return f"### {clip.name}\n\n{table(HEAD, rows)}"


def _default_text(figures: VideoFigures) -> str:
    """Writes the figures of the default stream model beside its alternatives."""
    streams = figures.streams
    near = max(streams.clips, key=lambda clip: mean(float(mask.mean()) for mask in clip.truths))
    results = default_results(streams, near)
    default = next((name for name in STREAM_PREFERENCE if name in results), None)
    if default is None:
        return ""
    models = "; ".join(
        f"{name} has IoU {result.iou:.2f} and dtSSD {result.dtssd:.3f}"
        f" for {figures.model_ms[name]:.1f} ms of processor time"
        for name, result in results.items()
    )
    best = max(results, key=lambda name: (results[name].iou, -results[name].dtssd))
    verdict = "which is the best of them there" if default == best else f"although {best} is better"
    model_and_smoothing = f"{default} with smoothing {DEFAULT_SMOOTHING:g}"
    return f"""The default model of a stream is {model_and_smoothing}. A stream mainly
shows one person close to a camera, so {near.name}, with the largest person, decides. At that
smoothing {models}. So the default is {default}, {verdict}.
{_other_clips_text(streams, near)}{_smoothing_text(streams, default)} Beside the model, the
temporal state costs {figures.smoothing_ms:.2f} ms of processor time per frame at 224x224."""


def default_results(streams: StreamFigures, clip: Clip) -> dict[str, ClipResult]:
    """Returns the results of a clip as served with the default smoothing, by model."""
    return {
        result.spec.name: result
        for result in streams.select(clip.name, DEFAULT_SMOOTHING)
        if not result.prior
    }


def _other_clips_text(streams: StreamFigures, near: Clip) -> str:
    """Writes the figures of the clips that do not decide the default."""
    return "".join(
        f"On {clip.name} IoU is "
        + ", ".join(
            f"{result.iou:.2f} for {name}"
            for name, result in default_results(streams, clip).items()
        )
        + ". "
        for clip in streams.clips
        if clip.name != near.name
    )


def _smoothing_text(streams: StreamFigures, model: str) -> str:
    """Writes the effect of smoothing for a model, mean over clips."""
    results = [
        result for result in streams.clip_results if (result.spec.name, result.prior) == (model, "")
    ]
    means = []
    for smoothing in sorted({result.smoothing for result in results}):
        same = [result for result in results if result.smoothing == smoothing]
        means.append(
            f"at {smoothing:g} {mean(result.dtssd for result in same):.3f} with IoU"
            f" {mean(result.iou for result in same):.2f}"
        )
    return f"Mean dtSSD over the clips by smoothing: {'; '.join(means)}."


def _cuts_text(cuts: CutFigures) -> str:
    lowest = ", ".join(f"{change:.3f}" for change in cuts.between[:3])
    cut = SCENE_CUT_CHANGE
    return f"""A stream resets its state at a scene cut: a change of brightness, averaged over a
grid of 16x16, by more than {cut:g} of white. Within {cuts.clips} clips, {cuts.pairs} pairs of
neighbours change by {cuts.within:.3f} at most. From the end of one clip to the beginning of
another, {100 * cuts.detected_share:.1f} % of {len(cuts.between)} changes are detected; the
smallest are {lowest}."""
