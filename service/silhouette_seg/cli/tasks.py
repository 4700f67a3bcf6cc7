"""Which files become which, before anything is opened."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from silhouette_seg.api.request.parameters import SegmentOptions
from silhouette_seg.errors import BadParameter, NotAcceptable
from silhouette_seg.pipeline.options import PersonSelection
from silhouette_seg.vision.codec.decode import ImageFormat

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"})
VIDEO_RESULTS = (".mp4", ".webm")
"""What is written; the second holds transparency."""
SUFFIX_OF = {ImageFormat.JPEG: ".jpg", ImageFormat.PNG: ".png", ImageFormat.WEBP: ".webp"}


@dataclass(frozen=True, slots=True)
class Task:
    """`photo` may be a video, and `result` then a folder for its frames."""

    photo: Path
    result: Path

    @property
    def is_video(self) -> bool:
        return _is_video(self.photo)

    @property
    def is_sequence(self) -> bool:
        return self.is_video and self.result.suffix.lower() not in VIDEO_RESULTS


@dataclass(frozen=True, slots=True)
class Failure:
    photo: Path
    reason: str


def plan(
    inputs: Sequence[Path], to: Path, format: ImageFormat, video: str = VIDEO_RESULTS[0]
) -> tuple[list[Task], list[Failure]]:
    """What to do for files, and for all those in folders, whose subfolders are kept.

    Photos become files of `format` and videos files of the suffix `video`, below `to`. A video
    alone becomes the file `to`, where that is one by its suffix, or else frames in the folder `to`.
    Nothing is ever written over a file that is read, nor two results to one file: what would do so
    fails, as does an input that is not there. Results inside a folder are not read again. Raises
    ValueError for one file as the result of many.
    """
    tasks: list[Task] = []
    failures: list[Failure] = []
    alone = len(inputs) == 1 and _is_video(inputs[0]) and not inputs[0].is_dir()
    if _is_video(to) and not to.is_dir():
        _check_result(to, alone)
    wanted = [found for path in inputs for found in _found(path, to)]
    read = {photo.resolve() for photo, _ in wanted}
    written: set[Path] = set()
    for photo, relative in wanted:
        suffix = video if _is_video(photo) else SUFFIX_OF[format]
        result = to if alone else to / relative.with_suffix(suffix)
        reason = _refusal(photo, result.resolve(), read, written)
        if reason:
            failures.append(Failure(photo, reason))
        else:
            written.add(result.resolve())
            tasks.append(Task(photo, result))
    return tasks, failures


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def _check_result(to: Path, alone: bool) -> None:
    if not alone:
        raise ValueError(f"{to} is one video: name a folder for these results")
    if to.suffix.lower() not in VIDEO_RESULTS:
        raise ValueError(f"videos are written as {' or '.join(VIDEO_RESULTS)}, not {to.suffix}")


def check_videos(tasks: Sequence[Task], options: SegmentOptions) -> None:
    """Raises NotAcceptable, and BadParameter for what cannot be done to a video."""
    if not any(task.is_video for task in tasks):
        return
    render = options.render
    if render.crop:
        raise BadParameter("crop: the frames of a video are of one size")
    if render.person is not PersonSelection.ALL:
        raise BadParameter("person: the frames of a video would not agree on one")
    if render.layout is not None:
        raise BadParameter("layout: the person of a video is where they are")
    if options.domain is not None:
        raise BadParameter("domain: has no effect on a video, whose every frame has its own")
    if render.transparent and any(task.result.suffix.lower() == ".mp4" for task in tasks):
        raise NotAcceptable(
            "MP4 has no transparency: write .webm, or name a folder for one picture a frame."
        )


def _found(path: Path, to: Path) -> Iterable[tuple[Path, Path]]:
    """(photo, where it goes below the output folder)."""
    if not path.is_dir():
        return [(path, Path(path.name))]
    return [
        (photo, photo.relative_to(path))
        for photo in sorted(path.rglob("*"))
        if photo.suffix.lower() in SUFFIXES | VIDEO_SUFFIXES
        and photo.is_file()
        and (to == path or to not in photo.parents)
    ]


def _refusal(photo: Path, result: Path, read: set[Path], written: set[Path]) -> str | None:
    if not photo.is_file():
        return "There is no such file."
    if result in read:
        return f"The result would overwrite a {_kind(photo)}; choose another folder."
    if result in written:
        return f"Another {_kind(photo)}'s result is already {result.name}."
    return None


def _kind(path: Path) -> str:
    return "video" if _is_video(path) else "photo"
