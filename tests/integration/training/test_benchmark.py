"""Runs the benchmark's commands: each reports all figures; no figure is judged."""

import json

import pytest
from typer.testing import CliRunner

from tests.support.tiny_model import tiny_spec, write_tiny_model
from training.benchmark.__main__ import app
from training.benchmark.pixels import NAIVE_STEP, SERVICE_STEP


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model_repository")
    write_tiny_model(folder)
    return folder


@pytest.fixture
def figures(tmp_path):
    """Runs a command and returns its JSON output."""

    def run(*arguments: str):
        file = tmp_path / "figures.json"
        result = CliRunner().invoke(app, [*arguments, "--json", str(file)])
        assert result.exit_code == 0, (result.output, result.exception)
        output = json.loads(file.read_text())
        assert output.pop("machine")["usable_cpus"] >= 1
        return output

    return run


def test_pixels_benchmark_has_a_row_per_step_and_the_naive_ratio(figures):
    rows = figures("pixels", "--sizes", "640x480", "--calls", "3", "--budget-s", "0")["pixels"]
    steps = {row["step"]: row for row in rows}
    assert {
        "decode",
        "fit",
        "unfit",
        "cutout",
        "composite",
        "blur",
        SERVICE_STEP,
        NAIVE_STEP,
    } <= steps.keys()
    assert all(row["calls"] == 3 and row["p50_ms"] > 0 for row in rows)
    assert [name for name, row in steps.items() if "ratio" in row] == [NAIVE_STEP]


def test_model_benchmark_has_rows_for_one_and_all_workers(figures, repository):
    rows = figures("model", "--repository", str(repository), "--images", "4", "--rounds", "1")
    assert {row["model"] for row in rows["model"]} == {"connectnet"}
    assert rows["model"][0]["workers"] == 1
    assert all(row["provider"] == "CPUExecutionProvider" for row in rows["model"])


def test_model_benchmark_supports_models_with_a_second_input(figures, tmp_path):
    names = {"rcrnet", "md_trisenet", "face_detector"}
    for name in names:
        write_tiny_model(tmp_path, tiny_spec(name))
    rows = figures("model", "--repository", str(tmp_path), "--images", "4", "--rounds", "1")
    assert {row["model"] for row in rows["model"]} == names
    assert all(row["ms"] > 0 for row in rows["model"])


def test_http_benchmark_compares_server_and_pipeline_and_measures_memory(figures, repository):
    counts = {"workers": 2, "clients": 2, "starts": 1, "rounds": 2, "requests": 4, "mixed": 40}
    options = [text for name, count in counts.items() for text in (f"--{name}", str(count))]
    found = figures("http", "--repository", str(repository), *options)
    assert found["start"]["starts"] == 1
    assert [row["side"] for row in found["rounds"]] == 2 * ["http", "in process", "library"]
    assert all(row.get("unexpected", 0) == 0 for row in found["rounds"])
    assert found["summary"]["ratio"] > 0
    memory = found["memory"]
    assert [row["requests"] for row in memory] == [0, 10, 20, 30, 40]
    assert memory[-1]["peak_mb"] >= memory[-1]["rss_mb"] > 0
    assert [row["unexpected"] for row in memory] == 5 * [""]
