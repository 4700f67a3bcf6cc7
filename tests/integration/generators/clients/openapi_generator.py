"""Uses the Python client that openapi-generator generates. Arguments: address, photo, folder."""

import importlib
import json
import pkgutil
import sys
from pathlib import Path

import openapi_client
from openapi_client import ApiClient, ApiException, Configuration, SegmentApi

for module in pkgutil.walk_packages(openapi_client.__path__, "openapi_client."):
    importlib.import_module(module.name)

url, photo, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
data = photo.read_bytes()
image = (photo.name, data)

with ApiClient(Configuration(host=url)) as client:
    api = SegmentApi(client)
    (folder / "mask").write_bytes(api.segment(image=image))
    (folder / "cutout").write_bytes(api.segment(image=image, output="cutout"))
    (folder / "binary").write_bytes(api.segment_binary(body=data))
    (folder / "batch").write_bytes(api.segment_batch(image=[image, image]))
    try:
        api.segment(image=image, background="#20639b")
    except ApiException as error:
        (folder / "problem").write_text(json.dumps(error.data.to_dict()))
    report = api.segment_report(image=image)
    assert report.image.width == report.photo.width
