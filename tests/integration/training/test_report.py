"""Runs the command of the report: its text, its pictures, and photos only in the gallery."""

import os
import re

import cv2
import pytest
import typer
from typer.testing import CliRunner

from silhouette_seg.pipeline.faces import Domain
from tests.support.made_report import write_report_pack, write_report_repository
from tests.support.tiny_model import tiny_spec, write_tiny_model
from training.report.__main__ import main
from training.report.scores import DETECTED_DOMAIN, NO_FACE_DOMAIN, REFERENCE_DOMAIN


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_report_pack(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    return write_report_repository(tmp_path_factory.mktemp("model_repository"))


def run_report(data, repository, folder):
    app = typer.Typer()
    app.command()(main)
    options = {
        "--data": data,
        "--repository": repository,
        "--folder": folder,
        "--gallery": folder / "gallery",
    }
    arguments = [str(part) for option in options.items() for part in option]
    result = CliRunner().invoke(app, [*arguments, "--quick"])
    assert result.exit_code == 0, (result.output, result.exception)
    return (folder / "RESULTS.md").read_text()


@pytest.fixture(scope="module")
def report_folder(tmp_path_factory, data, repository):
    """Returns the folder that one run of the command wrote."""
    folder = tmp_path_factory.mktemp("report")
    run_report(data, repository, folder)
    return folder


@pytest.fixture(scope="module")
def report(report_folder):
    return (report_folder / "RESULTS.md").read_text()


def without_times(report):
    """Removes the section, the table and the paragraphs that contain times."""
    timed = r"## Time\n.*?\n(?=## )|One thread, median.*?\n(?=#)|[^\n]* ms of processor time[^\n]*"
    return re.sub(timed, "", report, flags=re.DOTALL).partition("median ms")[0]


def test_report_lists_every_model_with_each_policy(report):
    policies = [
        f"md_trisenet ({policy})" for policy in (REFERENCE_DOMAIN, DETECTED_DOMAIN, NO_FACE_DOMAIN)
    ]
    head = next(line for line in report.splitlines() if line.startswith("|  | photos |"))
    assert {cell.strip() for cell in head.split("|")[3:-1]} == {"connectnet", "rcrnet", *policies}


def test_report_links_to_existing_pictures(report_folder, report):
    links = set(re.findall(r"!\[[^]]*]\(([^)]+)\)", report))
    assert {os.path.basename(link) for link in links} == {
        "accuracy_time.png",
        "domains.png",
        "sources.png",
        "reliability.png",
        "curve.png",
    }
    assert all((report_folder / link).exists() for link in links)
    for name in ("accuracy_time", "domains", "reliability", "sources"):
        picture = cv2.imread(str(report_folder / "results" / f"{name}.png"))
        assert picture.min() < picture.max()


def test_report_writes_photos_only_to_the_gallery(report_folder):
    gallery = {file.name for file in (report_folder / "gallery").iterdir()}
    assert gallery == {"connectnet.png", "md_trisenet.png", "rcrnet.png"}
    assert {file.name for file in (report_folder / "results").iterdir()} == {
        "accuracy_time.png",
        "domains.png",
        "reliability.png",
        "sources.png",
    }


def test_report_has_the_sections_in_order(report):
    assert re.findall(r"^## (.+)$", report, re.MULTILINE) == [
        "Models",
        "Accuracy",
        "Differences",
        "Seen and unseen data sources",
        "Targets",
        "Cost of an outline error",
        "Zoom",
        "Edges and colours",
        "Calibration",
        "Streams",
        "Time",
        "Learning curves",
        "Failures",
        "Face detector",
        "Not verified",
    ]


def test_report_of_a_quick_run_states_it(report):
    assert "quick run" in report


def test_report_has_the_confusion_of_face_domains(report):
    assert "## Face detector" in report
    section = report.partition("### Domains by face_detector")[2]
    assert all(f"| {domain.label} |" in section for domain in Domain)


def test_report_repeats_exactly_except_for_times(data, repository, report_folder, report):
    folder = report_folder.parent / "again"
    folder.mkdir()
    assert without_times(run_report(data, repository, folder)) == without_times(report)


def test_report_marks_a_file_with_another_digest(data, repository, tmp_path):
    """The report of a single model has no section without content."""
    copy = tmp_path / "models"
    spec = tiny_spec()
    write_tiny_model(copy, spec)
    (copy / "connectnet" / "spec.json").write_text(spec.model_dump_json())
    report = run_report(data, copy, tmp_path / "out")
    assert "**(not the file's)**" in report
    assert "## Face detector" not in report
    assert "## Differences" not in report
