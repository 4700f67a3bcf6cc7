"""Plans the path of the result of each input file, before any file is opened."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from silhouette_seg.api.request.parameters import SegmentOptions
from silhouette_seg.errors import BadParameter, NotAcceptable
from silhouette_seg.pipeline.options import PersonSelection
from silhouette_seg.vision.codec.decode import ImageFormat

PHOTO_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".heic", ".heif", ".hif", ".avif"}
    | {".tif", ".tiff", ".bmp", ".gif"}
)
VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"})
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

    @property
    def is_video(self) -> bool:
        """True if the suffix of the source is that of a video."""
        return _is_video(self.source)


@dataclass(frozen=True, slots=True)
class Failure:
    """Path of a file that got no result, and the reason."""

    source: Path
    reason: str
    """Reason as a sentence for the user."""


def plan_tasks(
    inputs: Sequence[Path],
    to: Path,
    format: ImageFormat,
    video_suffix: str = VIDEO_RESULT_SUFFIXES[0],
) -> tuple[list[FileTask], list[Failure]]:
    """Returns one task for each photo and video in `inputs`, and the files that cannot have one.

    `inputs` are files and folders. Results lie below the folder `to`, in the subfolders of their
    sources. Photos get the suffix of `format`, and videos `video_suffix`. For a single video, `to`
    is the video file to write or else a folder for its frames. A file has no task if it is missing,
    or if its result would overwrite a source or another result. Results below `to` are no
    sources. Raises ValueError if `to` is a video file that cannot be written, or stands for several
    results.
    """
    tasks: list[FileTask] = []
    failures: list[Failure] = []
    is_single_video = len(inputs) == 1 and _is_video(inputs[0]) and not inputs[0].is_dir()
    if _is_video(to) and not to.is_dir():
        _check_video_result(to, is_single_video=is_single_video)
    files = [file for path in inputs for file in _discover(path, to)]
    sources = {source.resolve() for source, _ in files}
    results: set[Path] = set()
    for source, relative in files:
        suffix = video_suffix if _is_video(source) else SUFFIX_OF_FORMAT[format]
        result = to if is_single_video else to / relative.with_suffix(suffix)
        reason = _find_conflict(source, result.resolve(), sources, results)
        if reason:
            failures.append(Failure(source, reason))
        else:
            results.add(result.resolve())
            tasks.append(FileTask(source, result))
    return tasks, failures


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


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


def _discover(path: Path, to: Path) -> Iterable[tuple[Path, Path]]:
    """Returns each photo and video at or below `path`, and the relative path of its result.

    Files below the output folder `to` are left out if that is inside `path`.
    """
    if not path.is_dir():
        return [(path, Path(path.name))]
    return [
        (source, source.relative_to(path))
        for source in sorted(path.rglob("*"))
        if source.suffix.lower() in PHOTO_SUFFIXES | VIDEO_SUFFIXES
        and source.is_file()
        and (to == path or to not in source.parents)
    ]


def _find_conflict(
    source: Path, result: Path, sources: set[Path], results: set[Path]
) -> str | None:
    """Returns the reason why a file cannot have its result, or None if it can.

    `sources` are all input files, and `results` the planned result files.
    """
    if not source.is_file():
        return "The file does not exist."
    if result in sources:
        return f"The result would overwrite a {_media_kind(source)}; choose another folder."
    if result in results:
        return f"Another {_media_kind(source)} already has the result {result.name}."
    return None


def _media_kind(path: Path) -> str:
    return "video" if _is_video(path) else "photo"
