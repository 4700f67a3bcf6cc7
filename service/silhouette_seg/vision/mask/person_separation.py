"""Separates the people of a mask by their faces and by the gaps between their bodies.

The rules are those of `vision.mask.person_selection`, applied to each person in turn.

1. A component that holds a face is a person.
2. The others follow, the largest first. One near a person, or in line with them, is a part of that
   person. A component that is neither is another person.
3. Specks belong to the nearest person.

People that touch in the mask are one component. Their faces show that they are several.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from silhouette_seg.vision.mask.components import (
    Components,
    find_components,
    gaps_to,
    nearest_component,
    scale_box,
)
from silhouette_seg.vision.mask.person_selection import (
    KEPT_REASONS,
    MIN_PERSON_AREA,
    classify,
    face_owner,
)
from silhouette_seg.vision.mask.quality import Box

MAX_PEOPLE = 64
"""Maximum number of people; further components belong to the nearest person."""


@dataclass(frozen=True, slots=True)
class Separation:
    """The people of a mask, numbered from 1, the largest first."""

    owners: NDArray[np.uint8]
    """Number of the person nearest to each pixel of the reduced mask, uint8 [h,w].

    It is 0 everywhere if there is no person.
    """
    faces: tuple[tuple[int, ...], ...]
    """Indices of the faces of each person; several if touching people could not be separated."""


def separate_people(alpha: NDArray[np.uint8], faces: Sequence[Box]) -> Separation:
    """Separates the people of a mask, uint8 [H,W].

    `faces` are the boxes of all faces in pixels of the mask. A face beside the mask has no owner.
    """
    components = find_components(alpha)
    if not len(components):
        return Separation(np.zeros(components.size_hw, np.uint8), ())
    boxes = [scale_box(face, alpha.shape, components.size_hw) for face in faces]
    face_owners = [face_owner(components, box) for box in boxes]
    people = _group(components, {owner for owner in face_owners if owner is not None})
    areas = np.bincount(people, weights=components.areas)
    order = np.argsort(-areas, kind="stable")
    rank = np.empty(len(order), np.uint8)
    rank[order] = np.arange(1, len(order) + 1)
    numbers = rank[people]
    owned = [0 if owner is None else int(numbers[owner]) for owner in face_owners]
    return Separation(
        owners=np.asarray(numbers[nearest_component(components.labels)], np.uint8),
        faces=tuple(
            tuple(index for index, number in enumerate(owned) if number == person)
            for person in range(1, len(order) + 1)
        ),
    )


def _group(components: Components, with_face: set[int]) -> NDArray[np.int64]:
    """Returns the person that each component belongs to, int64 [K], numbered from 0.

    `with_face` has the indices of the components that hold a face.
    """
    largest_first = np.argsort(-components.areas, kind="stable").tolist()
    smallest = MIN_PERSON_AREA * components.areas.max()
    gaps: list[NDArray[np.float32]] = []
    belongs = np.zeros((0, len(components)), np.bool_)
    people = np.full(len(components), -1)
    for index in sorted(largest_first, key=lambda one: one not in with_face):
        has_face = index in with_face
        if not has_face and belongs[:, index].any():
            hosts = np.flatnonzero(belongs[:, index])
            people[index] = min(hosts, key=lambda host: gaps[host][index])
        elif len(gaps) < MAX_PEOPLE and (has_face or components.areas[index] >= smallest):
            people[index] = len(gaps)
            gaps.append(gaps_to(components, index))
            reasons = classify(components, index, gaps[-1], has_face=has_face)
            belongs = np.vstack([belongs, [reason in KEPT_REASONS for reason in reasons]])
    for index in np.flatnonzero(people < 0):
        people[index] = int(np.argmin([gap[index] for gap in gaps]))
    return people
