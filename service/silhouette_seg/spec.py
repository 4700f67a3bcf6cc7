"""Description of a model in `spec.json`: tensors, input size, resize rule, digest.

The export of training and the import of other models write the file. The service and the
evaluation read it. docs/models.md describes each field.
"""

from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

SPEC_FILE = "spec.json"
MODEL_FILE = "model.onnx"


class ResizeRule(StrEnum):
    """Method that fits a photo of any aspect ratio to the fixed input size of a model."""

    STRETCH = "stretch"
    """Each side is scaled to the input size; the aspect ratio changes."""
    LETTERBOX = "letterbox"
    """The photo is scaled to fit inside the input and centred on grey; the aspect ratio stays."""


class ModelTask(StrEnum):
    """Kind of prediction that a model makes."""

    SEGMENTATION = "segmentation"
    """The output is `alpha` uint8 [N,H,W]: 255 x the probability of person."""
    FACES = "faces"
    """The output is `faces` float32 [N,cells,5], one possible face per cell of a grid.

    The five are score, top, left, height and width; `silhouette_seg.pipeline.faces` decodes them.
    """


def find_model_repository() -> Path:
    """Returns the folder of the models: inside the installed package, else in the checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "model_repository"
    return installed if installed.is_dir() else package.parents[1] / "model_repository"


DATATYPES = {"uint8": "UINT8", "int64": "INT64", "float32": "FP32"}
"""Name in the Open Inference Protocol, which Triton implements, of each numpy dtype."""


class TensorSpec(BaseModel):
    """Name, dtype and shape of one input or output tensor of a model.

    The first side of `shape` is -1: the batch axis, of any length.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    dtype: Literal["uint8", "int64", "float32"]
    shape: tuple[int, ...]

    @property
    def datatype(self) -> str:
        """Name of `dtype` in the Open Inference Protocol: UINT8, INT64 or FP32."""
        return DATATYPES[self.dtype]

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one row of the batch in the Open Inference Protocol: `shape` without its -1.

        A row that is a single number has shape [1], because Triton's tensors have an axis besides
        the batch.
        """
        return self.shape[1:] or (1,)


class ModelSpec(BaseModel):
    """Content of a model's `spec.json`: tensors, input size, resize rule and digest of the weights.

    The input `image` is uint8 [N,H,W,3] RGB. Some models have a second input. `prior` uint8
    [N,H,W] is the mask of the previous video frame, 255 = person. `domain` int64 [N] is the
    distance of the person, a value of `silhouette_seg.pipeline.faces.Domain`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    """Name of the training run that produced the weights, or the import that brought them."""
    metrics: dict[str, dict[str, float]] = {}
    """Scores on the validation split by data set: {"eg1800": {"miou_image_mean": ...}}."""
    licence: str

    @property
    def task(self) -> ModelTask:
        """Kind of prediction: FACES if the output is named `faces`, else SEGMENTATION."""
        return ModelTask.FACES if self.output.name == "faces" else ModelTask.SEGMENTATION

    def has_input(self, name: str) -> bool:
        """Returns True if the model has an input of this name."""
        return any(tensor.name == name for tensor in self.inputs)

    def model_file(self, repository: Path) -> Path:
        """Returns the path of the model's ONNX file below the folder `repository`."""
        return repository / self.name / str(self.version) / MODEL_FILE


def load_spec(model_dir: Path) -> ModelSpec:
    """Reads and returns the `spec.json` in the folder of one model.

    Raises OSError if the file cannot be read, and ValueError with its faults if it is invalid.
    """
    try:
        return ModelSpec.model_validate_json((model_dir / SPEC_FILE).read_bytes())
    except ValidationError as error:
        raise ValueError(f"{SPEC_FILE} is invalid: {_describe(error)}") from error


def _describe(error: ValidationError) -> str:
    """Returns the faults of a spec, each after the name of its field."""
    faults = [(".".join(map(str, fault["loc"])), fault["msg"]) for fault in error.errors()]
    return "; ".join(f"{field}: {text}" if field else text for field, text in faults)
