"""Scenes of several people, composited from the cut-outs of labelled photos.

There are few labelled photos of groups. A scene takes people from other photos, from head shots to
specks. It puts them into a background or another photo at plausible positions. Full figures stand
on one ground plane in perspective. Bodies that end at the lower border of their photo end at the
lower border of the scene. Light and sharpness follow the scene.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from silhouette_seg.vision.geometry import Size

Image = NDArray[np.uint8]
Rng = np.random.Generator

MIN_AREA_SHARE = 0.02
"""Smallest share of its photo that a cut-out person covers."""
MIN_CUT_OUT_HEIGHT_PX = 48
"""Smallest height of a cut-out in pixels; smaller ones have no detail."""
MAX_PEOPLE = 8
ADD_PERSON_CHANCE = 0.65
"""Chance of a further person after each person: about half of the scenes have three or more."""
HORIZON = (0.2, 0.6)
"""Range of the row of the ground plane's vanishing line, as a share of the scene's height."""
STATURE = (0.5, 2.2)
"""Height of a standing person divided by the distance of the feet from the horizon.

The camera is between twice as high as the person and half as high."""
SIZE_JITTER = 0.12
"""Relative difference in height between people at the same distance."""
MIN_HEIGHT_SHARE = 0.06
MAX_HEIGHT_SHARE = 1.15
"""Smallest and largest height of a person as shares of the scene's height."""
MAX_WIDTH_SHARE = 1.5
"""Largest width of a cut-out, which may be a row of people, as a share of the scene's width."""
CUT_OFF_HEIGHT = (0.25, 1.1)
"""Range of the height of people that the lower border of the scene cuts, as a share of it."""
CUT_OFF_JITTER = 0.25
"""Relative difference in height between cut-off people: they lean and stand apart."""
SQUEEZE = (0.6, 1.7)
"""Aspect ratio of the picture that is stretched to the input, which squeezes all its people."""
ADAPTATION = 0.6
"""Largest share of the difference in mean colour of person and surroundings that is removed."""
GAIN = (0.5, 1.8)
"""Limits of the factor by which adaptation changes a colour channel."""
SOFTNESS_PX = (0.3, 1.1)
"""Range of the standard deviation of the blur of half of the people."""
DEPTH_OF_FIELD_CHANCE = 0.2
"""Chance of a blur of the scene behind the nearest person."""
OUT_OF_FOCUS_PX = (1.0, 3.0)
"""Range of the standard deviation of that blur, which also softens the mask."""
SHADOW_CHANCE = 0.5
"""Chance of a shadow under the feet of a standing person."""
MAX_PERSON_SHARE = 0.35
"""Share of person in a photo above which no person is added."""


@dataclass(frozen=True, slots=True)
class Layers:
    """Photo uint8 [H,W,3], mask and pixel weight uint8 [H,W]; 255 is person, and full weight."""

    rgb: Image
    mask: Image
    pixel_weight: Image


@dataclass(frozen=True, slots=True)
class CutOut:
    """Bounding box of a photo's people in pixels, and the borders of the photo that cut them."""

    photo: int
    top: int
    left: int
    bottom: int
    right: int
    cut_left: bool
    cut_right: bool
    cut_bottom: bool

    @property
    def size_hw(self) -> Size:
        return self.bottom - self.top, self.right - self.left


@dataclass(frozen=True, slots=True)
class Pose:
    """Position of a person in a scene, in pixels of the scene; it may exceed the borders."""

    cut_out: CutOut
    top: float
    left: float
    height: float
    width: float
    mirrored: bool


