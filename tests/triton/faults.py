"""Controls the models of `tests/triton/fault_model.py`: holds them, and reads their batches.

Their configuration is the generated one, except for the backend, one instance, and a short queue
with a long timeout.
"""

import time
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from shutil import copy

import numpy as np
from google.protobuf import text_format

from silhouette_seg.engine.triton.config_pbtxt import CPU_INSTANCES, model_config
from silhouette_seg.spec import SPEC_FILE, ModelSpec
from tests.support.config_lint import parse
from tests.support.tiny_model import tiny_spec

MODEL = Path(__file__).parent / "fault_model.py"
QUEUE_SIZE = 2
TIMEOUT_S = 60
"""Timeout of every wait, long enough for a busy machine."""


class Fault(IntEnum):
    NONE = 0
    EXCEPTION = 1
    INVALID = 2
    EXIT = 3


@dataclass(frozen=True)
class FaultModel:
    """A fault model as the test controls it."""

    spec: ModelSpec
    folder: Path

    def hold(self) -> None:
        """Holds the next batch; later requests wait in the queue."""
        (self.folder / "held").unlink(missing_ok=True)
        (self.folder / "closed").touch()

    def wait_until_held(self) -> None:
        """Returns once a batch is held."""
        give_up_at = time.monotonic() + TIMEOUT_S
        while not (self.folder / "held").exists():
            assert time.monotonic() < give_up_at, f"no batch was ever held: {self.executed}"
            time.sleep(0.002)

    def release(self) -> None:
        """Lets the held batch and all later ones run."""
        (self.folder / "closed").unlink(missing_ok=True)

    @property
    def executed(self) -> list[list[int]]:
        """Red of the first pixel of each row, for each batch that started, in order."""
        file = self.folder / "executed"
        lines = file.read_text().splitlines() if file.exists() else []
        return [[int(red) for red in line.split()] for line in lines]

    def reset(self) -> None:
        """Releases the model and clears its log."""
        self.release()
        (self.folder / "executed").unlink(missing_ok=True)

    def image(self, red: int = 0, fault: Fault = Fault.NONE) -> np.ndarray:
        """Returns one row of a single red value, with an optional fault."""
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
    config = parse(model_config(spec, CPU_INSTANCES))
    config.backend = "python"
    config.instance_group[0].count = 1
    policy = config.dynamic_batching.default_queue_policy
    policy.max_queue_size = QUEUE_SIZE
    policy.default_timeout_microseconds = TIMEOUT_S * 1_000_000
    (folder / "config.pbtxt").write_text(text_format.MessageToString(config))
    return FaultModel(spec, folder)
