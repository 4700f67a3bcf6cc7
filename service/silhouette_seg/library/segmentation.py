"""Segments one photo in the thread of the caller, with models that are loaded at first use."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from silhouette_seg.api.request.parameters import SegmentOptions, select_model
from silhouette_seg.engine import open_engine
from silhouette_seg.engine.base import Engine
from silhouette_seg.engine.health import HealthCheckedEngine
from silhouette_seg.engine.lazy import LazyEngine
from silhouette_seg.errors import ForegroundMissing, InvalidArgument, NotAcceptable
from silhouette_seg.library.images import (
    FilePhoto,
    PhotoSource,
    keep_photo,
    named_errors,
    open_photo,
)
from silhouette_seg.library.parsing import ParsedOptions, named_parameters
from silhouette_seg.pipeline.faces import Face
from silhouette_seg.pipeline.options import RenderOptions
from silhouette_seg.pipeline.people import People, Person, describe_people
from silhouette_seg.pipeline.registry import load_registry
from silhouette_seg.pipeline.rendering import Composition, render_image
from silhouette_seg.pipeline.segmenter import Matte, Segmenter
from silhouette_seg.runtime.thread_pool import CallerThread, run_without_loop
from silhouette_seg.spec import ModelSpec
from silhouette_seg.vision.codec.decode import Frame
from silhouette_seg.vision.codec.encode import encode
from silhouette_seg.vision.codec.header import ImageFormat, ImageLimits
from silhouette_seg.vision.codec.metadata import NO_METADATA, PrintMetadata, read_metadata
from silhouette_seg.vision.geometry import Size
from silhouette_seg.vision.mask.coco import Polygon
from silhouette_seg.vision.mask.quality import Box


@dataclass(frozen=True, slots=True)
class LocatedFace:
    """A face in a photo."""

    box: Box
    """Box in pixels of the upright photo."""
    score: float
    """Score of the face detector, 0..1."""


@dataclass(frozen=True, slots=True)
class LocatedPerson:
    """A person of a photo, or several people that touch."""

    box: Box
    """Bounding box in pixels of the upright photo."""
    area: int
    """Number of pixels of the mask."""
    segmentation: str | list[Polygon]
    """Mask of the whole photo, as in COCO: compressed run lengths, or polygons x1, y1, x2, y2."""
    faces: tuple[LocatedFace, ...]
    """Faces on this body; several if it is several people."""
    confidence: float | None
    """Expected share of correct pixels along the outline, 0.5..1; None without an outline."""


@dataclass(frozen=True, slots=True)
class Segmentation:
    """Result of one photo: the image, and facts about the person. The fields are the API's."""

    image: NDArray[np.uint8]
    """Mask or trimap uint8 [H,W], cut-out RGBA [H,W,4] or composite RGB [H,W,3]; upright."""
    model: str
    foreground: bool
    """True if the photo shows a person."""
    doubtful: bool
    """True if that person may be an animal or an object."""
    box: Box | None
    """Bounding box of the person, in pixels of the upright photo; None without a person."""
    coverage: float
    """Share of the photo that the person covers, 0..1."""
    confidence: float | None
    """Expected share of correct pixels along the outline, 0..1; None for a mask without one."""
    domain: str | None
    """Distance of the person, from `far_shot` to `head_shot`, or `no_face`.

    None for a model without a domain input, unless the call searches for faces.
    """
    warning: str | None
    """Sentences on a fault of an input file that costs no pixel, or on `person="dominant"` without
    a face detector; None without one."""
    blurred_faces: int | None
    """Number of faces that `background="blur_faces"` blurred; None for any other background."""
    faces: tuple[LocatedFace, ...] | None
    """Faces of the photo, the highest score first; None without the option `faces`."""
    people: tuple[LocatedPerson, ...] | None
    """People of the photo, the largest first; None without the option `masks`."""
    people_reason: str | None
    """A sentence on why people are not separated; None if they are, or without `masks`."""


@dataclass(frozen=True, slots=True)
class _Rendered:
    """Result of a task, before it is described."""

    composition: Composition
    matte: Matte
    people: People | None
    photo_hw: Size
    warning: str | None


