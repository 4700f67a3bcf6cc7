"""Models that can be stopped, made to fail and asked what they ran: `tests/triton/fault_model.py`.

They have the configuration of a model of ours, but for the backend, one instance, and a queue that
is short and patient.
"""

import time
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from shutil import copy

import numpy as np
from google.protobuf import text_format

from silhouette_seg.spec import SPEC_FILE, ModelSpec
from tests.support.config_lint import parse
from tests.support.tiny_model import tiny_spec
from training.export.triton_config import CPU, model_config

MODEL = Path(__file__).parent / "fault_model.py"
QUEUE_SIZE = 2
PATIENCE_S = 60
"""For anything, beside other work."""


class Fault(IntEnum):
    NONE = 0
    EXCEPTION = 1
    INVALID = 2
    EXIT = 3


@dataclass(frozen=True)
class FaultModel:
    """The test's end of a fault model."""

    spec: ModelSpec
    folder: Path

    def close(self) -> None:
        """The next batch is held, and what comes after it waits."""
        (self.folder / "held").unlink(missing_ok=True)
        (self.folder / "closed").touch()

    def wait_until_held(self) -> None:
        """Until a batch is held by the gate, which is closed."""
        give_up = time.monotonic() + PATIENCE_S
        while not (self.folder / "held").exists():
            assert time.monotonic() < give_up, f"no batch was ever held: {self.ran}"
            time.sleep(0.002)

    def open(self) -> None:
        (self.folder / "closed").unlink(missing_ok=True)

    @property
    def ran(self) -> list[list[int]]:
        """Of each batch that the model began, in order, the red of the first pixel of each row."""
        file = self.folder / "ran"
        lines = file.read_text().splitlines() if file.exists() else []
        return [[int(red) for red in line.split()] for line in lines]

    def forget(self) -> None:
        """Open, with nothing in its memory."""
        self.open()
        (self.folder / "ran").unlink(missing_ok=True)

    def image(self, red: int = 0, fault: Fault = Fault.NONE) -> np.ndarray:
        """One row, all of one red."""
        image = np.zeros((1, *self.spec.size_hw, 3), np.uint8)
        image[..., 0] = red
        if fault:
            image[0, 0, 0, 1:] = fault, 255
        return image


def write_fault_model(repository: Path, name: str, *, max_batch: int = 1) -> FaultModel:
    spec = tiny_spec(name, max_batch=max_batch)
    folder = repository / name
    (folder / str(spec.version)).mkdir(parents=True)
    copy(MODEL, folder / str(spec.version) / "model.py")
    (folder / SPEC_FILE).write_text(spec.model_dump_json())
    config = parse(model_config(spec, CPU))
    config.backend = "python"
    config.instance_group[0].count = 1
    policy = config.dynamic_batching.default_queue_policy
    policy.max_queue_size = QUEUE_SIZE
    policy.default_timeout_microseconds = PATIENCE_S * 1_000_000
    (folder / "config.pbtxt").write_text(text_format.MessageToString(config))
    return FaultModel(spec, folder)
