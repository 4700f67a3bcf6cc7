def test_queue_gauges_call_their_functions_on_each_read(telemetry, read):
    queue = {"queued": 3, "running": 2, "running_pixels": 12_000_000, "estimated_wait_s": 0.5}
    telemetry.photo_queue.track(
        **{name: lambda name=name: queue[name] for name in queue},
    )
    names = ("photos_waiting", "photos_working", "pixels_working", "foretold_wait_seconds")
    assert [read(name) for name in names] == [3, 2, 12_000_000, 0.5]
    queue["queued"] = 0
    assert read("photos_waiting") == 0
