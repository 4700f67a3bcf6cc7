"""Servers of the comparison: their commands and the requests that they get."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVERS_FOLDER = Path(__file__).with_name("servers")
MODEL = ROOT / "model_repository" / "connectnet" / "1" / "model.onnx"
ONNX_BIN = ROOT / ".venv-compare" / "bin"
MEDIAPIPE_BIN = ROOT / ".venv-compare-mediapipe" / "bin"


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """One server of the comparison."""

    name: str
    title: str
    description: str
    """Description in the report."""
    command: tuple[str, ...]
    """Command with a placeholder `{port}`."""
    path: str
    """Path and query of the requests for masks."""
    health: str
    """Path of the health probe."""
    folder: Path = SERVERS_FOLDER
    """Working directory of the command."""
    environment: Mapping[str, str] = field(default_factory=dict)
    same_masks: bool = True
    """True: the masks must agree with those of the first server, which has the same model."""

    @property
    def is_ours(self) -> bool:
        """True for the server of this project."""
        return self.folder == ROOT

    @property
    def is_installed(self) -> bool:
        """True if the program exists. `make compare` builds the environments of others."""
        return Path(self.command[0]).exists()

    @property
    def display_command(self) -> str:
        """Command to type in the root of the project."""
        return " ".join(self.command).replace(f"{ROOT}/", "").replace("{port}", "8000")


def _ours(name: str, title: str, description: str, query: str, *, same: bool = True) -> ServerSpec:
    return ServerSpec(
        name,
        title,
        description,
        (sys.executable, "-m", "silhouette_seg", "serve", "--port", "{port}"),
        f"/v1/segment?{query}",
        "/livez",
        folder=ROOT,
        same_masks=same,
    )


def _uvicorn(
    name: str,
    title: str,
    description: str,
    app: str,
    *options: str,
    home: Path = ONNX_BIN,
    same: bool = True,
) -> ServerSpec:
    return ServerSpec(
        name,
        title,
        description,
        (str(home / "uvicorn"), f"{app}:app", "--port", "{port}", *options),
        "/segment",
        "/health",
        environment={"MODEL": str(MODEL)},
        same_masks=same,
    )


def _litserve(workers: int, batch: int) -> ServerSpec:
    settings = f"{workers} worker{'s' * (workers > 1)}, batches of {batch}"
    return ServerSpec(
        "litserve",
        f"LitServe ({settings})",
        "The same model behind LitServe, with Pillow, in the four steps of its documentation: "
        f"{settings}, the fastest of the settings tried.",
        (
            *(str(ONNX_BIN / "python"), "lit.py", "--model", str(MODEL), "--port", "{port}"),
            *("--workers", str(workers), "--batch", str(batch)),
        ),
        "/predict",
        "/health",
    )


OURS = _ours(
    "silhouette",
    "Silhouette",
    "Our server with `refine=none`: the mask of the model, as the other servers return it.",
    "output=mask&model=connectnet&refine=none",
)
REFINED = _ours(
    "silhouette_default",
    "Silhouette, edges refined",
    "Our server with default parameters except the model: it refines the outline of the mask "
    "along the edges of the photo, which the other servers do not.",
    "model=connectnet",
    same=False,
)
LITSERVE_SETTINGS = tuple(
    _litserve(workers, batch) for workers, batch in ((1, 1), (2, 1), (1, 4), (2, 4))
)
"""LitServe with several settings; the fastest one is compared."""
FASTAPI_SERVERS = (
    _uvicorn(
        "plain",
        "FastAPI + Pillow",
        "The same model as in tutorials: `UploadFile`, Pillow, ONNX Runtime with default options, "
        "a handler in FastAPI's thread pool, `uvicorn` with one process.",
        "plain",
    ),
    _uvicorn(
        "plain_2",
        "FastAPI + Pillow, 2 processes",
        "The same with `uvicorn --workers 2`.",
        "plain",
        "--workers",
        "2",
    ),
    _uvicorn(
        "tuned",
        "FastAPI + OpenCV, tuned",
        "The same, optimised: OpenCV for pixels and one thread per run of the model.",
        "tuned",
    ),
)
MEDIAPIPE_SERVER = _uvicorn(
    "mediapipe",
    "MediaPipe behind FastAPI",
    "MediaPipe's selfie segmenter (landscape, 144x256), a smaller model, with OpenCV and one "
    "segmenter per processor.",
    "selfie",
    home=MEDIAPIPE_BIN,
    same=False,
)
SERVERS = (OURS, REFINED, *FASTAPI_SERVERS, MEDIAPIPE_SERVER)
"""All servers except LitServe, which has its settings chosen by trial."""

NOT_MEASURED = {
    "rembg (`rembg s`)": "not measured: it downloads its weights at the first request, from a "
    "host that the machine of this benchmark cannot reach",
}
