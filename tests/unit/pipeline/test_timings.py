from silhouette_seg.pipeline.timings import Stopwatch, Timings

FIRST = Timings(fit_s=1, route_s=2, queue_s=3, infer_s=4, post_s=5)
SECOND = Timings(fit_s=10, route_s=20, queue_s=30, infer_s=40, post_s=50)


def test_sum_of_timings_adds_every_stage():
    assert (FIRST + SECOND).stages() == {
        "fit": 11,
        "route": 22,
        "queue": 33,
        "infer": 44,
        "post": 55,
    }


def test_plus_post_adds_to_the_last_stage_only():
    assert FIRST.plus_post(0.5) == Timings(fit_s=1, route_s=2, queue_s=3, infer_s=4, post_s=5.5)


def test_response_stages_count_rendering_as_post():
    stages = FIRST.response_stages(render_s=6, encode_s=7)
    assert list(stages.items()) == [
        ("decode", 1),
        ("route", 2),
        ("queue", 3),
        ("infer", 4),
        ("post", 11),
        ("encode", 7),
    ]


def test_stopwatch_laps_are_consecutive_intervals(monkeypatch):
    times = iter([100.0, 101.5, 104.0])
    monkeypatch.setattr("silhouette_seg.pipeline.timings.perf_counter", lambda: next(times))
    watch = Stopwatch()
    assert (watch.lap(), watch.lap()) == (1.5, 2.5)
