"""Plans which file becomes which result, before any file is opened."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from silhouette_seg.api.request.parameters import SegmentOptions
from silhouette_seg.errors import BadParameter, NotAcceptable
from silhouette_seg.pipeline.options import PersonSelection
from silhouette_seg.vision.codec.decode import ImageFormat

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"})
VIDEO_RESULT_SUFFIXES = (".mp4", ".webm")
"""Suffixes of the videos that can be written; only the second holds transparency."""
SUFFIX_OF_FORMAT = {ImageFormat.JPEG: ".jpg", ImageFormat.PNG: ".png", ImageFormat.WEBP: ".webp"}


@dataclass(frozen=True, slots=True)
class FileTask:
    """One photo or video, and the path of its result.

    `result` of a video is a folder if its frames become pictures.
    """

    source: Path
    result: Path

    @property
    def is_video(self) -> bool:
        """Returns whether the source is a video, by its suffix."""
        return _is_video(self.source)


@dataclass(frozen=True, slots=True)
class Failure:
    """File without a result."""

    source: Path
    reason: str
    """Sentence for the user."""


def plan_tasks(
    inputs: Sequence[Path],
    to: Path,
    format: ImageFormat,
    video_suffix: str = VIDEO_RESULT_SUFFIXES[0],
) -> tuple[list[FileTask], list[Failure]]:
    """Plans the results of files and folders. The results keep the subfolders of a folder.

    Photos become files of `format`, and videos files with `video_suffix`, below the folder `to`.
    For a single video, `to` may be the file to write by its suffix, or else a folder for its
    frames. A task fails if it would overwrite a source or another result, or if its source is
    missing. Results of an earlier run inside an input folder are not sources. Raises ValueError
    for one file as the result of several sources.
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
    """Raises BadParameter or NotAcceptable for options that a video among the tasks cannot have."""
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
    """Returns sources and their places relative to the output folder."""
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
    """Returns the reason why the result cannot be written, or None."""
    if not source.is_file():
        return "The file does not exist."
    if result in sources:
        return f"The result would overwrite a {_media_kind(source)}; choose another folder."
    if result in results:
        return f"Another {_media_kind(source)} already has the result {result.name}."
    return None


def _media_kind(path: Path) -> str:
    return "video" if _is_video(path) else "photo"
