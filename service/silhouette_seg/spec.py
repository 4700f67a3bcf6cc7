"""What a model takes and gives: `spec.json`, written by export and read by everyone."""

from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

SPEC_FILE = "spec.json"


class ResizeRule(StrEnum):
    """How a photo of any shape becomes the model's input."""

    STRETCH = "stretch"
    """Both sides to the model's size; the aspect ratio changes."""
    LETTERBOX = "letterbox"
    """The longer side to the model's size, centred on grey; the aspect ratio stays."""


class Task(StrEnum):
    """What a model is for."""

    SEGMENTATION = "segmentation"
    """Gives `alpha` uint8 [N,H,W]: 255 x the probability of person."""
    FACES = "faces"
    """Gives `faces` float32 [N,cells,5], which `silhouette_seg.pipeline.faces` reads."""


DATATYPES = {"uint8": "UINT8", "int64": "INT64", "float32": "FP32"}
"""Names of the dtypes in the Open Inference Protocol, which Triton implements."""


class TensorSpec(BaseModel):
    """One tensor of the graph; -1 stands for the batch axis."""

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

    `image` is uint8 [N,H,W,3] RGB. Some models take more: `prior` uint8 [N,H,W], the alpha of the
    frame before, or `domain` int64 [N], a value of `silhouette_seg.pipeline.faces.Domain`.
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
    """The training run that made the weights."""
    metrics: dict[str, dict[str, float]] = {}
    """Measured on the validation split, by source: {"eg1800": {"miou_image_mean": ...}}."""
    licence: str

    @property
    def task(self) -> Task:
        return Task.FACES if self.output.name == "faces" else Task.SEGMENTATION

    def takes(self, name: str) -> bool:
        """Whether `name` is one of the inputs."""
        return any(tensor.name == name for tensor in self.inputs)

    def model_file(self, repository: Path) -> Path:
        return repository / self.name / str(self.version) / "model.onnx"


def load_spec(model_dir: Path) -> ModelSpec:
    """Reads `spec.json` of one model; raises OSError or pydantic.ValidationError."""
    return ModelSpec.model_validate_json((model_dir / SPEC_FILE).read_bytes())
