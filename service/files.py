"""Photos in files through the same pipeline as photos over HTTP."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.app import open_models
from service.errors import ServiceError
from service.render import Job, Source, run_job
from service.routes.negotiate import negotiate
from service.routes.options import SegmentOptions, choose
from service.segmenter import Segmenter
from service.settings import Settings
from service.telemetry import Telemetry
from service.vision.decode import ImageFormat, ImageLimits, check_limits, read_header
from service.workers import Workers

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
SUFFIX_OF = {ImageFormat.JPEG: ".jpg", ImageFormat.PNG: ".png", ImageFormat.WEBP: ".webp"}


@dataclass(frozen=True, slots=True)
class Task:
    photo: Path
    result: Path


@dataclass(frozen=True, slots=True)
class Failure:
    photo: Path
    reason: str


@dataclass(frozen=True, slots=True)
class FileOrder:
    """What to make of every photo; `picture` is the background, when that is a file."""

    options: SegmentOptions
    picture: Path | None = None

    @property
    def format(self) -> ImageFormat:
        """PNG unless asked otherwise; raises NotAcceptable for JPEG of a cut-out."""
        look = self.options.look
        return negotiate(None, explicit=self.options.format, transparent=look.transparent).image


def plan(inputs: Sequence[Path], to: Path, format: ImageFormat) -> tuple[list[Task], list[Failure]]:
    """What to do for files, and for all the photos in folders, whose subfolders are kept.

    Nothing is ever written over a photo that is read, nor two results to one file: what would
    do so fails, as does an input that is not there. Results inside a folder are not read again.
    """
    tasks: list[Task] = []
    failures: list[Failure] = []
    wanted = [found for path in inputs for found in _photos(path, to)]
    read = {photo.resolve() for photo, _ in wanted}
    written: set[Path] = set()
    for photo, relative in wanted:
        result = to / relative.with_suffix(SUFFIX_OF[format])
        reason = _refusal(photo, result.resolve(), read, written)
        if reason:
            failures.append(Failure(photo, reason))
        else:
            written.add(result.resolve())
            tasks.append(Task(photo, result))
    return tasks, failures


def _photos(path: Path, to: Path) -> Iterable[tuple[Path, Path]]:
    """(photo, where it goes below the output folder)."""
    if not path.is_dir():
        return [(path, Path(path.name))]
    return [
        (photo, photo.relative_to(path))
        for photo in sorted(path.rglob("*"))
        if photo.suffix.lower() in SUFFIXES
        and photo.is_file()
        and (to == path or to not in photo.parents)
    ]


def _refusal(photo: Path, result: Path, read: set[Path], written: set[Path]) -> str | None:
    if not photo.is_file():
        return "There is no such file."
    if result in read:
        return "The result would overwrite a photo; choose another folder."
    if result in written:
        return f"Another photo's result is already {result.name}."
    return None


async def segment_files(
    tasks: Sequence[Task],
    order: FileOrder,
    settings: Settings,
    on_end: Callable[[], None],
) -> list[Failure]:
    """Runs every task, a few at a time, and tells `on_end` of each; returns what failed.

    Raises what opening the models and `choose` raise, and what is wrong with the picture.
    """
    opened = open_models(settings, Telemetry())
    try:
        segmenter = choose(order.options, opened.catalog)
        bench = Bench(segmenter, opened.workers, _limits(settings), order)
        picture = await bench.workers.run(bench.open, order.picture) if order.picture else None
        room = asyncio.Semaphore(2 * opened.count)

        async def one(task: Task) -> Failure | None:
            async with room:
                failure = await bench.attempt(task, picture)
            on_end()
            return failure

        ended = await asyncio.gather(*(one(task) for task in tasks))
    finally:
        await opened.catalog.close()
        opened.workers.close()
    return [failure for failure in ended if failure]


@dataclass(frozen=True, slots=True)
class Bench:
    """Everything that the tasks have in common."""

    segmenter: Segmenter
    workers: Workers
    limits: ImageLimits
    order: FileOrder

    async def attempt(self, task: Task, picture: Source | None) -> Failure | None:
        try:
            photo = await self.workers.run(self.open, task.photo)
            options = self.order.options
            job = Job(photo, options.look, self.order.format, picture, options.domain)
            rendered = await run_job(job, self.segmenter)
            await self.workers.run(_write, task.result, rendered.body)
        except ServiceError as error:
            return Failure(task.photo, error.detail)
        except OSError as error:
            return Failure(task.photo, error.strerror or str(error))
        return None

    def open(self, path: Path) -> Source:
        """Our own files have no byte limit; the others are those of the service."""
        data = path.read_bytes()
        header = read_header(data)
        check_limits(header, self.limits)
        return Source(data, header)


def _limits(settings: Settings) -> ImageLimits:
    return ImageLimits(
        pixels=settings.max_pixels, side=settings.max_side, aspect=settings.max_aspect
    )


def _write(path: Path, body: bytes) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    partial.write_bytes(body)
    partial.replace(path)
