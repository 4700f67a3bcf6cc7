"""Tests of the comparison with fake servers in their own processes."""

import sys
from pathlib import Path

import pytest

from loadtests.compare.__main__ import compare
from loadtests.compare.measure import Plan
from loadtests.compare.report import write_report
from loadtests.compare.server_specs import ServerSpec
from tests.support.mask_server import mask_png

ROOT = Path(__file__).resolve().parents[2]
PLAN = Plan(rounds=2, clients=(1, 3), seconds=0.2, warm_up_s=0.1, overload_s=0.6)


def server(name: str, mask: Path, *, python: str = sys.executable) -> ServerSpec:
    return ServerSpec(
        name,
        f"Server {name}",
        "Returns one mask.",
        (python, str(ROOT / "tests" / "support" / "mask_server.py"), "{port}", str(mask)),
        "/mask",
        "/health",
        environment={"PYTHONPATH": str(ROOT)},
    )


@pytest.fixture
def mask(tmp_path):
    file = tmp_path / "mask.png"
    file.write_bytes(mask_png())
    return file


def test_every_installed_server_is_measured_and_reported(mask, tmp_path):
    servers = [server("one", mask), server("absent", mask, python="/nowhere/python")]
    trials = [server("two", mask), server("two", mask)]
    figures = compare(servers, trials, PLAN)
    assert [trial["title"] for trial in figures["trials"]] == ["Server two", "Server two"]
    assert [row["name"] for row in figures["subjects"]] == ["two", "one"]
    assert "not built" in figures["left_out"]["Server absent"]
    for measured in figures["subjects"]:
        assert measured["agreement"] == 1
        assert measured["processes"] == 1
        assert measured["steady_mb"] > 10
        for row in measured["closed"].values():
            assert row["error_share"] == 0
            assert row["per_s"] > 0
            assert row["cpu_ms"] is not None
        assert measured["overload"]["sent"] > 0
        assert measured["overload"]["health"]["answered"] > 0
    write_report(figures, tmp_path / "RESULTS.md", tmp_path)
    assert "| Server two |" in (tmp_path / "RESULTS.md").read_text()


def test_failing_server_is_left_out_with_reason(mask, tmp_path):
    other, bad = tmp_path / "other.png", tmp_path / "bad.png"
    other.write_bytes(mask_png(share=0.25))
    bad.write_bytes(b"no mask")
    servers = [server("one", mask), server("two", other), server("three", bad)]
    figures = compare([*servers, server("four", tmp_path / "none.png")], [], PLAN)
    assert [row["name"] for row in figures["subjects"]] == ["one"]
    reasons = figures["broken"]
    assert reasons.keys() == {"Server two", "Server three", "Server four"}
    assert "MasksDiffer: Server two: mask agreement is 0.500" in reasons["Server two"]
    assert "InvalidMask: not a PNG" in reasons["Server three"]
    assert "ServerFailed: the server exited with code 1" in reasons["Server four"]
    assert reasons.items() <= figures["left_out"].items()
