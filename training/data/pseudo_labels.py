"""Reader of unlabelled photos with soft masks of a model: of the pack or of a teacher."""

from pathlib import Path

from training.data.dataset import Portrait, read_rows


def read_pseudo_labelled(data: Path, *, masks: Path | None, min_agreement: float) -> list[Portrait]:
    """Reads the photos of `unlabelled/index2.csv` with a mask, in the order of the index.

    `masks` is the folder of a teacher's masks `<source>/<id>.png`, uint8 grey, 255 x the
    probability of person. Without it the masks are those of the pack, by MediaPipe's selfie
    segmenter. Photos are then left out if its IoU with another network is below `min_agreement`,
    in 0..1. Raises OSError without an index and ValueError if no photo has a mask.
    """
    unlabelled = data / "unlabelled"
    portraits = []
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
        portraits.append(
            Portrait(row["id"], row["source"], row["group"], image, mask, face=None, soft=True)
        )
    if not portraits:
        raise ValueError(f"no pseudo-labelled photo in {masks or unlabelled}")
    return portraits
