"""Segments photo files by sending them to a running service over HTTP."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from silhouette_seg.api.response.report import REQUEST_FIELDS
from silhouette_seg.cli.console import fail
from silhouette_seg.cli.files import read_source, report_path, write_result
from silhouette_seg.cli.local import run_all
from silhouette_seg.cli.outcome import Failure, notices
from silhouette_seg.cli.progress import OnDone, OnNotice
from silhouette_seg.cli.tasks import FileTask
from silhouette_seg.client import AsyncClient, ClientError, Refused, Retries
from silhouette_seg.client.parameters import PhotoParameters
from silhouette_seg.errors import InvalidArgument, ModelFailed, UnknownModel, with_limit
from silhouette_seg.pipeline.model_folders import AUTO

CONCURRENT_REQUESTS = 4
"""Number of photos that are sent to the service at the same time."""
PATIENT_RETRIES = Retries(busy_s=600)
"""Retries that wait while the service is busy, as a folder of photos keeps it so."""


@dataclass(frozen=True, slots=True)
class RemoteOptions:
    """Request parameters, and an optional background file, that apply to every photo."""

    parameters: Mapping[str, str]
    background: Path | None = None


def open_client(server: str, key: str | None) -> AsyncClient:
    """Returns a client of the service at the URL `server`; a wrong URL ends the command."""
    try:
        return AsyncClient(server, key, retries=PATIENT_RETRIES)
    except InvalidArgument as error:
        fail(f"--server: {error.reason}")


async def segment_remote(
    tasks: Sequence[FileTask],
    options: RemoteOptions,
    client: AsyncClient,
    on_done: OnDone,
    on_notice: OnNotice,
) -> None:
    """Sends photo files to a service and writes the results, a few at a time.

    Calls `on_done` after each photo, and `on_notice` with the sentences of `notices`.
    Before it sends a photo it raises ClientError if the service cannot be reached or rejects the
    key, UnknownModel or ModelFailed for a model that is not served, and OSError for an unreadable
    background file.
    """
    await _check_model(client, options.parameters.get("model", AUTO))
    parameters = cast(PhotoParameters, dict(options.parameters))
    if options.background:
        parameters["background"] = await asyncio.to_thread(options.background.read_bytes)

    async def segment(task: FileTask) -> Failure | None:
        try:
            photo = await asyncio.to_thread(read_source, task.source)
            segmented = await client.segment(photo, **parameters)
            if segmented.report is not None:  # before the result, whose existence ends the task
                facts = _facts(segmented.report)
                await asyncio.to_thread(write_result, report_path(task.result), facts)
            await asyncio.to_thread(write_result, task.result, segmented.body)
            for notice in notices(segmented.warning, segmented.blurred_faces):
                on_notice(task.source, notice)
        except Refused as error:
            return Failure(task.source, with_limit(error.detail, error.limit, error.actual))
        except ClientError as error:
            return Failure(task.source, str(error))
        except OSError as error:
            return Failure(task.source, error.strerror or str(error))
        return None

    await run_all(tasks, segment, CONCURRENT_REQUESTS, on_done)


async def _check_model(client: AsyncClient, model: str) -> None:
    """Raises UnknownModel or ModelFailed, with the reason, for a model that is not served."""
    models = await client.models()
    if model in (AUTO, *models):
        return
    failures = await client.failed_models()
    if model in failures:
        raise ModelFailed(model, failures[model])
    raise UnknownModel(model, models)


def _facts(report: Mapping[str, Any]) -> bytes:
    """Returns the facts of a JSON report, as `facts_json` does for a photo segmented here."""
    facts = {name: value for name, value in report.items() if name not in REQUEST_FIELDS}
    return json.dumps(facts, indent=2, ensure_ascii=False).encode()
