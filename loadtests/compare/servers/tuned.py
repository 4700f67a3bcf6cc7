"""Serves the model with FastAPI, optimised: OpenCV, and one thread per run of the model.

MODEL=model.onnx uvicorn tuned:app --port 8000
"""

import os

import cv2
import numpy as np
import onnxruntime
from fastapi import FastAPI, UploadFile
from fastapi.responses import Response

cv2.setNumThreads(1)

app = FastAPI()
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(
    os.environ["MODEL"], options, providers=["CPUExecutionProvider"]
)
_, HEIGHT, WIDTH, _ = session.get_inputs()[0].shape


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/segment")
def segment(image: UploadFile) -> Response:
    photo = cv2.imdecode(np.frombuffer(image.file.read(), np.uint8), cv2.IMREAD_COLOR)
    small = cv2.resize(photo, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    (alpha,) = session.run(None, {"image": cv2.cvtColor(small, cv2.COLOR_BGR2RGB)[None]})
    mask = cv2.resize(alpha[0], photo.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    _, file = cv2.imencode(".png", mask)
    return Response(file.tobytes(), media_type="image/png")
