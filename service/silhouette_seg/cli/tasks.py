"""Plans the path of the result of each input file, before any model is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from silhouette_seg.api.request.parameters import SegmentOptions
from silhouette_seg.cli.discovery import InputFile, discover
from silhouette_seg.cli.media_kind import VIDEO_SUFFIXES, MediaKind, kind_by_suffix
from silhouette_seg.cli.outcome import Failure, SkippedFile
from silhouette_seg.cli.result_names import name_results, usual_name
from silhouette_seg.errors import BadParameter, NotAcceptable
from silhouette_seg.pipeline.options import PersonSelection
from silhouette_seg.vision.codec.decode import ImageFormat

VIDEO_RESULT_SUFFIXES = (".mp4", ".webm")
"""Suffixes of the video files that can be written; only the second has transparency."""
SUFFIX_OF_FORMAT = {ImageFormat.JPEG: ".jpg", ImageFormat.PNG: ".png", ImageFormat.WEBP: ".webp"}


@dataclass(frozen=True, slots=True)
class FileTask:
    """Path of one photo or video, and the path of its result.

    For a video, `result` without a video suffix is a folder for its frames as pictures.
    """

    source: Path
    result: Path
    kind: MediaKind = MediaKind.PHOTO

    @property
    def is_video(self) -> bool:
        """True if the source is a video."""
        return self.kind is MediaKind.VIDEO


@dataclass(frozen=True, slots=True)
class Plan:
    """Tasks of one command, and the files without a task."""

    tasks: list[FileTask] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    """Files that cannot have a result."""
    skipped: list[SkippedFile] = field(default_factory=list)
    """Files that are left out."""
    renamed: list[FileTask] = field(default_factory=list)
    """Tasks with a longer result name than usual, because several inputs share the usual one."""


def plan_tasks(
    inputs: Sequence[Path],
    to: Path,
    format: ImageFormat,
    video_suffix: str = VIDEO_RESULT_SUFFIXES[0],
) -> Plan:
    """Returns the tasks for the photos and videos among and below `inputs`.

    `inputs` are files and folders. Results lie below the folder `to`, in the subfolders of their
    sources. Photos get the suffix of `format`, and videos `video_suffix`. For a single video, `to`
    is the video file to write or else a folder for its frames. No result overwrites a source.
    Raises ValueError if `to` is a video file that cannot be written, or stands for several results.
    """
    found = discover(inputs, to)
    is_single_video = _single_kind(inputs, found.files) is MediaKind.VIDEO
    if to.suffix.lower() in VIDEO_SUFFIXES and not to.is_dir():
        _check_video_result(to, is_single_video=is_single_video)
    plan = Plan(failures=found.failures, skipped=found.skipped)
    sources = {file.source.resolve() for file in found.files}
    suffixes = {MediaKind.PHOTO: SUFFIX_OF_FORMAT[format], MediaKind.VIDEO: video_suffix}
    named = [(file, suffixes[file.kind]) for file in found.files]
    for (file, suffix), name in zip(named, name_results(named), strict=True):
        usual = to if is_single_video else to / usual_name(file, suffix)
        result = usual if is_single_video or name is None else to / name
        if {usual.resolve(), result.resolve()} & sources:
            reason = f"The result would overwrite a {file.kind}; choose another folder."
            plan.failures.append(Failure(file.source, reason))
        elif name is None:
            reason = f"Another {file.kind} already has the result {usual.name}."
            plan.failures.append(Failure(file.source, reason))
        else:
            plan.tasks.append(task := FileTask(file.source, result, file.kind))
            if result != usual:
                plan.renamed.append(task)
    return plan


def _single_kind(inputs: Sequence[Path], files: Sequence[InputFile]) -> MediaKind | None:
    """Returns the kind of the file that is the only input; None for a folder or several inputs."""
    if len(inputs) != 1 or inputs[0].is_dir():
        return None
    return files[0].kind if files else kind_by_suffix(inputs[0])


def _check_video_result(to: Path, *, is_single_video: bool) -> None:
    if not is_single_video:
        raise ValueError(f"{to} is one video: name a folder for these results")
    if to.suffix.lower() not in VIDEO_RESULT_SUFFIXES:
        suffixes = " or ".join(VIDEO_RESULT_SUFFIXES)
        raise ValueError(f"videos are written as {suffixes}, not {to.suffix}")


def check_videos(tasks: Sequence[FileTask], options: SegmentOptions) -> None:
    """Checks that the options suit the videos among the tasks.

    Raises BadParameter for an option that videos do not have, such as `crop`, and NotAcceptable for
    a cut-out in MP4, which has no transparency.
    """
    if not any(task.is_video for task in tasks):
        return
    render = options.render
    if render.crop:
        raise BadParameter("crop: the frames of a video must have one size")
    if render.person is not PersonSelection.ALL:
        raise BadParameter("person: the selection could change between the frames of a video")
    if render.layout is not None:
        raise BadParameter("layout: has no effect on a video")
    if options.domain is not None:
        raise BadParameter("domain: has no effect on a video; each frame has its own domain")
    if render.transparent and any(task.result.suffix.lower() == ".mp4" for task in tasks):
        raise NotAcceptable(
            "MP4 has no transparency: write .webm, or name a folder for the frames as pictures."
        )
