"""Plans the path of the result of each input file, before any model is loaded."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Self

from silhouette_seg.api.request.parameters import SegmentOptions
from silhouette_seg.cli.discovery import InputFile, discover
from silhouette_seg.cli.files import STANDARD_STREAM, is_written
from silhouette_seg.cli.media_kind import VIDEO_SUFFIXES, MediaKind, kind_by_suffix
from silhouette_seg.cli.outcome import Failure, SkippedFile
from silhouette_seg.cli.result_names import name_results, usual_name
from silhouette_seg.errors import BadParameter, NotAcceptable
from silhouette_seg.pipeline.options import BlurredFaces, Output, PersonSelection
from silhouette_seg.vision.codec.decode import ImageFormat


class VideoFormat(StrEnum):
    """Format of a video file that is written."""

    MP4 = "mp4"
    MOV = "mov"
    WEBM = "webm"
    WEBP = "webp"
    GIF = "gif"

    @property
    def suffix(self) -> str:
        """Suffix of the file."""
        return f".{self}"

    @classmethod
    def default(cls, *, transparent: bool) -> Self:
        """Returns the format of a video that no option and no suffix determines."""
        return cls.WEBM if transparent else cls.MP4


VIDEO_RESULT_SUFFIXES = tuple(one.suffix for one in VideoFormat)
"""Suffixes of the video files that can be written; all but the first have transparency."""
SUFFIX_OF_FORMAT = {
    ImageFormat.JPEG: ".jpg",
    ImageFormat.PNG: ".png",
    ImageFormat.WEBP: ".webp",
    ImageFormat.AVIF: ".avif",
}
_FORMAT_OF_SUFFIX = {".jpeg": ImageFormat.JPEG} | {
    suffix: image_format for image_format, suffix in SUFFIX_OF_FORMAT.items()
}
_READ_ONLY_SUFFIXES = frozenset({".bmp", ".gif", ".heic", ".heif", ".tif", ".tiff"})
"""Suffixes of pictures that are not written; without an error they would name a folder."""
RESULT_EXISTS = "result exists"
"""Kind of a skipped file that has a result."""


@dataclass(frozen=True, slots=True)
class FileTask:
    """Path of one photo or video, and the path of its result.

    For a video, `result` without a video suffix is a folder for its frames as pictures.
    """

    source: Path
    result: Path
    kind: MediaKind

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
    has_videos: bool = False
    """True if there is a video among the inputs, even one that is left out."""


def plan_tasks(
    inputs: Sequence[Path],
    to: Path,
    format: ImageFormat,
    video_suffix: str = VideoFormat.MP4.suffix,
    *,
    frames_in_folder: bool = True,
    skip_existing: bool = False,
    names_file: bool = False,
) -> Plan:
    """Returns the tasks for the photos and videos among and below `inputs`.

    `inputs` are files and folders. Results lie below the folder `to`, in the subfolders of their
    sources. Photos get the suffix of `format`, and videos `video_suffix`. For a single file, `to`
    may be the result itself: a picture or video file, standard output, or a folder for the frames
    of a video unless `frames_in_folder` is off. With `names_file` it is the result of a single file
    whatever its suffix. No result overwrites a source. With `skip_existing`, files that have a
    result are left out. Raises ValueError if `to` is a file that cannot be written, or stands for
    several results.
    """
    found = discover(inputs, to)
    kind = _single_kind(inputs, found.files)
    is_named = names_file and kind is not None and not to.is_dir()
    is_result = _is_result(to, kind, frames_in_folder=frames_in_folder) or is_named
    has_videos = any(file.kind is MediaKind.VIDEO for file in found.files)
    plan = Plan(failures=found.failures, skipped=found.skipped, has_videos=has_videos)
    sources = {file.source.resolve() for file in found.files if file.source != STANDARD_STREAM}
    suffixes = {MediaKind.PHOTO: SUFFIX_OF_FORMAT[format], MediaKind.VIDEO: video_suffix}
    named = [(file, suffixes[file.kind]) for file in found.files]
    for (file, suffix), name in zip(named, name_results(named), strict=True):
        usual = to if is_result else to / usual_name(file, suffix)
        result = usual if is_result or name is None else to / name
        if {usual.resolve(), result.resolve()} & sources:
            reason = f"The result would overwrite a {file.kind}; choose another folder."
            plan.failures.append(Failure(file.source, reason))
        elif name is None:
            reason = f"Another {file.kind} already has the result {usual.name}."
            plan.failures.append(Failure(file.source, reason))
        elif skip_existing and is_written(result):
            plan.skipped.append(SkippedFile(file.source, RESULT_EXISTS))
        else:
            plan.tasks.append(task := FileTask(file.source, result, file.kind))
            if result != usual:
                plan.renamed.append(task)
    return plan


def without_videos(plan: Plan) -> Plan:
    """Returns the plan with each video as a failure, for a command that uses a service."""
    reason = "Videos cannot be sent to a service; omit --server."
    videos = [Failure(task.source, reason) for task in plan.tasks if task.is_video]
    return replace(
        plan,
        tasks=[task for task in plan.tasks if not task.is_video],
        failures=plan.failures + videos,
        renamed=[task for task in plan.renamed if not task.is_video],
    )


def result_format(to: Path) -> ImageFormat | None:
    """Returns the format of the picture file that a path names; None for any other path."""
    return None if to.is_dir() else _FORMAT_OF_SUFFIX.get(to.suffix.lower())


def _single_kind(inputs: Sequence[Path], files: Sequence[InputFile]) -> MediaKind | None:
    """Returns the kind of the file that is the only input; None for a folder or several inputs."""
    if len(inputs) != 1 or inputs[0].is_dir():
        return None
    return files[0].kind if files else kind_by_suffix(inputs[0]) or MediaKind.PHOTO


def _is_result(to: Path, kind: MediaKind | None, *, frames_in_folder: bool) -> bool:
    """Returns whether the path `to` is the only result, and not the folder of results.

    `kind` is that of the only input, or None. With `frames_in_folder` the result of a video is a
    folder unless `to` has the suffix of a file. Raises ValueError if `to` is a file and there are
    several results, or one of another kind.
    """
    suffix = to.suffix.lower()
    if to == STANDARD_STREAM:
        if kind is not MediaKind.PHOTO:
            raise ValueError("standard output takes the result of one photo; name a folder")
        return True
    if to.is_dir() or suffix not in VIDEO_SUFFIXES | _FORMAT_OF_SUFFIX.keys() | _READ_ONLY_SUFFIXES:
        return kind is MediaKind.VIDEO and frames_in_folder
    if kind is MediaKind.VIDEO and suffix in VIDEO_SUFFIXES.union(VIDEO_RESULT_SUFFIXES):
        _check_suffix("videos", to, VIDEO_RESULT_SUFFIXES)
        return True
    if kind is MediaKind.PHOTO and suffix not in VIDEO_SUFFIXES:
        _check_suffix("pictures", to, _FORMAT_OF_SUFFIX)
        return True
    noun = "video" if suffix in VIDEO_SUFFIXES else "picture"
    raise ValueError(f"{to} is one {noun}: name a folder for these results")


def _check_suffix(noun: str, to: Path, suffixes: Iterable[str]) -> None:
    if to.suffix.lower() not in suffixes:
        raise ValueError(f"{noun} are written as {' or '.join(suffixes)}, not {to.suffix}")


def check_videos(tasks: Sequence[FileTask], options: SegmentOptions) -> None:
    """Checks that the options suit the videos among the tasks.

    Raises BadParameter for an option that videos do not have, such as `crop`. Raises NotAcceptable
    for a cut-out in MP4, which has no transparency, and for a trimap in a video file.
    """
    if not any(task.is_video for task in tasks):
        return
    render = options.render
    if render.crop:
        raise BadParameter.about("crop", "the frames of a video must have one size")
    if render.person is not PersonSelection.ALL:
        raise BadParameter.about(
            "person", "the selection could change between the frames of a video"
        )
    if render.layout is not None:
        raise BadParameter.about("layout", "has no effect on a video")
    if render.require_foreground:
        raise BadParameter.about("require_foreground", "has no effect on a video")
    if options.keep_metadata:
        raise BadParameter.about("keep_metadata", "has no effect on a video")
    if render.has_report:
        raise BadParameter.about("faces" if render.faces else "masks", "has no effect on a video")
    if isinstance(render.background, BlurredFaces):
        raise BadParameter.about(
            "background", "blur_faces is for photos; faces of videos are not found"
        )
    if options.domain is not None:
        raise BadParameter.about(
            "domain", "has no effect on a video; each frame has its own domain"
        )
    suffixes = {task.result.suffix.lower() for task in tasks if task.is_video}
    if render.output is Output.TRIMAP and suffixes.intersection(VIDEO_RESULT_SUFFIXES):
        raise NotAcceptable(
            "Videos do not keep the levels of a trimap: name a folder for the frames as pictures."
        )
    mp4 = VideoFormat.MP4.suffix
    if render.transparent and any(task.result.suffix.lower() == mp4 for task in tasks):
        raise NotAcceptable(
            "MP4 has no transparency: write .mov, .webm, .webp or .gif, or name a folder for the"
            " frames as pictures."
        )
