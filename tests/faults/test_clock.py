"""A wall clock that jumps, as after a suspend or a correction by NTP."""

import ast
import itertools
import time
from pathlib import Path

import pytest

from silhouette_seg.client import AsyncClient, Result
from tests.faults.metrics import metric_value
from tests.integration.conftest import on_socket
from tests.integration.pictures import pixels
from tests.support.images import make_jpeg, quadrants
from tests.support.tiny_model import tiny_spec, write_tiny_model

SERVICE = Path(__file__).resolve().parents[2] / "service" / "silhouette_seg"
WALL_CLOCKS = {
    "time": {"time", "time_ns", "localtime", "gmtime", "ctime", "strftime", "clock_gettime"},
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
}
"""Module or class -> its functions that read the wall clock."""
MAY_READ_WALL_CLOCK = {"telemetry/otel.py", "engine/statistics.py"}
"""Spans of traces, and Triton's statistics, carry a time of day.

All durations come from another clock.
"""
YEAR_S = 365 * 24 * 3600.0


def wall_clock_reads(source: str) -> list[str]:
    """Returns every place that reads a wall clock, as `line: name`."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(value=ast.Name(id=owner) | ast.Attribute(attr=owner), attr=name):
                if name in WALL_CLOCKS.get(owner, ()):
                    found.append(f"{node.lineno}: {owner}.{name}")
            case ast.ImportFrom(module="time", names=names):
                bad = {alias.name for alias in names} & WALL_CLOCKS["time"]
                found += [f"{node.lineno}: from time import {name}" for name in sorted(bad)]
    return found


@pytest.mark.parametrize(
    "source",
    [
        "import time\nt = time.time()",
        "from time import monotonic, time",
        "from datetime import datetime\nt = datetime.now()",
        "import datetime\nt = datetime.datetime.now()",
        "import time\nclock = time.time_ns",
    ],
)
def test_wall_clock_read_is_found(source):
    assert wall_clock_reads(source)


def test_service_measures_no_time_by_wall_clock():
    """Log lines have the time of their record, which `logging` reads."""
    files = sorted(SERVICE.rglob("*.py"))
    assert len(files) > 50
    read = {str(file.relative_to(SERVICE)): wall_clock_reads(file.read_text()) for file in files}
    assert {name: found for name, found in read.items() if found}.keys() == MAY_READ_WALL_CLOCK


@pytest.fixture
def jumping_clock(monkeypatch) -> None:
    """Makes every reading of the wall clock differ by years from the previous one."""
    jumps = itertools.cycle((30 * YEAR_S, 0.0, 60 * YEAR_S, 10 * YEAR_S))
    start = time.monotonic()

    def now() -> float:
        return next(jumps) + time.monotonic() - start

    monkeypatch.setattr(time, "time", now)
    monkeypatch.setattr(time, "time_ns", lambda: int(1e9 * now()))


async def test_photos_and_streams_survive_clock_jumps(settings_with, tmp_path, jumping_clock):
    """The queue, deadlines, stages, pings and temporal context of a server all measure time."""
    write_tiny_model(tmp_path, tiny_spec("rcrnet"))
    photo = make_jpeg(quadrants())
    with on_socket(settings_with(model_repository=tmp_path)) as service:
        async with AsyncClient(service.url) as client:
            results = [await client.segment(photo) for _ in range(3)]
            async with client.stream(format="png", smoothing=0) as stream:
                frames = []
                for _ in range(3):
                    await stream.send(photo)
                    frames.append(await anext(stream))
            metrics = await client._http.get("/metrics")
    assert len({result.body for result in results}) == 1
    for result in results:
        assert all(0 <= seconds < YEAR_S for seconds in result.timings_s.values())
    assert all(isinstance(frame, Result) for frame in frames)
    assert all(0 <= frame.server_s < YEAR_S for frame in frames)
    # The second frame uses the mask of the first: the model's output is its red xor that mask.
    assert [int(pixels(frame.picture)[16, 20]) > 240 for frame in frames] == [True, False, False]
    assert metric_value(metrics, "silhouette_requests_total", code="ok", route="/v1/segment") == 3
    assert metric_value(metrics, "silhouette_frames_total", outcome="result") == 3
    assert 0 < metric_value(metrics, "silhouette_stage_seconds_sum") < YEAR_S
