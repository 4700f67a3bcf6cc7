"""Photos and videos in files through the same pipeline as those over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from silhouette_seg.api.request.negotiation import negotiate
from silhouette_seg.api.request.parameters import SegmentOptions, select_model
from silhouette_seg.assembly import LoadedModels, load_models
from silhouette_seg.cli.tasks import Failure, Task, plan
from silhouette_seg.errors import ServiceError
from silhouette_seg.pipeline.photo import ImageFile, PhotoJob, segment_photo
from silhouette_seg.pipeline.registry import STREAM_PREFERENCE
from silhouette_seg.pipeline.segmenter import Segmenter
from silhouette_seg.settings import Settings
from silhouette_seg.streaming.session import DEFAULT_SMOOTHING, StreamOptions
from silhouette_seg.telemetry import Telemetry
from silhouette_seg.vision.codec.decode import (
    ImageFormat,
    ImageLimits,
    check_limits,
    decode,
    read_header,
)

__all__ = ["FileOrder", "attempt_all", "open_bench", "plan", "segment_files", "write_whole"]


@dataclass(frozen=True, slots=True)
class FileOrder:
    """What to make of every file; `picture` is the background, when that is a file."""

    options: SegmentOptions
    picture: Path | None = None
    smoothing: float = DEFAULT_SMOOTHING
    """Of videos."""

    @property
    def format(self) -> ImageFormat:
        """PNG unless asked otherwise; raises NotAcceptable for JPEG of a cut-out."""
        render = self.options.render
        return negotiate(None, explicit=self.options.format, transparent=render.transparent).image


async def segment_files(
    tasks: Sequence[Task], order: FileOrder, settings: Settings, on_end: Callable[[], None]
) -> list[Failure]:
    """Runs every task on a photo, a few at a time, and tells `on_end` of each.

    Returns what failed; raises what `open_bench` raises.
    """
    async with open_bench(order, settings) as bench:
        return await attempt_all(tasks, bench.segment_photo, bench.at_once, on_end)


@asynccontextmanager
async def open_bench(order: FileOrder, settings: Settings) -> AsyncIterator["Bench"]:
    """Raises the errors of `load_models`, of `select_model` and of reading the background image."""
    opened = load_models(settings, Telemetry())
    try:
        segmenter = select_model(order.options, opened.registry)
        limits = _limits(settings)
        picture = (
            await opened.pool.run_in_thread(_open, order.picture, limits) if order.picture else None
        )
        yield Bench(opened, segmenter, limits, order, picture)
    finally:
        await opened.registry.close()
        opened.pool.close()


@dataclass(frozen=True, slots=True)
class Bench:
    """Everything that the tasks have in common."""

    opened: LoadedModels
    segmenter: Segmenter
    """For photos."""
    limits: ImageLimits
    order: FileOrder
    picture: ImageFile | None

    @property
    def at_once(self) -> int:
        return 2 * self.opened.threads

    async def segment_photo(self, task: Task) -> Failure | None:
        workers, options = self.opened.pool, self.order.options
        try:
            photo = await workers.run_in_thread(_open, task.photo, self.limits)
            job = PhotoJob(photo, options.render, self.order.format, self.picture, options.domain)
            rendered = await segment_photo(job, self.segmenter)
            await workers.run_in_thread(write_whole, task.result, rendered.body)
        except ServiceError as error:
            return Failure(task.photo, error.detail)
        except OSError as error:
            return Failure(task.photo, error.strerror or str(error))
        return None

    async def segment_video(
        self, task: Task, on_progress: Callable[[float, float | None], None]
    ) -> Failure | None:
        """Tells `on_progress` of the seconds that are done, and of how many where that is known."""
        from silhouette_seg.video import VideoError, make_writer, segment_video

        try:
            writer = make_writer(task.result, self.order.format)
            options = await self.opened.pool.run_in_thread(self._stream_options)
            await segment_video(task.photo, writer, options, self.limits, on_progress)
        except ServiceError as error:
            return Failure(task.photo, error.detail)
        except VideoError as error:
            return Failure(task.photo, str(error))
        except OSError as error:
            return Failure(task.photo, error.strerror or str(error))
        return None

    def _stream_options(self) -> StreamOptions:
        picture = self.picture
        return StreamOptions(
            segmenter=self.opened.registry.get(
                self.order.options.model, preference=STREAM_PREFERENCE
            ),
            render=self.order.options.render,
            smoothing=self.order.smoothing,
            picture=decode(picture.data, picture.header) if picture else None,
        )


async def attempt_all(
    tasks: Sequence[Task],
    attempt: Callable[[Task], Awaitable[Failure | None]],
    at_once: int,
    on_end: Callable[[], None],
) -> list[Failure]:
    """Every task, so many at a time; `on_end` is told of each. Returns what failed."""
    room = asyncio.Semaphore(at_once)

    async def one(task: Task) -> Failure | None:
        async with room:
            failure = await attempt(task)
        on_end()
        return failure

    ended = await asyncio.gather(*(one(task) for task in tasks))
    return [failure for failure in ended if failure]


class CannotWrite(OSError):
    """A result; the text says which one, and why."""


def write_whole(path: Path, body: bytes) -> None:
    """Or not at all, as where the disk is full. Raises CannotWrite."""
    partial = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_bytes(body)
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise CannotWrite(f"{path} cannot be written: {error.strerror}.") from error


def _open(path: Path, limits: ImageLimits) -> ImageFile:
    """Our own files have no byte limit; the others are those of the service."""
    data = path.read_bytes()
    header = read_header(data)
    check_limits(header, limits)
    return ImageFile(data, header)


def _limits(settings: Settings) -> ImageLimits:
    return ImageLimits(
        pixels=settings.max_pixels, side=settings.max_side, aspect=settings.max_aspect
    )
