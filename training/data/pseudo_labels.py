"""Unlabelled photos with the soft masks of a model: `unlabelled/index2.csv`, or a teacher's."""

from pathlib import Path

from training.data.dataset import Portrait, read_rows


def read_pseudo_labelled(data: Path, *, masks: Path | None, min_agreement: float) -> list[Portrait]:
    """The photos with a mask, in the order of the index.

    `masks` is a folder of a teacher's `<source>/<id>.png`, uint8 grey, 255 x the probability of
    person. Without it the pack's own masks of MediaPipe's selfie segmenter are taken, of the photos
    where another network agrees with it: an IoU of `min_agreement` in 0..1 or more. Raises OSError
    where there is no index, ValueError where there is no mask at all.
    """
    unlabelled = data / "unlabelled"
    found = []
    for row in read_rows(unlabelled / "index2.csv"):
        folder = unlabelled / row["source"]
        if masks is not None:
            mask = masks / row["source"] / f"{row['id']}.png"
            if not mask.exists():
                continue
        else:
            mask = folder / "selfie" / f"{row['id']}.png"
            if float(row["agreement"] or 0) < min_agreement:
                continue
        image = folder / "images" / f"{row['id']}.jpg"
        found.append(
            Portrait(row["id"], row["source"], row["group"], image, mask, face=None, soft=True)
        )
    if not found:
        raise ValueError(f"no pseudo-labelled photo in {masks or unlabelled}")
    return found
