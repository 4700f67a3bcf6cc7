"""Writes the accuracy of the face detectors and of their domains."""

from silhouette_seg.pipeline.faces import Domain
from training.report.markdown import table
from training.report.results import Results


def faces_text(results: Results) -> str:
    """Writes the section of the face detector; empty if the repository has none."""
    if not results.faces:
        return ""
    reports = list(results.faces.values())
    first = reports[0]
    shares = {
        "domain is the reference's": [report.agreement for report in reports],
        "domain next to the reference's": [report.neighbours for report in reports],
        **{
            f"recall, {label}": [report.recall[label] for report in reports]
            for label in first.recall
        },
        "precision": [report.precision for report in reports],
        "faces detected in photos without a person": [report.false_alarms for report in reports],
        "faces detected where the reference has none": [
            report.no_face_alarms for report in reports
        ],
        "box IoU with the reference's, 0 if missed": [report.box_iou for report in reports],
        "box IoU of the faces found": [report.found_iou for report in reports],
    }
    rows = [(name, *(f"{100 * value:.1f}" for value in values)) for name, values in shares.items()]
    rows.append(
        ("median ms, pixels to boxes", *(f"{report.milliseconds:.1f}" for report in reports))
    )
    parts = [
        "## Face detector",
        f"On {first.photos} photos of people and {first.backgrounds} scenes without one; in percent"
        " of photos, except the last row. The reference is the data pack's faces, which"
        " a detector found, not a person.",
        table(("", *results.faces), rows),
    ]
    for name, report in results.faces.items():
        confusion = [
            (domain.label, *map(str, counts))
            for domain, counts in zip(Domain, report.confusion, strict=True)
        ]
        head = ("reference \\ detected", *(domain.label for domain in Domain))
        parts.append(f"### Domains by {name}\n\n{table(head, confusion)}")
    return "\n\n".join(parts)
