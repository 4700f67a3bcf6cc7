"""Options of a stream: the `ready` message, and later `config` messages."""

import pytest

from silhouette_seg.streaming.protocol import (
    FRAME_CREDITS,
    MessageFlags,
    MessageHeader,
    MessageKind,
    text_message,
)
from tests.integration.conftest import in_process
from tests.integration.pictures import pixels
from tests.integration.stream_client import config, connected, frame, result_of, streaming
from tests.support.images import make_jpeg, make_webp, person, quadrants


async def test_ready_message_states_limits_and_options(settings_with, gated):
    settings = settings_with(
        engine="gated", max_frame_bytes=100_000, stream_idle_s=7, stream_max_s=70
    )
    async with in_process(settings) as service, connected(service.app) as peer:
        peer.send(config(output="composite", background="#102030", size=320))
        ready = await peer.receive()
    assert len(ready.pop("session")) >= 16
    assert ready.pop("options") == {
        "model": "connectnet",
        "output": "composite",
        "background": "#102030",
        "format": "jpeg",
        "size": 320,
        "smoothing": pytest.approx(0.5, abs=0.5),
        "threshold": None,
        "grow": 0,
        "feather": 0,
        "invert": False,
    }
    assert ready == {
        "type": "ready",
        "credits": FRAME_CREDITS,
        "max_bytes": 100_000,
        "idle_s": 7,
        "max_s": 70,
        "from_seq": 0,
    }


async def test_frame_is_answered_with_requested_result(service):
    async with streaming(service.app, format="png") as peer:
        peer.send(frame(2**32 - 1, timestamp=2**64 - 1))
        header, result, image = result_of(await peer.receive())
    assert header == MessageHeader(
        MessageKind.RESULT, 2**32 - 1, 2**64 - 1, MessageFlags.FOREGROUND
    )
    mask = pixels(image)
    assert mask.shape == (result.height, result.width) == (64, 96)
    assert mask[16, 20] > 200  # red, the colour that the model segments
    assert mask[16, 80] < 50
    assert result.skipped == 0
    assert result.server_us > 0


async def test_result_without_person_has_no_flag(service):
    async with streaming(service.app) as peer:
        peer.send(frame(1, make_jpeg(person() // 255)))
        assert result_of(await peer.receive())[0].flags is MessageFlags.NONE


@pytest.mark.parametrize("make", [make_jpeg, make_webp])
async def test_frames_of_each_image_type_are_accepted(service, make):
    async with streaming(service.app, output="cutout", format="webp") as peer:
        peer.send(frame(1, make(quadrants())))
        _, _, image = result_of(await peer.receive())
    assert pixels(image).shape == (64, 96, 4)


async def test_later_config_applies_from_announced_seq(service):
    async with streaming(service.app, format="png") as peer:
        peer.send(frame(41))
        await peer.receive()
        peer.send(config(size=64, output="cutout"))
        ready = await peer.receive()
        assert (ready["type"], ready["from_seq"]) == ("ready", 42)
        assert ready["options"]["size"] == 64
        assert ready["options"]["format"] == "png"
        peer.send(frame(42))
        _, result, image = result_of(await peer.receive())
    assert pixels(image).shape == (result.height, result.width, 4) == (43, 64, 4)


async def test_later_config_does_not_affect_waiting_frame(service, engine):
    async with streaming(service.app, format="png") as peer:
        engine.gate.clear()
        batches = len(engine.batch_sizes)
        peer.send(frame(1))
        await engine.wait_for_batches(batches + 1)
        peer.send(frame(2))
        peer.send(config(size=64))
        assert (await peer.receive())["from_seq"] == 3
        engine.gate.set()
        widths = [result_of(await peer.receive())[1].width for _ in range(2)]
        peer.send(frame(3))
        assert [*widths, result_of(await peer.receive())[1].width] == [96, 96, 64]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (config(size=1), "bad_parameter"),
        (config(nope=1), "unknown_parameter"),
        (config(model="nope"), "unknown_model"),
        (config(output="cutout", format="jpeg"), "not_acceptable"),
        (config(output="composite", background_image="AAAA"), "unsupported_image_type"),
        (text_message("nope", {}), "bad_request"),
    ],
)
async def test_invalid_later_message_changes_nothing(service, message, code):
    async with streaming(service.app, format="png") as peer:
        peer.send(message)
        error = await peer.receive()
        assert error.keys() == {"type", "code", "detail", "retryable"}
        assert (error["type"], error["code"], error["retryable"]) == ("error", code, False)
        peer.send(config())
        options = (await peer.receive())["options"]
        assert (options["size"], options["output"]) == (None, "mask")
        peer.send(frame(1))
        assert result_of(await peer.receive())[1].width == 96


async def test_key_in_later_config_is_ignored(service):
    async with streaming(service.app) as peer:
        peer.send(config(key="again", size=64))
        assert (await peer.receive())["type"] == "ready"
