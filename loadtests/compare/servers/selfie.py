"""Serves MediaPipe's landscape selfie segmenter with FastAPI, and OpenCV as in its examples.

    uvicorn selfie:app --port 8000

A segmenter handles one call at a time, so there is one per processor.
"""

import os
from queue import SimpleQueue

import cv2
import numpy as np
from fastapi import FastAPI, UploadFile
from fastapi.responses import Response
from mediapipe.python.solutions.selfie_segmentation import SelfieSegmentation

LANDSCAPE = 1
"""The smaller and faster of the two models, with 144x256 pixels."""

app = FastAPI()
idle: SimpleQueue[SelfieSegmentation] = SimpleQueue()
for _ in os.sched_getaffinity(0):
    idle.put(SelfieSegmentation(model_selection=LANDSCAPE))


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/segment")
def segment(image: UploadFile) -> Response:
    photo = cv2.imdecode(np.frombuffer(image.file.read(), np.uint8), cv2.IMREAD_COLOR)
    rgb = cv2.cvtColor(photo, cv2.COLOR_BGR2RGB)
    segmenter = idle.get()
    try:
        found = segmenter.process(rgb)
    finally:
        idle.put(segmenter)
    _, file = cv2.imencode(".png", (255 * found.segmentation_mask).astype(np.uint8))
    return Response(file.tobytes(), media_type="image/png")
