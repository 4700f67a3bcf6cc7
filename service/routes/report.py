"""The JSON answer of `POST /v1/segment`."""

import base64

from service.render import Look, Rendered
from service.schemas import (
    Box,
    Foreground,
    MaskMeasures,
    ModelUsed,
    PictureSize,
    Report,
    ResultImage,
)
from service.segmenter import Segmenter
from service.vision import matte


def report_json(rendered: Rendered, look: Look, segmenter: Segmenter, request_id: str) -> bytes:
    """The report with the image inside. Slow for a big image: call it in a worker."""
    return _report(rendered, look, segmenter, request_id).model_dump_json().encode()


def _report(rendered: Rendered, look: Look, segmenter: Segmenter, request_id: str) -> Report:
    measured = rendered.quality
    routed = rendered.routed
    return Report(
        request_id=request_id,
        output=look.output,
        model=ModelUsed(
            name=segmenter.spec.name,
            digest=f"sha256:{segmenter.digest}",
            backend=segmenter.provider,
        ),
        photo=PictureSize(height=rendered.photo_hw[0], width=rendered.photo_hw[1]),
        foreground=Foreground(
            present=measured.foreground,
            box=_box(rendered.box),
        ),
        mask=MaskMeasures(
            coverage=measured.coverage,
            connectivity=measured.connectivity,
            islands=measured.islands,
            confidence=measured.confidence,
        ),
        domain=routed.domain.label if routed else None,
        face_ratio=routed.face_ratio if routed else None,
        timings_ms={stage: round(1000 * s, 3) for stage, s in rendered.stages.items()},
        image=_image(rendered),
    )


def _box(box: matte.Box | None) -> Box | None:
    if box is None:
        return None
    return Box(top=box.top, left=box.left, height=box.height, width=box.width)


def _image(rendered: Rendered) -> ResultImage:
    return ResultImage(
        media_type=rendered.format.media_type,
        height=rendered.size_hw[0],
        width=rendered.size_hw[1],
        data=base64.b64encode(rendered.body).decode("ascii"),
    )
