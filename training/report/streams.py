"""Writes the temporal stability of streams and the reason for the default model."""

from statistics import mean

from silhouette_seg.pipeline.registry import STREAM_PREFERENCE
from silhouette_seg.streaming.session import DEFAULT_SMOOTHING
from silhouette_seg.streaming.smoothing import PRIOR_GAIN, SCENE_CUT_CHANGE
from training.data.clips import Clip
from training.report.clips import ClipResult, CutFigures, StreamFigures
from training.report.markdown import table
from training.report.results import Results
from training.report.timing import CPU

HEAD = ("", "smoothing", "IoU person, mean over frames", "dtSSD", "warped IoU")


def streams_text(results: Results) -> str:
    """Writes the section of streams, also if no clip was measured."""
    streamed = results.streams
    if streamed is None or not streamed.clip_results:
        return "## Streams\n\nNot measured: no labelled clip, or no model for streams."
    parts = [
        "## Streams",
        _opening(streamed),
        *(_table(streamed, clip) for clip in streamed.clips),
        f"![masks of neighbouring frames]({results.pictures}/streams.png)",
        "Frames with the highest dtSSD of plain masks; the gallery has them with the photos.",
        _choice(results, streamed),
        _cuts(results.cuts) if results.cuts else "",
    ]
    return "\n\n".join(part for part in parts if part)


def _opening(streamed: StreamFigures) -> str:
    clips = ", ".join(
        f"{clip.name} ({len(clip.frames)} frames, {clip.fps:g} a second)" for clip in streamed.clips
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


def _table(streamed: StreamFigures, clip: Clip) -> str:
    rows = [
        (
            each.label,
            f"{each.smoothing:g}",
            f"{each.iou:.2f}",
            f"{each.dtssd:.3f}",
            f"{each.warped_iou:.2f}",
        )
        for each in streamed.clip_results
        if each.clip == clip.name
    ]
    rows.append(("the reference", "", "", "", f"{streamed.reference[clip.name]:.2f}"))
    return f"### {clip.name}\n\n{table(HEAD, rows)}"


def _choice(results: Results, streamed: StreamFigures) -> str:
    """Writes the figures of the default stream model beside its alternatives."""
    near = max(streamed.clips, key=lambda clip: mean(float(mask.mean()) for mask in clip.truths))
    shown = {
        each.spec.name: each
        for each in streamed.select(near.name, DEFAULT_SMOOTHING)
        if not each.prior
    }
    auto = next((name for name in STREAM_PREFERENCE if name in shown), None)
    if auto is None:
        return ""
    ms = {
        each.setup.model: each.cpu_ms
        for each in results.timings
        if (each.setup.provider, each.setup.threads, each.setup.batch) == (CPU, 1, 1)
    }
    listed = "; ".join(
        f"{name} has IoU {each.iou:.2f} and dtSSD {each.dtssd:.3f}"
        f" for {ms[name]:.1f} ms of processor time"
        for name, each in shown.items()
    )
    best = max(shown, key=lambda name: (shown[name].iou, -shown[name].dtssd))
    verdict = "which is the best of them there" if auto == best else f"although {best} is better"
    smoothing = DEFAULT_SMOOTHING
    return f"""The default model of a stream is {auto} with smoothing {smoothing:g}. A stream mainly
shows one person close to a camera, so {near.name}, with the largest person, decides. At that
smoothing {listed}. So the default is {auto}, {verdict}.
{_elsewhere(streamed, near)}{_smoothing_effect(streamed, auto)} Beside the model, the
temporal state costs {results.smoothing_ms:.2f} ms of processor time per frame at 224x224."""


def _elsewhere(streamed: StreamFigures, near: Clip) -> str:
    """Writes the figures of the clips that do not decide the default."""
    return "".join(
        f"On {clip.name} IoU is "
        + ", ".join(
            f"{each.iou:.2f} for {each.spec.name}"
            for each in streamed.select(clip.name, DEFAULT_SMOOTHING)
            if not each.prior
        )
        + ". "
        for clip in streamed.clips
        if clip.name != near.name
    )


def _smoothing_effect(streamed: StreamFigures, name: str) -> str:
    """Writes the effect of smoothing for that model, mean over clips."""

    def of(smoothing: float) -> list[ClipResult]:
        return [
            each
            for each in streamed.clip_results
            if (each.spec.name, each.prior, each.smoothing) == (name, "", smoothing)
        ]

    listed = "; ".join(
        f"at {smoothing:g} {mean(each.dtssd for each in of(smoothing)):.3f} with IoU"
        f" {mean(each.iou for each in of(smoothing)):.2f}"
        for smoothing in sorted({each.smoothing for each in streamed.clip_results})
    )
    return f"Mean dtSSD over the clips by smoothing: {listed}."


def _cuts(cuts: CutFigures) -> str:
    lowest = ", ".join(f"{each:.3f}" for each in cuts.between[:3])
    cut = SCENE_CUT_CHANGE
    return f"""A stream resets its state at a scene cut: a change of brightness, averaged over a
grid of 16x16, by more than {cut:g} of white. Within {cuts.clips} clips, {cuts.pairs} pairs of
neighbours change by {cuts.within:.3f} at most. From the end of one clip to the beginning of
another, {100 * cuts.detected_share:.1f} % of {len(cuts.between)} changes are detected; the
smallest are {lowest}."""
