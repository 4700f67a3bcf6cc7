from silhouette_seg.telemetry import MaskMeasurements

STAGES = {"decode": 0.25, "infer": 0.5}
MASK = MaskMeasurements(foreground=True, coverage=0.3, connectivity=0.995, confidence=0.9)
EMPTY_MASK = MaskMeasurements(foreground=False, coverage=0, connectivity=0, confidence=0.9)


def test_stage_seconds_are_summed_by_model_and_kind(telemetry, read):
    telemetry.observe_stages("connectnet", STAGES)
    telemetry.observe_stages("connectnet", {"decode": 0.5})
    telemetry.observe_stages("connectnet", {"decode": 0.125}, kind="frame")
    photo = {"model": "connectnet", "kind": "photo"}
    assert read("stage_seconds_sum", **photo, stage="decode") == 0.75
    assert read("stage_seconds_count", **photo, stage="decode") == 2
    assert read("stage_seconds_sum", **photo, stage="infer") == 0.5
    assert read("stage_seconds_sum", model="connectnet", kind="frame", stage="decode") == 0.125


def test_image_records_its_stages_and_mask(telemetry, read):
    telemetry.observe_image("connectnet", STAGES, MASK)
    photo = {"model": "connectnet", "kind": "photo"}
    assert read("stage_seconds_count", **photo, stage="infer") == 1
    assert read("images_total", **photo, foreground="present") == 1
    assert read("second_looks_total", model="connectnet") == 0
    assert read("mask_confidence_sum", **photo) == 0.9
    assert read("mask_coverage_sum", **photo) == 0.3
    assert read("mask_connectivity_sum", **photo) == 0.995


def test_domain_and_second_pass_of_image_are_counted(telemetry, read):
    mask = MaskMeasurements(
        foreground=True,
        coverage=0.3,
        connectivity=1,
        confidence=0.9,
        domain="half_body",
        passes=2,
    )
    telemetry.observe_image("md_trisenet", STAGES, mask)
    labels = {"model": "md_trisenet", "kind": "photo"}
    assert read("domains_total", **labels, domain="half_body") == 1
    assert read("second_looks_total", model="md_trisenet") == 1


def test_empty_mask_is_counted_but_not_measured(telemetry, read):
    telemetry.observe_image("connectnet", STAGES, EMPTY_MASK)
    photo = {"model": "connectnet", "kind": "photo"}
    assert read("images_total", **photo, foreground="none") == 1
    assert read("images_total", **photo, foreground="present") == 0
    assert read("mask_confidence_count", **photo) == 0
