"""Frames of a stream: one answer for each, errors, and the reset of the prior."""

import pytest

from silhouette_seg.errors import EngineFailed, Overloaded
from silhouette_seg.streaming.protocol import MessageHeader, MessageKind, text_message, unpack
from tests.integration.conftest import in_process, until
from tests.integration.pictures import pixels
from tests.integration.stream_client import JPEG, config, error_of, frame, result_of, streaming
from tests.support.images import make_bomb, make_jpeg, person, quadrants
from tests.support.tiny_model import tiny_spec, write_tiny_model


async def test_frames_within_credits_are_all_segmented(service):
    async with streaming(service.app) as peer:
        for round_ in range(3):
            peer.send(frame(2 * round_))
            peer.send(frame(2 * round_ + 1))
            answers = [result_of(await peer.receive())[0] for _ in range(2)]
            assert [header.seq for header in answers] == [2 * round_, 2 * round_ + 1]


async def test_newest_frame_wins_and_each_gets_one_answer(service, engine):
    async with streaming(service.app) as peer:
        engine.gate.clear()
        batches = len(engine.batch_sizes)
        peer.send(frame(0, timestamp=70))
        await engine.wait_for_batches(batches + 1)
        for seq in range(1, 5):
            peer.send(frame(seq, timestamp=70 + seq))
        skipped = [await peer.receive() for _ in range(3)]
        assert [unpack(message) for message in skipped] == [
            (MessageHeader(MessageKind.SKIPPED, seq, 70 + seq), b"") for seq in (1, 2, 3)
        ]
        engine.gate.set()
        results = [result_of(await peer.receive()) for _ in range(2)]
        assert [header.seq for header, _, _ in results] == [0, 4]
        assert results[1][1].skipped == 3


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "unsupported_image_type"),
        (b"no picture", "unsupported_image_type"),
        (JPEG[: len(JPEG) // 2], "undecodable_image"),
        (make_bomb(5000, 5000), "too_many_pixels"),
        (make_bomb(50_000, 50_000), "side_too_long"),
        (make_bomb(16_000, 16), "aspect_too_extreme"),
    ],
)
async def test_bad_frame_is_an_error_and_stream_continues(service, data, code):
    async with streaming(service.app) as peer:
        peer.send(frame(5, data, timestamp=6))
        header, body = error_of(await peer.receive())
        assert (header.seq, header.timestamp) == (5, 6)
        assert body.keys() == {"code", "detail", "retryable"}
        assert (body["code"], body["retryable"]) == (code, False)
        peer.send(frame(6))
        assert result_of(await peer.receive())[0].seq == 6


@pytest.mark.parametrize(
    ("error", "code"),
    [(Overloaded("full"), "overloaded"), (EngineFailed("broken"), "engine_failed")],
)
async def test_engine_failure_is_a_retryable_error_logged_once(
    service, engine, caplog, error, code
):
    async with streaming(service.app) as peer:
        for seq in range(3):
            engine.fail_next(error)
            peer.send(frame(seq))
            header, body = error_of(await peer.receive())
            assert (header.seq, body["code"], body["retryable"]) == (seq, code, True)
        peer.send(frame(3))
        assert result_of(await peer.receive())[0].seq == 3
    failures = [line for line in caplog.messages if "frames fail" in line]
    assert len(failures) == 1


async def test_frame_beyond_deadline_is_cancelled(settings_with, gated):
    settings = settings_with(engine="gated", request_timeout_s=0.05)
    async with in_process(settings) as service, streaming(service.app) as peer:
        gated[0].gate.clear()
        peer.send(frame(1))
        _, body = error_of(await peer.receive())
        assert (body["code"], body["retryable"]) == ("deadline_exceeded", True)
        gated[0].gate.set()
        await until(lambda: gated[0].running == 0)
        peer.send(frame(2))
        assert unpack(await peer.receive())[0].seq == 2


async def test_reset_clears_prior(settings_with, tmp_path):
    write_tiny_model(tmp_path, tiny_spec("rcrnet"))
    settings = settings_with(model_repository=tmp_path)
    async with (
        in_process(settings) as service,
        streaming(service.app, format="png", smoothing=0) as peer,
    ):
        reds = []
        for seq in range(4):
            if seq == 3:
                peer.send(text_message("reset", {}))
            peer.send(frame(seq, make_jpeg(quadrants())))
            reds.append(int(pixels(result_of(await peer.receive())[2])[16, 20]))
    # The alpha of the model is the red channel xor the prior, a share of the previous mask.
    assert [red > 240 for red in reds] == [True, False, False, True]


async def test_reset_does_not_affect_waiting_frame(settings_with, tmp_path, gated):
    write_tiny_model(tmp_path, tiny_spec("rcrnet"))
    settings = settings_with(model_repository=tmp_path, engine="gated")
    async with (
        in_process(settings) as service,
        streaming(service.app, format="png", smoothing=0) as peer,
    ):
        (engine,) = gated
        engine.gate.clear()
        batches = len(engine.batch_sizes)
        peer.send(frame(0))
        await engine.wait_for_batches(batches + 1)
        peer.send(frame(1))
        peer.send(text_message("reset", {}))
        peer.send(config())
        assert (await peer.receive())["type"] == "ready"
        engine.gate.set()
        images = [result_of(await peer.receive())[2] for _ in range(2)]
        peer.send(frame(2))
        images.append(result_of(await peer.receive())[2])
    assert [pixels(image)[16, 20] > 240 for image in images] == [True, False, True]


async def test_streams_and_photos_do_not_mix(service):
    async with (
        streaming(service.app, format="png") as one,
        streaming(service.app) as other,
    ):
        for seq in range(5):
            one.send(frame(seq, make_jpeg(person())))
            other.send(frame(seq))
            photo = await service.segment(JPEG)
            assert result_of(await one.receive())[1].width == 320
            assert result_of(await other.receive())[1].width == 96
            assert photo.status_code == 200
