"""Session: options and loaded models for many photos. The functions share one session."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, Unpack, cast, overload

from silhouette_seg.api.request.signatures import with_options
from silhouette_seg.errors import InvalidArgument
from silhouette_seg.library.options import (
    COMPOSITE_OPTIONS,
    FACT_OPTIONS,
    TRIMAP_OPTIONS,
    Kind,
    Options,
    Output,
    SessionOptions,
    check_choice,
)
from silhouette_seg.runtime.load_lock import LOAD_LOCK

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from silhouette_seg.library.images import Photo
    from silhouette_seg.library.segmentation import PhotoSegmenter, Segmentation
    from silhouette_seg.runtime.sources import FileSource

    Result = bytes | Image.Image | NDArray[np.uint8]

Device = Literal["cpu", "cuda", "tensorrt"]
"""Devices that run the models."""
_TYPES = Options.__annotations__


class ImageFunction(Protocol):
    """Function from a photo to an image of the same kind, or of the kind `as_`."""

    @overload
    def __call__(
        self, photo: "FileSource", *, as_: None = None, **options: Unpack[Options]
    ) -> bytes: ...
    @overload
    def __call__(
        self, photo: "Image.Image", *, as_: None = None, **options: Unpack[Options]
    ) -> "Image.Image": ...
    @overload
    def __call__(
        self, photo: "NDArray[Any]", *, as_: None = None, **options: Unpack[Options]
    ) -> "NDArray[np.uint8]": ...
    @overload
    def __call__(
        self, photo: "Photo", *, as_: Literal["bytes"], **options: Unpack[Options]
    ) -> bytes: ...
    @overload
    def __call__(
        self, photo: "Photo", *, as_: Literal["pil"], **options: Unpack[Options]
    ) -> "Image.Image": ...
    @overload
    def __call__(
        self, photo: "Photo", *, as_: Literal["numpy"], **options: Unpack[Options]
    ) -> "NDArray[np.uint8]": ...


def _image_function(method: Callable[..., "Result"]) -> ImageFunction:
    """Declares a method of Session, once bound, to have the signatures of ImageFunction."""
    return cast(ImageFunction, method)


class Session:
    """Segments photos in this process, with options and models that all its calls share.

    A model is loaded at the first photo that needs it, and its weights are then checked. Several
    threads may call one session, and each works in its own thread. `close`, or the end of a `with`
    block, releases the models.

    Its options are the defaults of every call, which has precedence. `background`, `light_wrap`,
    `format`, `keep_metadata`, `masks` and `faces` apply only to results that have them.
    """

    @with_options(SessionOptions.__annotations__)
    def __init__(
        self,
        model: str | None = None,
        *,
        model_repository: str | os.PathLike[str] | None = None,
        device: Device = "cpu",
        max_pixels: int = 64_000_000,
        **options: Unpack[SessionOptions],
    ) -> None:
        """Checks the arguments and reads the descriptions of the models; no model is loaded.

        `model` is the name of a model, by default that of `auto`. `model_repository` is the folder
        of the models, by default the installed one. `device` runs them, without a fallback.
        `max_pixels` is the largest photo and background, in pixels. Raises InvalidArgument for an
        argument or option that cannot be used, OSError for a background file that cannot be read,
        and errors.EngineFailed for a broken model.
        """
        check_choice("device", device, Device)
        if not isinstance(max_pixels, int) or max_pixels < 1:
            raise InvalidArgument("max_pixels", f"must be a positive integer, not {max_pixels!r}")
        self._repository = model_repository
        self._device = device
        self._max_pixels = max_pixels
        self._options: dict[str, Any] = {"model": model, **options}
        self._segmenter: PhotoSegmenter | None = None
        self._closed = False
        self._check()

    @_image_function
    @with_options(_TYPES, without=COMPOSITE_OPTIONS | TRIMAP_OPTIONS | FACT_OPTIONS)
    def segment(
        self, photo: "Photo", *, as_: Kind | None = None, **options: Unpack[Options]
    ) -> "Result":
        """Returns the mask of the people in a photo: grey, uint8 [H,W], 255 = person.

        `photo` is a path, bytes or an open file, a PIL image or a numpy array. The result is an
        image of the same kind, or of the kind `as_`; for a file it is the bytes of a PNG. Raises
        InvalidArgument for an argument that cannot be used, and OSError for a file that cannot be
        read. Raises errors.ServiceError if a model fails, and RuntimeError after `close`.
        """
        return self._render("mask", photo, as_, options)

    @_image_function
    @with_options(_TYPES, without=COMPOSITE_OPTIONS | TRIMAP_OPTIONS | FACT_OPTIONS)
    def cut_out(
        self, photo: "Photo", *, as_: Kind | None = None, **options: Unpack[Options]
    ) -> "Result":
        """Returns the people in a photo on a transparent background: RGBA, uint8 [H,W,4].

        Arguments, kinds and errors are those of `segment`.
        """
        return self._render("cutout", photo, as_, options)

    @_image_function
    @with_options(_TYPES, without=TRIMAP_OPTIONS | FACT_OPTIONS)
    def composite(
        self, photo: "Photo", *, as_: Kind | None = None, **options: Unpack[Options]
    ) -> "Result":
        """Returns the people in a photo on another background: RGB, uint8 [H,W,3].

        `background` is a colour such as `#20639b`, a blur such as `blur:3`, or an image. Other
        arguments, kinds and errors are those of `segment`.
        """
        return self._render("composite", photo, as_, options)

    @with_options(_TYPES)
    def run(
        self,
        photo: "Photo",
        output: Output = "mask",
        **options: Unpack[Options],
    ) -> "Segmentation":
        """Returns the image of a photo as an array, with facts such as the person's box.

        Options and errors are those of `segment`.
        """
        check_choice("output", output, Output)
        segmenter = self._opened()
        from silhouette_seg.library.parsing import inherited, parse_options

        given = inherited(self._options, output, "numpy", facts=True) | options
        return segmenter.segment(photo, parse_options(output, "numpy", given, facts=True))[0]

    def close(self) -> None:
        """Releases the models. Later calls raise RuntimeError; a second close has no effect."""
        with LOAD_LOCK:
            self._closed = True
            segmenter, self._segmenter = self._segmenter, None
        if segmenter is not None:
            segmenter.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _render(self, output: str, photo: object, as_: Kind | None, options: Options) -> "Result":
        if as_ is not None:
            check_choice("as_", as_, Kind)
        segmenter = self._opened()
        from silhouette_seg.library.images import kind_of, to_kind
        from silhouette_seg.library.parsing import inherited, parse_options

        kind = as_ or kind_of(photo)
        given = inherited(self._options, output, kind, facts=False) | options
        parsed = parse_options(output, kind, given, facts=False)
        result, encoded = segmenter.segment(photo, parsed)
        if result.blurred_faces == 0:
            warnings.warn("No face was found, so no face was blurred.", stacklevel=3)
        return encoded() if kind == "bytes" else to_kind(result.image, kind)

    def _check(self) -> None:
        """Reads the descriptions of the models, and checks the options of the session."""
        from silhouette_seg.library.parsing import check_values

        selecting = check_values(self._options)
        segmenter = self._opened()
        segmenter.select(selecting)
        background = self._options.get("background")
        if not isinstance(background, str | None):
            self._options["background"] = segmenter.keep_background(background)

    def _opened(self) -> "PhotoSegmenter":
        with LOAD_LOCK:
            if self._closed:
                raise RuntimeError("the session is closed")
            if self._segmenter is None:
                self._segmenter = self._open()
            return self._segmenter

    def _open(self) -> "PhotoSegmenter":
        from silhouette_seg.runtime.extras import require

        require("cv2", "Photos in this process", "cpu", "gpu")
        from silhouette_seg.library.segmentation import PhotoSegmenter
        from silhouette_seg.vision.codec.header import ImageLimits

        repository = self._repository_folder()
        try:
            return PhotoSegmenter(repository, self._device, ImageLimits(pixels=self._max_pixels))
        except (OSError, ValueError) as error:
            raise InvalidArgument("model_repository", str(error)) from error

    def _repository_folder(self) -> Path:
        """Returns the folder of the models. Raises InvalidArgument if it is none."""
        from silhouette_seg.spec import SPEC_FILE, find_model_repository

        given = self._repository
        if not isinstance(given, str | os.PathLike | None):
            raise InvalidArgument("model_repository", f"must be a path, not {type(given).__name__}")
        folder = find_model_repository() if given is None else Path(given)
        if not folder.is_dir():
            raise InvalidArgument("model_repository", f"{folder} is not a folder")
        if (folder / SPEC_FILE).is_file():
            reason = f"{folder} is the folder of one model; name the folder that contains it"
            raise InvalidArgument("model_repository", reason)
        return folder


class SharedSession(Session):
    """Session of the functions, which have no arguments to check before their first photo.

    It opens at the first photo, so that the import of the functions loads nothing.
    """

    def _check(self) -> None:
        """Checks nothing."""
