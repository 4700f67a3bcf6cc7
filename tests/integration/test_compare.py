"""The comparison as it is run, of two servers that are none."""

import sys
from pathlib import Path

import pytest

from loadtests.compare.__main__ import compared
from loadtests.compare.measure import Plan
from loadtests.compare.report import write_report
from loadtests.compare.subjects import Subject
from tests.support.mask_server import mask_png

ROOT = Path(__file__).resolve().parents[2]
PLAN = Plan(rounds=2, clients=(1, 3), seconds=0.2, warm_up_s=0.1, overload_s=0.6)


def subject(name: str, mask: Path, *, python: str = sys.executable) -> Subject:
    return Subject(
        name,
        f"Server {name}",
        "Gives one mask.",
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


def test_every_server_is_measured_and_reported(mask, tmp_path):
    servers = [subject("one", mask), subject("absent", mask, python="/nowhere/python")]
    trials = [subject("two", mask), subject("two", mask)]
    figures = compared(servers, trials, PLAN)
    assert [each["title"] for each in figures["trials"]] == ["Server two", "Server two"]
    assert [each["name"] for each in figures["subjects"]] == ["two", "one"]
    assert "not built" in figures["left_out"]["Server absent"]
    for each in figures["subjects"]:
        assert each["agreement"] == 1
        assert each["processes"] == 1
        assert each["steady_mb"] > 10
        for row in each["closed"].values():
            assert row["error_share"] == 0
            assert row["per_s"] > 0
            assert row["cpu_ms"] is not None
        assert each["overload"]["sent"] > 0
        assert each["overload"]["health"]["answered"] > 0
    write_report(figures, tmp_path / "RESULTS.md", tmp_path)
    assert "| Server two |" in (tmp_path / "RESULTS.md").read_text()


def test_a_server_that_breaks_is_left_out_with_the_reason(mask, tmp_path):
    other, bad = tmp_path / "other.png", tmp_path / "bad.png"
    other.write_bytes(mask_png(share=0.25))
    bad.write_bytes(b"no mask")
    servers = [subject("one", mask), subject("two", other), subject("three", bad)]
    figures = compared([*servers, subject("four", tmp_path / "none.png")], [], PLAN)
    assert [each["name"] for each in figures["subjects"]] == ["one"]
    reasons = figures["broken"]
    assert reasons.keys() == {"Server two", "Server three", "Server four"}
    assert "NotTheSame: Server two: the masks agree to 0.500" in reasons["Server two"]
    assert "BadMask: no PNG" in reasons["Server three"]
    assert "ServerFailed: the server ended with 1" in reasons["Server four"]
    assert reasons.items() <= figures["left_out"].items()
