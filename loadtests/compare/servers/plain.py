"""Serves the model with FastAPI as in tutorials: Pillow, ONNX Runtime with default options.

    MODEL=model.onnx uvicorn plain:app --port 8000

FastAPI runs the handler in its thread pool, because it is not a coroutine.
"""

import os
from io import BytesIO

import numpy as np
import onnxruntime
from fastapi import FastAPI, UploadFile
from fastapi.responses import Response
from PIL import Image

app = FastAPI()
session = onnxruntime.InferenceSession(os.environ["MODEL"], providers=["CPUExecutionProvider"])
_, HEIGHT, WIDTH, _ = session.get_inputs()[0].shape


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/segment")
def segment(image: UploadFile) -> Response:
    photo = Image.open(image.file).convert("RGB")
    small = np.asarray(photo.resize((WIDTH, HEIGHT)))
    (alpha,) = session.run(None, {"image": small[None]})
    mask = Image.fromarray(alpha[0]).resize(photo.size)
    file = BytesIO()
    mask.save(file, format="PNG")
    return Response(file.getvalue(), media_type="image/png")
