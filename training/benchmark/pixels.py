"""Measures each step from the photo's bytes to the response's bytes, without a model."""

from collections.abc import Callable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from silhouette_seg.spec import ResizeRule
from silhouette_seg.vision.codec.decode import (
    Frame,
    ImageFormat,
    ImageLimits,
    check_limits,
    decode,
    read_header,
)
from silhouette_seg.vision.codec.encode import encode
from silhouette_seg.vision.compose import blend
from silhouette_seg.vision.geometry import Size, fit, inside, place, unfit
from silhouette_seg.vision.mask.guided_filter import refine_edges
from silhouette_seg.vision.mask.quality import measure_quality
from training.benchmark.measure import Cost, Figures, cost_row, measure_cost
from training.benchmark.photos import encoded, photo, soft_mask

BLUR_PERCENT = 3.0
NAIVE_PNG_LEVEL = 3
SERVICE_STEP = "photo to mask PNG, without the model"
NAIVE_STEP = "the same, naive"

Step = tuple[str, Callable[[], object]]


def measure_steps(
    size_hw: Size, model_hw: Size, rule: ResizeRule, *, calls: int, budget_s: float
) -> Iterator[Figures]:
    """Yields one row per step; the naive row has its time relative to the service's."""
    label = f"{size_hw[1]}x{size_hw[0]}"
    service_cost: Cost | None = None
    for name, call in _steps(size_hw, model_hw, rule):
        cost = measure_cost(call, calls=calls, budget_s=budget_s)
        if name == SERVICE_STEP:
            service_cost = cost
        ratios = _ratios(cost, service_cost) if service_cost and name == NAIVE_STEP else {}
        yield cost_row(cost, size=label, step=name) | ratios


def _ratios(cost: Cost, service_cost: Cost) -> Figures:
    """Returns ratios of wall clock and of processor time.

    Processor time is more reliable on a machine with other load.
    """
    return {
        "ratio": cost.p50_ms / service_cost.p50_ms,
        "cpu_ratio": cost.cpu_ms / service_cost.cpu_ms,
    }


def _steps(size_hw: Size, model_hw: Size, rule: ResizeRule) -> Iterator[Step]:
    data = encoded(size_hw)
    header = read_header(data)
    reduced = decode(data, header, min_size=model_hw)
    placement = place(size_hw, model_hw, rule)
    mask = soft_mask(model_hw)
    alpha = unfit(mask, placement, size_hw)
    yield "header and limits", lambda: check_limits(read_header(data), ImageLimits())
    yield "decode", lambda: decode(data, header)
    yield "decode for a mask", lambda: decode(data, header, min_size=model_hw)
    yield "fit", lambda: fit(photo(size_hw), model_hw, rule)
    yield "fit after the decode for a mask", lambda: fit(reduced.rgb, model_hw, rule)
    yield "unfit", lambda: unfit(mask, placement, size_hw)
    yield "quality", lambda: measure_quality(mask[inside(placement)])
    yield "guided edges", lambda: refine_edges(photo(size_hw), alpha)
    yield "encode mask PNG", lambda: encode(alpha, ImageFormat.PNG)
    yield SERVICE_STEP, lambda: _run_service(data, mask, model_hw, rule)
    yield NAIVE_STEP, lambda: _run_naive(data, mask, model_hw)
    yield from _render_steps(photo(size_hw), alpha)


def _render_steps(rgb: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> Iterator[Step]:
    person = blend.cutout(rgb, alpha)
    backdrop = blend.solid((rgb.shape[0], rgb.shape[1]), (0, 120, 200))
    yield "cutout", lambda: blend.cutout(rgb, alpha)
    yield "encode cutout PNG", lambda: encode(person, ImageFormat.PNG)
    yield "composite", lambda: blend.composite(rgb, alpha, backdrop, in_place=True)
    yield "blur", lambda: blend.blurred(rgb, BLUR_PERCENT)
    yield "encode composite JPEG", lambda: encode(rgb, ImageFormat.JPEG)


def _run_service(data: bytes, mask: NDArray[np.uint8], model_hw: Size, rule: ResizeRule) -> bytes:
    """Runs the steps of a mask request, with `mask` in place of the model's output."""
    header = read_header(data)
    check_limits(header, ImageLimits())
    frame: Frame = decode(data, header, min_size=model_hw)
    _, placement = fit(frame.rgb, model_hw, rule)
    measure_quality(mask[inside(placement)])
    return encode(unfit(mask, placement, frame.photo_hw), ImageFormat.PNG)


def _run_naive(data: bytes, mask: NDArray[np.uint8], model_hw: Size) -> bytes:
    """Runs the straightforward cv2 version.

    It uses a full decode, area resize, a float mask, and PNG at a fixed compression level.
    """
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert bgr is not None, "the benchmark's own photo"
    rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    cv2.resize(rgb, (model_hw[1], model_hw[0]), interpolation=cv2.INTER_AREA)
    probability = mask.astype(np.float32) / 255
    full = cv2.resize(probability, (rgb.shape[1], rgb.shape[0]), interpolation=cv2.INTER_LINEAR)
    alpha = (full * 255).astype(np.uint8)
    _, png = cv2.imencode(".png", alpha, [cv2.IMWRITE_PNG_COMPRESSION, NAIVE_PNG_LEVEL])
    return png.tobytes()