def find_cut_out(photo: int, mask: Image) -> CutOut | None:
    """Returns the people of a mask uint8 [H,W].

    Returns None if they are too small or cut at the top.
    """
    person = mask > 127
    if person.mean() < MIN_AREA_SHARE:
        return None
    rows, columns = np.flatnonzero(person.any(1)), np.flatnonzero(person.any(0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    headless = top == 0 and person[0].mean() > 0.15
    if headless or bottom - top < MIN_CUT_OUT_HEIGHT_PX:
        return None
    height, width = mask.shape
    edge = max(2, round(0.01 * max(mask.shape)))
    return CutOut(
        photo,
        int(top),
        int(left),
        int(bottom),
        int(right),
        cut_left=bool(left < edge and not right > width - edge),
        cut_right=bool(right > width - edge and not left < edge),
        cut_bottom=bool(bottom > height - edge),
    )


class SceneComposer:
    """Composes scenes with people of labelled photos."""

    def __init__(self, photos: Sequence[Layers], eligible: Sequence[bool]) -> None:
        """Finds the cut-outs; `eligible` is True for photos with a mask that is good enough."""
        candidates = (
            find_cut_out(index, layers.mask)
            for index, (layers, usable) in enumerate(zip(photos, eligible, strict=True))
            if usable
        )
        self.photos = photos
        self.cut_outs = [cut_out for cut_out in candidates if cut_out is not None]
        self.cut_out_by_photo = {cut_out.photo: cut_out for cut_out in self.cut_outs}

    def compose(self, scene: Layers, photo: int, rng: Rng) -> Layers:
        """Returns the scene with the people of `photo`, if they can be cut out, and with others.

        The layers of `scene` are not changed.
        """
        if not self.cut_outs or (scene.mask > 127).mean() > MAX_PERSON_SHARE:
            return scene
        people = self._choose_people(photo, rng)
        poses = place_people(people, scene.mask.shape[:2], rng)
        canvas = Layers(scene.rgb.copy(), scene.mask.copy(), scene.pixel_weight.copy())
        for index, pose in enumerate(poses):
            nearest = index == len(poses) - 1
            if nearest and rng.random() < DEPTH_OF_FIELD_CHANCE:
                sigma = rng.uniform(*OUT_OF_FOCUS_PX)
                for layer in (canvas.rgb, canvas.mask):
                    cv2.GaussianBlur(layer, (0, 0), sigma, dst=layer)
            self._paste(canvas, pose, rng)
        return canvas

    def _choose_people(self, photo: int, rng: Rng) -> list[CutOut]:
        first = self.cut_out_by_photo.get(photo)
        people = [first] if first else [self._random_cut_out(rng)]
        while len(people) < MAX_PEOPLE and rng.random() < ADD_PERSON_CHANCE:
            people.append(self._random_cut_out(rng))
        return people

    def _random_cut_out(self, rng: Rng) -> CutOut:
        return self.cut_outs[int(rng.integers(len(self.cut_outs)))]

    def _paste(self, canvas: Layers, pose: Pose, rng: Rng) -> None:
        """Pastes one person onto the canvas, in place."""
        rgb, alpha = self._scale_person(pose)
        top, left = round(pose.top), round(pose.left)
        height, width = canvas.mask.shape
        rows = slice(max(0, top), min(height, top + alpha.shape[0]))
        columns = slice(max(0, left), min(width, left + alpha.shape[1]))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return
        visible = (
            slice(rows.start - top, rows.stop - top),
            slice(columns.start - left, columns.stop - left),
        )
        if not pose.cut_out.cut_bottom and rng.random() < SHADOW_CHANCE:
            draw_shadow(canvas.rgb, pose, rng)
        region = (rows, columns)
        rgb, alpha = rgb[visible], alpha[visible]
        rgb = adapt_light(rgb, alpha, canvas.rgb[region], rng)
        if rng.random() < 0.5:
            rgb = np.asarray(cv2.GaussianBlur(rgb, (0, 0), rng.uniform(*SOFTNESS_PX)), np.uint8)
        weight = alpha.astype(np.float32)[..., None] / 255
        blended = rgb * weight + canvas.rgb[region] * (1 - weight)
        canvas.rgb[region] = blended.astype(np.uint8)
        for layer in (canvas.mask, canvas.pixel_weight):
            layer[region] = np.maximum(layer[region], alpha)

    def _scale_person(self, pose: Pose) -> tuple[Image, Image]:
        """Returns the person at the pose's size: uint8 [h,w,3] and alpha [h,w], rim tightened."""
        cut_out = pose.cut_out
        layers = self.photos[cut_out.photo]
        box = (slice(cut_out.top, cut_out.bottom), slice(cut_out.left, cut_out.right))
        size = (max(2, round(pose.width)), max(2, round(pose.height)))
        reduces = size[1] < cut_out.size_hw[0]
        interpolation = cv2.INTER_AREA if reduces else cv2.INTER_LINEAR
        rgb = cv2.resize(layers.rgb[box], size, interpolation=interpolation)
        alpha = cv2.resize(layers.mask[box], size, interpolation=interpolation).astype(np.float32)
        alpha = np.clip((alpha - 96) * 255 / (255 - 96), 0, 255).astype(np.uint8)
        if pose.mirrored:
            rgb, alpha = rgb[:, ::-1], alpha[:, ::-1]
        return np.ascontiguousarray(rgb, np.uint8), np.ascontiguousarray(alpha)


def place_people(people: Sequence[CutOut], size_hw: Size, rng: Rng) -> list[Pose]:
    """Returns a pose for each person, the farthest first: nearer people cover those behind."""
    horizon, stature = rng.uniform(*HORIZON), np.exp(rng.uniform(*np.log(STATURE)))
    squeeze = np.exp(rng.uniform(*np.log(SQUEEZE)))
    cut_off_height = np.exp(rng.uniform(*np.log(CUT_OFF_HEIGHT)))
    poses = []
    for person in people:
        if person.cut_bottom:
            height = cut_off_height * (1 + rng.uniform(-1, 1) * CUT_OFF_JITTER)
            # The lower border of the scene cuts the body at least where its photo does.
            bottom = 1 + rng.uniform(0, 0.3) * height
        else:
            bottom = rng.uniform(horizon + 0.05, 1.05)
            height = stature * (bottom - horizon) * (1 + rng.uniform(-1, 1) * SIZE_JITTER)
            height = np.clip(height, MIN_HEIGHT_SHARE, MAX_HEIGHT_SHARE)
        poses.append(_pose(person, float(bottom), float(height), float(squeeze), size_hw, rng))
    return sorted(poses, key=lambda pose: pose.height)


def _pose(
    person: CutOut, bottom: float, height: float, squeeze: float, size_hw: Size, rng: Rng
) -> Pose:
    """Returns a pose at a random column; `bottom` and `height` are shares of the scene's height."""
    height_px = height * size_hw[0]
    width_px = height_px * person.size_hw[1] / person.size_hw[0] / squeeze * size_hw[1] / size_hw[0]
    if width_px > MAX_WIDTH_SHARE * size_hw[1]:
        # A row of people that would exceed both sides by far is placed farther away.
        height_px, width_px = (
            height_px * MAX_WIDTH_SHARE * size_hw[1] / width_px,
            MAX_WIDTH_SHARE * size_hw[1],
        )
    mirrored = bool(rng.random() < 0.5)
    left = rng.uniform(-0.35 * width_px, size_hw[1] - 0.65 * width_px)
    cut_left, cut_right = person.cut_left, person.cut_right
    if mirrored:
        cut_left, cut_right = cut_right, cut_left
    if cut_left:
        left = -rng.uniform(0, 0.2) * width_px
    elif cut_right:
        left = size_hw[1] - width_px * rng.uniform(0.8, 1)
    return Pose(person, bottom * size_hw[0] - height_px, float(left), height_px, width_px, mirrored)


def adapt_light(rgb: Image, alpha: Image, background: Image, rng: Rng) -> Image:
    """Moves the mean colour of the person towards that of the background, by a random share."""
    weight = alpha.astype(np.float32)
    total = weight.sum()
    if total < 1:
        return rgb
    person = (rgb * weight[..., None]).sum((0, 1)) / total
    gain = ((background.mean((0, 1)) + 8) / (person + 8)) ** rng.uniform(0, ADAPTATION)
    gain = np.clip(gain * rng.uniform(0.9, 1.1), *GAIN)
    adapted: Image = np.clip(rgb * gain, 0, 255).astype(np.uint8)
    return adapted


def draw_shadow(rgb: Image, pose: Pose, rng: Rng) -> None:
    """Darkens the ground under a standing person's feet, in place."""
    centre = (pose.left + pose.width / 2, pose.top + pose.height)
    axes = (pose.width * rng.uniform(0.4, 0.7), pose.height * rng.uniform(0.02, 0.06))
    shade = np.zeros(rgb.shape[:2], np.uint8)
    cv2.ellipse(shade, (centre, (2 * axes[0], 2 * axes[1]), 0.0), 255, -1)
    shade = np.asarray(cv2.GaussianBlur(shade, (0, 0), max(1.0, axes[1] / 2)), np.uint8)
    light = 1 - shade.astype(np.float32)[..., None] / 255 * rng.uniform(0.2, 0.6)
    rgb[:] = (rgb * light).astype(np.uint8)
