"""Photos in files through a service that runs elsewhere."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from silhouette_seg.cli.local import attempt_all, write_whole
from silhouette_seg.cli.tasks import Failure, Task
from silhouette_seg.client import Client, ClientError
from silhouette_seg.errors import UnknownModel

AT_ONCE = 4
"""Photos on their way at a time."""


@dataclass(frozen=True, slots=True)
class Posting:
    """What goes along with every photo: the parameters, and the background where it is a file."""

    parameters: Mapping[str, str]
    picture: Path | None = None


async def post_files(
    tasks: Sequence[Task], posting: Posting, client: Client, on_end: Callable[[], None]
) -> list[Failure]:
    """Runs every task, a few at a time, and tells `on_end` of each; returns what failed.

    Raises ClientError where the service is not there or does not want us, UnknownModel, and
    OSError for the picture: then nothing was sent.
    """
    models = await client.models()
    model = posting.parameters.get("model", "auto")
    if model not in ("auto", *models):
        raise UnknownModel(model, models)
    picture = await asyncio.to_thread(posting.picture.read_bytes) if posting.picture else None

    async def attempt(task: Task) -> Failure | None:
        if task.is_video:
            return Failure(task.photo, "A video is not sent to a service; leave --server out.")
        try:
            done = await client.segment(
                task.photo, background_image=picture, **dict(posting.parameters)
            )
            await asyncio.to_thread(write_whole, task.result, done.body)
        except ClientError as error:
            return Failure(task.photo, str(error))
        except OSError as error:
            return Failure(task.photo, error.strerror or str(error))
        return None

    return await attempt_all(tasks, attempt, AT_ONCE, on_end)
