"""Segments photo and video files in this process, without a running service."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from silhouette_seg.api.request.negotiation import negotiate
from silhouette_seg.api.request.parameters import SegmentOptions, select_model
from silhouette_seg.api.response.report import facts_json
from silhouette_seg.cli.files import read_source, report_path, write_result
from silhouette_seg.cli.outcome import Failure, explain, notices
from silhouette_seg.cli.progress import OnDone, OnNotice, OnVideoProgress
from silhouette_seg.cli.tasks import FileTask
from silhouette_seg.errors import ServiceError
from silhouette_seg.loading import LoadedModels, open_models
from silhouette_seg.pipeline.photo import ImageFile, PhotoJob, segment_photo
from silhouette_seg.pipeline.segmenter import Segmenter
from silhouette_seg.runtime.extras import is_installed, missing_module
from silhouette_seg.settings import Settings
from silhouette_seg.streaming.session import DEFAULT_SMOOTHING, StreamOptions
from silhouette_seg.vision.codec.decode import (
    ImageFormat,
    ImageLimits,
    check_limits,
    decode,
    read_header,
)

QUEUE_TIMEOUT_S = 3600.0
"""Time for which an image may wait for its model, in seconds.

The service rejects an image after seconds, because its caller may have left.
"""


@dataclass(frozen=True, slots=True)
class CliOptions:
    """Options of one `silhouette segment` command, which apply to every file."""

    options: SegmentOptions
    background: Path | None = None
    """Image file to put behind the person; None without one."""
    smoothing: float = DEFAULT_SMOOTHING
    """Strength of the temporal smoothing of masks in videos, 0..1."""
    overwrite: bool = False
    """True: a folder of frames replaces an older one."""

    @property
    def format(self) -> ImageFormat:
        """Image format of the results, PNG by default.

        Raises NotAcceptable for an output that JPEG cannot hold.
        """
        output = self.options.render.output
        return negotiate(None, explicit=self.options.format, output=output).image


def with_patience(settings: Settings) -> Settings:
    """Returns settings with QUEUE_TIMEOUT_S, unless the user has set a time."""
    if "queue_timeout_s" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"queue_timeout_s": QUEUE_TIMEOUT_S})


@asynccontextmanager
async def open_runner(options: CliOptions, settings: Settings) -> AsyncIterator["LocalRunner"]:
    """Loads the model for photos and the background file, and yields a runner that segments files.

    Other models are loaded when they are used. All are closed when the block ends. Raises the
    errors of `open_models`, `select_model` and `load_engine`, and OSError or ServiceError for an
    unusable background file.
    """
    models = open_models(with_patience(settings))
    try:
        segmenter = select_model(options.options, models.registry)
        models.load(segmenter.spec.name)
        limits = _image_limits(settings)
        background = None
        if options.background:
            background = await models.pool.run_in_thread(_read_image, options.background, limits)
        yield LocalRunner(models, segmenter, limits, options, background)
    finally:
        await models.registry.close()
        models.pool.close()


@dataclass(frozen=True, slots=True)
class LocalRunner:
    """Segments photo and video files with loaded models and the options of one command."""

    models: LoadedModels
    segmenter: Segmenter
    """Model that segments photos."""
    limits: ImageLimits
    options: CliOptions
    background: ImageFile | None

    @property
    def concurrency(self) -> int:
        """Number of photos to segment at a time: two for each thread."""
        return 2 * self.models.threads

    async def segment_photo(self, task: FileTask, on_notice: OnNotice) -> Failure | None:
        """Segments one photo file and writes the result file.

        `on_notice` receives the sentences of `notices`. Returns None, or the reason of the failure
        if a file or the photo cannot be processed.
        """
        pool, options = self.models.pool, self.options.options
        try:
            photo = await pool.run_in_thread(_read_image, task.source, self.limits)
            job = PhotoJob(
                photo,
                options.render,
                self.options.format,
                self.background,
                options.domain,
                options.keep_metadata,
            )
            rendered = await segment_photo(job, self.segmenter)
            if options.render.has_report:  # before the result, whose existence ends the task
                facts = await pool.run_in_thread(
                    facts_json, rendered, options.render, self.segmenter
                )
                await pool.run_in_thread(write_result, report_path(task.result), facts)
            await pool.run_in_thread(write_result, task.result, rendered.body)
            for notice in notices(rendered.warning, rendered.blurred_faces):
                on_notice(task.source, notice)
        except ServiceError as error:
            return Failure(task.source, explain(error))
        except OSError as error:
            return Failure(task.source, error.strerror or str(error))
        return None

    async def segment_video(
        self,
        task: FileTask,
        on_progress: OnVideoProgress,
        on_notice: OnNotice,
    ) -> Failure | None:
        """Segments one video file and writes the result file, or a folder of frames.

        `on_progress` receives the seconds of video that are done, and the duration in seconds or
        None. `on_notice` receives sentences about changes such as HDR to SDR. Returns None, or the
        reason of the failure.
        """
        if not is_installed("av"):
            return Failure(task.source, missing_module("av", "Videos", "video"))
        from silhouette_seg.video import VideoError, make_writer, segment_video

        try:
            overwrite = self.options.overwrite
            writer = make_writer(task.result, self.options.format, overwrite=overwrite)
            options = await self.models.pool.run_in_thread(self._stream_options)
            notify = partial(on_notice, task.source)
            await segment_video(task.source, writer, options, self.limits, on_progress, notify)
        except ServiceError as error:
            return Failure(task.source, explain(error))
        except VideoError as error:
            return Failure(task.source, str(error))
        except OSError as error:
            return Failure(task.source, error.strerror or str(error))
        return None

    def _stream_options(self) -> StreamOptions:
        background, options = self.background, self.options.options
        return StreamOptions(
            segmenter=self.models.registry.get_for_stream(options.model),
            render=options.render,
            smoothing=self.options.smoothing,
            background=decode(background.data, background.header) if background else None,
        )


async def run_all(
    tasks: Sequence[FileTask],
    segment: Callable[[FileTask], Awaitable[Failure | None]],
    concurrency: int,
    on_done: OnDone,
) -> None:
    """Calls `segment` for each task, `concurrency` at a time, and `on_done` with its result."""
    slots = asyncio.Semaphore(concurrency)

    async def run(task: FileTask) -> None:
        async with slots:
            failure = await segment(task)
        on_done(failure)

    await asyncio.gather(*(run(task) for task in tasks))


def _read_image(path: Path, limits: ImageLimits) -> ImageFile:
    """Reads an image file, checks its size in pixels, and returns it with its header.

    Raises OSError if it cannot be read, UnsupportedImageType or UnprocessableImage.
    """
    data = read_source(path)
    header = read_header(data)
    check_limits(header, limits)
    return ImageFile(data, header)


def _image_limits(settings: Settings) -> ImageLimits:
    return ImageLimits(
        pixels=settings.max_pixels, side=settings.max_side, aspect=settings.max_aspect
    )
