"""What is compared: how each server is started, and what is asked of it."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVERS = Path(__file__).with_name("servers")
MODEL = ROOT / "model_repository" / "connectnet" / "1" / "model.onnx"
ONNX = ROOT / ".venv-compare" / "bin"
MEDIAPIPE = ROOT / ".venv-compare-mediapipe" / "bin"


@dataclass(frozen=True, slots=True)
class Subject:
    name: str
    title: str
    says: str
    """What it is, for the report."""
    command: tuple[str, ...]
    """With `{port}`."""
    path: str
    health: str
    folder: Path = SERVERS
    environment: Mapping[str, str] = field(default_factory=dict)
    same_masks: bool = True
    """They have to agree with those of the first one: one model, and its outline as it is."""

    @property
    def ours(self) -> bool:
        return self.folder == ROOT

    @property
    def is_there(self) -> bool:
        """Its program can be started; the environments of others are built by `make compare`."""
        return Path(self.command[0]).exists()

    @property
    def shown(self) -> str:
        """The command as one would type it here."""
        return " ".join(self.command).replace(f"{ROOT}/", "").replace("{port}", "8000")


def _ours(name: str, title: str, says: str, query: str, *, same: bool = True) -> Subject:
    return Subject(
        name,
        title,
        says,
        (sys.executable, "-m", "silhouette_seg", "serve", "--port", "{port}"),
        f"/v1/segment?{query}",
        "/livez",
        folder=ROOT,
        same_masks=same,
    )


def _uvicorn(
    name: str, title: str, says: str, app: str, *options: str, home: Path = ONNX, same: bool = True
) -> Subject:
    return Subject(
        name,
        title,
        says,
        (str(home / "uvicorn"), f"{app}:app", "--port", "{port}", *options),
        "/segment",
        "/health",
        environment={"MODEL": str(MODEL)},
        same_masks=same,
    )


def _lit(workers: int, batch: int) -> Subject:
    settings = f"{workers} worker{'s' * (workers > 1)}, batches of {batch}"
    return Subject(
        "litserve",
        f"LitServe ({settings})",
        "The same model behind LitServe, with Pillow, by the four steps of its documentation: "
        f"{settings}, which of the settings tried gave the most answers a second.",
        (
            *(str(ONNX / "python"), "lit.py", "--model", str(MODEL), "--port", "{port}"),
            *("--workers", str(workers), "--batch", str(batch)),
        ),
        "/predict",
        "/health",
    )


OURS = _ours(
    "silhouette",
    "Silhouette",
    "Our server, with `refine=none`: the mask of the model, as all others here give it.",
    "output=mask&model=connectnet&refine=none",
)
REFINED = _ours(
    "silhouette_default",
    "Silhouette, edges refined",
    "Our server as it answers where nothing is chosen but the model: the outline of the mask is "
    "drawn anew along the edges of the photo, which no other here does.",
    "model=connectnet",
    same=False,
)
LITSERVE = tuple(_lit(workers, batch) for workers, batch in ((1, 1), (2, 1), (1, 4), (2, 4)))
"""Settings to try; the fastest is compared."""
PLAIN = (
    _uvicorn(
        "plain",
        "FastAPI + Pillow",
        "The same model as tutorials serve it: `UploadFile`, Pillow, ONNX Runtime as it comes, a "
        "handler in FastAPI's pool of threads, `uvicorn` with one process.",
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
        "The same by somebody who measures: OpenCV for pixels, one thread for each run of the "
        "model.",
        "tuned",
    ),
)
SELFIE = _uvicorn(
    "mediapipe",
    "MediaPipe behind FastAPI",
    "MediaPipe's selfie segmenter (landscape, 144x256), a smaller model of others, with OpenCV, "
    "one segmenter for each processor.",
    "selfie",
    home=MEDIAPIPE,
    same=False,
)
SUBJECTS = (OURS, REFINED, *PLAIN, SELFIE)
"""Besides LitServe, which is chosen by trial."""

LEFT_OUT = {
    "rembg (`rembg s`)": "not measured: its weights are downloaded at the first request, from a "
    "host that cannot be reached from the machine of this benchmark",
}
