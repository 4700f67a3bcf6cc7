"""A wall clock that jumps, as when a machine wakes up or hears of the right time."""

import ast
import itertools
import time
from pathlib import Path

import pytest

from silhouette_seg.client import Client, Result
from tests.faults.metrics import value
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
"""Of a module or class, what reads the wall clock."""
TELLS_WHEN = {"telemetry/otel.py"}
"""Spans of traces say when they were; how long they took is of another clock."""
YEAR_S = 365 * 24 * 3600.0


def wall_clocks(source: str) -> list[str]:
    """Every place that reads one, by its own name or by that of the module."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(value=ast.Name(id=owner) | ast.Attribute(attr=owner), attr=name):
                if name in WALL_CLOCKS.get(owner, ()):
                    found.append(f"{node.lineno}: {owner}.{name}")
            case ast.ImportFrom(module="time", names=names):
                bad = {each.name for each in names} & WALL_CLOCKS["time"]
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
def test_a_wall_clock_is_found(source):
    assert wall_clocks(source)


def test_nothing_is_timed_by_the_wall_clock():
    """The time of a log line is that of its record, which logging reads."""
    files = sorted(SERVICE.rglob("*.py"))
    assert len(files) > 50
    read = {str(file.relative_to(SERVICE)): wall_clocks(file.read_text()) for file in files}
    assert {name: found for name, found in read.items() if found}.keys() == TELLS_WHEN


@pytest.fixture
def jumping(monkeypatch) -> None:
    """Each look at the wall clock is years after the one before, or before it."""
    jumps = itertools.cycle((30 * YEAR_S, 0.0, 60 * YEAR_S, 10 * YEAR_S))
    began = time.monotonic()

    def now() -> float:
        return next(jumps) + time.monotonic() - began

    monkeypatch.setattr(time, "time", now)
    monkeypatch.setattr(time, "time_ns", lambda: int(1e9 * now()))


async def test_photos_and_streams_do_not_notice(settings_with, tmp_path, jumping):
    """A real server, whose queue, deadlines, stages, pings and memory of frames are all timed."""
    write_tiny_model(tmp_path, tiny_spec("rcrnet"))
    photo = make_jpeg(quadrants())
    with on_socket(settings_with(model_repository=tmp_path)) as service:
        async with Client(service.url) as client:
            done = [await client.segment(photo) for _ in range(3)]
            async with client.stream(format="png", smoothing=0) as stream:
                frames = []
                for _ in range(3):
                    await stream.send(photo)
                    frames.append(await anext(stream))
            metrics = await client._http.get("/metrics")
    assert len({answer.body for answer in done}) == 1
    for answer in done:
        assert all(0 <= spent < YEAR_S for spent in answer.timings_s.values())
    assert all(isinstance(frame, Result) for frame in frames)
    assert all(0 <= frame.server_s < YEAR_S for frame in frames)
    # The second frame remembers the first: the model's answer is its red xor the mask before.
    assert [int(pixels(frame.picture)[16, 20]) > 240 for frame in frames] == [True, False, False]
    assert value(metrics, "silhouette_requests_total", code="ok", route="/v1/segment") == 3
    assert value(metrics, "silhouette_frames_total", outcome="result") == 3
    assert 0 < value(metrics, "silhouette_stage_seconds_sum") < YEAR_S
