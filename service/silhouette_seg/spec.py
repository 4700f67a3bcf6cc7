"""Contract of an exported model: `spec.json`, written by the export, read by every user of it."""

from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

SPEC_FILE = "spec.json"


class ResizeRule(StrEnum):
    """Method that fits a photo of any shape to the input of a model."""

    STRETCH = "stretch"
    """Scale both sides to the model's size; the aspect ratio changes."""
    LETTERBOX = "letterbox"
    """Scale the longer side to the model's size and centre it on grey; the aspect ratio stays."""


class ModelTask(StrEnum):
    """Purpose of a model."""

    SEGMENTATION = "segmentation"
    """The output is `alpha` uint8 [N,H,W]: 255 x the probability of person."""
    FACES = "faces"
    """The output is `faces` float32 [N,cells,5]; `silhouette_seg.pipeline.faces` decodes it."""


DATATYPES = {"uint8": "UINT8", "int64": "INT64", "float32": "FP32"}
"""Names of the dtypes in the Open Inference Protocol, which Triton implements."""


class TensorSpec(BaseModel):
    """One input or output tensor of the graph. In `shape`, -1 is the batch axis."""

    model_config = ConfigDict(frozen=True)

    name: str
    dtype: Literal["uint8", "int64", "float32"]
    shape: tuple[int, ...]

    @property
    def datatype(self) -> str:
        """Name of `dtype` in the Open Inference Protocol."""
        return DATATYPES[self.dtype]

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one row in the Open Inference Protocol.

        A row that is a single number has shape [1]: Triton's tensors have an axis besides the
        batch.
        """
        return self.shape[1:] or (1,)


class ModelSpec(BaseModel):
    """The contract of one exported model.

    The input `image` is uint8 [N,H,W,3] RGB. Some models have a second input. `prior` uint8
    [N,H,W] is the alpha of the previous frame. `domain` int64 [N] is a value of
    `silhouette_seg.pipeline.faces.Domain`.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    version: int = 1
    inputs: tuple[TensorSpec, ...]
    output: TensorSpec
    size_hw: tuple[int, int]
    resize: ResizeRule
    max_batch: int = Field(ge=1)
    precision: str
    sha256: str
    run: str
    """Name of the training run that produced the weights."""
    metrics: dict[str, dict[str, float]] = {}
    """Scores on the validation split, by source: {"eg1800": {"miou_image_mean": ...}}."""
    licence: str

    @property
    def task(self) -> ModelTask:
        """Task of the model, according to the name of its output."""
        return ModelTask.FACES if self.output.name == "faces" else ModelTask.SEGMENTATION

    def has_input(self, name: str) -> bool:
        """Returns whether the model has an input of this name."""
        return any(tensor.name == name for tensor in self.inputs)

    def model_file(self, repository: Path) -> Path:
        """Returns the path of the ONNX file in a model repository."""
        return repository / self.name / str(self.version) / "model.onnx"


def load_spec(model_dir: Path) -> ModelSpec:
    """Reads `spec.json` of one model folder. Raises OSError or pydantic.ValidationError."""
    return ModelSpec.model_validate_json((model_dir / SPEC_FILE).read_bytes())
