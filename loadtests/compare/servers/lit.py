"""Serves the model with LitServe, in the four steps of its documentation.

    python lit.py --model model.onnx --port 8000 --workers 2

Each worker is a process. Its session has the processors divided by the workers as threads.
"""

import argparse
import os
from io import BytesIO
from typing import Any

import litserve as ls
import numpy as np
import onnxruntime
from fastapi import Request
from fastapi.responses import Response
from PIL import Image

Context = dict[str, Any]


class Segmentation(ls.LitAPI):
    def __init__(self, model: str, *, threads: int, batch: int) -> None:
        super().__init__(max_batch_size=batch, batch_timeout=0.01 if batch > 1 else 0.0)
        self._model = model
        self._threads = threads

    def setup(self, device: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        self._session = onnxruntime.InferenceSession(
            self._model, options, providers=["CPUExecutionProvider"]
        )
        _, self._height, self._width, _ = self._session.get_inputs()[0].shape

    def decode_request(self, request: Request, context: Context) -> np.ndarray:
        photo = Image.open(request["image"].file).convert("RGB")
        context["size"] = photo.size
        return np.asarray(photo.resize((self._width, self._height)))

    def batch(self, inputs: list[np.ndarray]) -> np.ndarray:
        return np.stack(inputs)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Returns a batch of masks for a photo [H,W,3] or a batch of photos [N,H,W,3]."""
        (alpha,) = self._session.run(None, {"image": x if x.ndim == 4 else x[None]})
        return np.asarray(alpha)

    def unbatch(self, output: np.ndarray) -> list[np.ndarray]:
        return [alpha[None] for alpha in output]

    def encode_response(self, output: np.ndarray, context: Context) -> Response:
        mask = Image.fromarray(output[0]).resize(context["size"])
        file = BytesIO()
        mask.save(file, format="PNG")
        return Response(file.getvalue(), media_type="image/png")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True, help="ONNX file of the model.")
    parser.add_argument("--port", type=int, required=True, help="Port to bind.")
    parser.add_argument("--workers", type=int, default=1, help="Number of processes.")
    parser.add_argument(
        "--batch", type=int, default=1, help="Maximum number of photos per inference."
    )
    options = parser.parse_args()
    threads = max(1, len(os.sched_getaffinity(0)) // options.workers)
    api = Segmentation(options.model, threads=threads, batch=options.batch)
    server = ls.LitServer(api, accelerator="cpu", workers_per_device=options.workers)
    server.run(host="127.0.0.1", port=options.port, generate_client_file=False)


if __name__ == "__main__":
    main()