class _Task:
    """Frame task of one call: decodes the photo and the background, and renders the result."""

    def __init__(
        self, photo: PhotoSource, background: PhotoSource | None, options: RenderOptions
    ) -> None:
        self._photo = photo
        self._background = background
        self._scene: Frame | None = None
        self._options = options

    def decode(self, min_size: Size) -> Frame:
        """Decodes the images of the call and returns the photo."""
        photo = self._photo.decode(self._options, min_size)
        if self._background is not None:
            self._scene = self._background.decode_whole()
        return photo

    def render(self, frame: Frame, matte: Matte) -> _Rendered:
        """Returns the rendered image, the mask with its measures, and the warnings of the files.

        Raises errors.ForegroundMissing if the options require a person and there is none, and
        InvalidArgument for a mask with too many edges to list.
        """
        if self._options.require_foreground and not matte.quality.foreground:
            raise ForegroundMissing
        composition = render_image(self._options, frame, self._scene, matte)
        people = None
        if composition.mask is not None and self._options.masks is not None:
            with named_errors("photo"):
                people = describe_people(composition.mask, matte, self._options.masks)
        sources = (frame, self._scene, composition)
        warnings = [source.warning for source in sources if source and source.warning]
        return _Rendered(composition, matte, people, frame.photo_hw, " ".join(warnings) or None)


class PhotoSegmenter:
    """Segments photos of any kind with the models of a session. Several threads may share it."""

    def __init__(self, repository: Path, device: str, limits: ImageLimits) -> None:
        """Reads the descriptions of the models; no model is loaded.

        Raises ValueError or OSError for an invalid repository.
        """
        self._limits = limits
        # No threads: each call works in the thread of its caller, and no coroutine suspends.
        load = partial(open_engine, "onnx", repository=repository, device=device, workers=None)

        def open_lazily(spec: ModelSpec) -> Engine:
            open_model: Callable[[], Engine] = partial(load, spec=spec)
            return HealthCheckedEngine(LazyEngine(spec, open_model))

        self._registry = load_registry(repository, None, CallerThread(), open_lazily)

    def segment(
        self, photo: object, options: ParsedOptions
    ) -> tuple[Segmentation, Callable[[], bytes]]:
        """Segments a photo of any kind, and returns the result and a function that encodes it.

        Raises InvalidArgument for a photo, a background or a model that cannot be used, OSError
        for a file that cannot be read, and errors.ServiceError if a model fails.
        """
        segmenter = self.select(options.segment)
        source = open_photo(photo, "photo", self._limits)
        background = None
        if options.background is not None:
            background = open_photo(options.background, "background", self._limits)
        metadata = _metadata(source) if options.segment.keep_metadata else NO_METADATA
        render = options.segment.render
        run = segmenter.run(
            _Task(source, background, render),
            domain=options.segment.domain,
            find_faces=render.uses_faces,
        )
        rendered = run_without_loop(run)
        result = _result(segmenter, rendered, render)
        return result, partial(_encode, result.image, options.format, metadata)

    def close(self) -> None:
        """Closes all models. Later calls fail."""
        for model in self._registry.models:
            run_without_loop(model.close())

    def keep_background(self, background: object) -> object:
        """Returns a background that can be used often; see `keep_photo`."""
        return keep_photo(background, "background", self._limits)

    def select(self, options: SegmentOptions) -> Segmenter:
        """Returns the model that the options select. Raises InvalidArgument if there is none."""
        with named_parameters():
            return select_model(options, self._registry)


def _encode(image: NDArray[np.uint8], format: ImageFormat, metadata: PrintMetadata) -> bytes:
    """Returns an image file. Raises InvalidArgument for an image that the format cannot hold."""
    try:
        return encode(image, format, metadata)
    except NotAcceptable as error:
        raise InvalidArgument.from_error("format", error) from None


def _metadata(source: PhotoSource) -> PrintMetadata:
    """Returns the metadata of a photo file. Raises InvalidArgument for pixels, which have none."""
    if not isinstance(source, FilePhoto):
        raise InvalidArgument("keep_metadata", "needs a photo file, and not its pixels")
    return read_metadata(source.file.header)


def _result(segmenter: Segmenter, rendered: _Rendered, options: RenderOptions) -> Segmentation:
    composition, people, photo_hw = rendered.composition, rendered.people, rendered.photo_hw
    quality, decision = rendered.matte.quality, rendered.matte.decision
    faces = decision.faces if decision else ()
    return Segmentation(
        image=composition.image,
        model=segmenter.spec.name,
        foreground=quality.foreground,
        doubtful=quality.doubtful,
        box=composition.box,
        coverage=quality.coverage,
        confidence=quality.confidence,
        domain=decision.domain.label if decision else None,
        warning=rendered.warning,
        blurred_faces=composition.blurred_faces,
        faces=_located(faces, photo_hw) if options.faces else None,
        people=tuple(_person(one, photo_hw) for one in people.people) if people else None,
        people_reason=people.reason if people else None,
    )


def _person(person: Person, photo_hw: Size) -> LocatedPerson:
    faces = _located(person.faces, photo_hw)
    return LocatedPerson(person.box, person.area, person.segmentation, faces, person.confidence)


def _located(faces: Iterable[Face], photo_hw: Size) -> tuple[LocatedFace, ...]:
    return tuple(LocatedFace(face.box(photo_hw), face.score) for face in faces)
