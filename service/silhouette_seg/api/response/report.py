"""Builds the JSON report of `POST /v1/segment`."""

import base64
from collections.abc import Sequence

from silhouette_seg.api.schemas import (
    Box,
    DetectedFace,
    Foreground,
    MaskMeasures,
    ModelUsed,
    PersonAnnotation,
    Photo,
    Piece,
    Report,
    ResultImage,
    RunLengths,
)
from silhouette_seg.pipeline.faces import Face
from silhouette_seg.pipeline.options import RenderOptions
from silhouette_seg.pipeline.people import Person
from silhouette_seg.pipeline.photo import RenderedImage
from silhouette_seg.pipeline.segmenter import Segmenter
from silhouette_seg.vision.geometry import Size
from silhouette_seg.vision.mask import person_selection, quality

REQUEST_FIELDS = ("request_id", "timings_ms", "image")
"""Members of the report that are no facts about the photo."""


def report_json(
    rendered: RenderedImage, options: RenderOptions, segmenter: Segmenter, request_id: str
) -> bytes:
    """Returns the JSON report of a segmented photo in UTF-8, with the image as base64.

    It is slow for large images: call it in a thread.
    """
    return _report(rendered, options, segmenter, request_id).model_dump_json().encode()


def facts_json(rendered: RenderedImage, options: RenderOptions, segmenter: Segmenter) -> bytes:
    """Returns the facts about a segmented photo as JSON in UTF-8.

    They are those of the report, without the image and the parts that belong to a request.
    """
    report = _report(rendered, options, segmenter, request_id="")
    return report.model_dump_json(exclude=set(REQUEST_FIELDS), indent=2).encode()


def _report(
    rendered: RenderedImage, options: RenderOptions, segmenter: Segmenter, request_id: str
) -> Report:
    measured = rendered.quality
    decision, people = rendered.decision, rendered.people
    return Report(
        request_id=request_id,
        output=options.output,
        model=ModelUsed(
            name=segmenter.spec.name,
            digest=f"sha256:{segmenter.digest}",
            backend=segmenter.provider,
        ),
        photo=Photo(
            height=rendered.photo_hw[0],
            width=rendered.photo_hw[1],
            colour=str(rendered.colour),
        ),
        foreground=Foreground(
            present=measured.foreground,
            doubtful=measured.doubtful,
            box=_box(rendered.box) if rendered.box else None,
            pieces=[_piece(piece) for piece in rendered.pieces],
        ),
        mask=MaskMeasures(
            coverage=measured.coverage,
            connectivity=measured.connectivity,
            islands=measured.piece_count,
            holes=measured.holes,
            confidence=measured.confidence,
        ),
        domain=decision.domain.label if decision else None,
        face_ratio=decision.face_ratio if decision else None,
        looks=rendered.passes,
        faces=_faces(rendered.faces, rendered.photo_hw) if options.faces else None,
        faces_blurred=rendered.blurred_faces,
        people=[_person(one, rendered.photo_hw) for one in people.people] if people else None,
        people_separated=people.reason is None if people else None,
        people_reason=people.reason if people else None,
        warning=rendered.warning,
        timings_ms={stage: round(1000 * s, 3) for stage, s in rendered.stages.items()},
        image=_image(rendered),
    )


def _piece(piece: person_selection.Piece) -> Piece:
    return Piece(box=_box(piece.box), share=piece.share, kept=piece.kept, reason=piece.reason)


def _faces(faces: Sequence[Face], photo_hw: Size) -> list[DetectedFace]:
    return [DetectedFace(box=_box(face.box(photo_hw)), score=face.score) for face in faces]


def _person(person: Person, photo_hw: Size) -> PersonAnnotation:
    box, segmentation = person.box, person.segmentation
    return PersonAnnotation(
        segmentation=RunLengths(size=photo_hw, counts=segmentation)
        if isinstance(segmentation, str)
        else segmentation,
        bbox=(box.left, box.top, box.width, box.height),
        area=person.area,
        iscrowd=1 if person.is_crowd else 0,
        faces=_faces(person.faces, photo_hw),
        confidence=person.confidence,
    )


def _box(box: quality.Box) -> Box:
    return Box(top=box.top, left=box.left, height=box.height, width=box.width)


def _image(rendered: RenderedImage) -> ResultImage:
    return ResultImage(
        media_type=rendered.format.media_type,
        height=rendered.size_hw[0],
        width=rendered.size_hw[1],
        data=base64.b64encode(rendered.body).decode("ascii"),
    )
