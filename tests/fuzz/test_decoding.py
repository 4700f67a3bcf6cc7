"""Damaged images in a process of their own: no crash, no hang, and bounded memory."""

import json
import os
import subprocess
import sys

MALLOC = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
"""Freed memory returns to the system at once, so that each image is measured alone."""


def test_damaged_images_neither_crash_nor_exhaust_memory(mutations, tmp_path, record_measurement):
    progress = tmp_path / "progress"
    arguments = ["-m", "tests.fuzz.decode_damaged", str(mutations), "0", str(progress)]
    run = subprocess.run(
        [sys.executable, *arguments], env=os.environ | MALLOC, capture_output=True, text=True
    )
    assert run.returncode == 0, (progress.read_text(), run.stderr[-3000:])
    summary = json.loads(run.stdout)
    record_measurement(run.stdout)
    assert summary["over_bytes"][0] <= 0, summary
    assert summary["outcomes"]["ok"] > mutations / 20, summary
    assert summary["outcomes"]["undecodable_image"] > mutations / 20, summary
