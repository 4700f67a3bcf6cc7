"""Python clients of the service: photos over HTTP, video frames over a WebSocket.

with Client("http://127.0.0.1:8000") as client:
    cutout = client.segment("photo.jpg", output="cutout")

async with AsyncClient("http://127.0.0.1:8000") as client:
    cutout = await client.segment("photo.jpg", output="cutout")
    async with client.stream(output="mask") as stream:
        async for answer in stream.map(frames()):
            ...
"""

from silhouette_seg.client.calls import Box, Segmented
from silhouette_seg.client.clients import AsyncClient, Client
from silhouette_seg.client.errors import ClientError, Refused, StreamClosed, Unreachable
from silhouette_seg.client.retries import Retries
from silhouette_seg.client.stream import Answer, Failed, Result, Skipped, Stream

__all__ = [
    "Answer",
    "AsyncClient",
    "Box",
    "Client",
    "ClientError",
    "Failed",
    "Refused",
    "Result",
    "Retries",
    "Segmented",
    "Skipped",
    "Stream",
    "StreamClosed",
    "Unreachable",
]
