"""Uses the client that openapi-python-client generates. Arguments: address, photo, folder."""

import importlib
import json
import pkgutil
import sys
from pathlib import Path

import silhouette_client
from silhouette_client import Client
from silhouette_client.api.segment import (
    segment,
    segment_batch,
    segment_binary,
    segment_json,
    segment_report,
)
from silhouette_client.models.batch_form import BatchForm
from silhouette_client.models.problem import Problem
from silhouette_client.models.report import Report
from silhouette_client.models.segment_form import SegmentForm
from silhouette_client.models.segment_form_output import SegmentFormOutput
from silhouette_client.models.segment_object import SegmentObject
from silhouette_client.types import File

for module in pkgutil.walk_packages(silhouette_client.__path__, "silhouette_client."):
    importlib.import_module(module.name)

url, photo, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
client = Client(base_url=url)


def image() -> File:
    return File(payload=photo.open("rb"), file_name=photo.name, mime_type="image/png")


def save(name: str, answer: object) -> None:
    assert isinstance(answer, File), answer
    (folder / name).write_bytes(answer.payload.read())


save("mask", segment.sync(client=client, body=SegmentForm(image=image())))
cutout = SegmentForm(image=image(), output=SegmentFormOutput.CUTOUT)
save("cutout", segment.sync(client=client, body=cutout))
save("binary", segment_binary.sync(client=client, body=image()))
save("batch", segment_batch.sync(client=client, body=BatchForm(image=[image(), image()])))

problem = segment.sync(client=client, body=SegmentForm(image=image(), background="#20639b"))
assert isinstance(problem, Problem)
(folder / "problem").write_text(json.dumps(problem.to_dict()))

report = segment_report.sync(client=client, body=SegmentForm(image=image()))
assert isinstance(report, Report)
encoded = segment_json.sync(client=client, body=SegmentObject(image=report.image.data))
assert isinstance(encoded, Report)
assert encoded.image.width == report.photo.width
