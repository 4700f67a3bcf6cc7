"""A data pack and a model repository that are small enough for the report."""

import re
from pathlib import Path

from tests.support.made_data import write_data_pack
from tests.support.tiny_model import tiny_spec, write_tiny_model

NAMES = ("connectnet", "face_detector", "md_trisenet", "rcrnet")


def write_report_pack(folder: Path) -> Path:
    """Writes a data pack with one scene without a person in the validation split."""
    data = write_data_pack(folder, val=24)
    index = data / "backgrounds" / "index.csv"
    index.write_text(re.sub(r"(?m)^(empty0,.*),train", r"\1,val", index.read_text()))
    return data


def write_report_repository(folder: Path) -> Path:
    """Writes a tiny model of each published name."""
    for name in NAMES:
        write_tiny_model(folder, tiny_spec(name))
    (folder / "connectnet" / "curve.png").write_bytes(b"")
    return folder
