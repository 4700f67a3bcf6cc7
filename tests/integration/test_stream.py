"""`WS /v1/stream` in process: messages, answers to frames, limits, and the ends of streams."""

import asyncio
import json
import logging
from typing import NoReturn

import pytest

from silhouette_seg.admission import stream_limit
from silhouette_seg.api import stream
from silhouette_seg.errors import EngineFailed, Overloaded
from silhouette_seg.streaming.protocol import (
    FRAME_CREDITS,
    CloseCode,
    MessageFlags,
    MessageHeader,
    MessageKind,
    pack,
    text_message,
    unpack,
)
from silhouette_seg.streaming.websocket import MAX_BAD_FRAMES
from tests.integration.conftest import in_process, until
from tests.integration.pictures import pixels
from tests.integration.stream_client import (
    JPEG,
    AsgiClient,
    ClosedByServer,
    config,
    connected,
    error_of,
    frame,
    result_of,
    streaming,
)
from tests.support.images import make_bomb, make_jpeg, make_webp, person, quadrants
from tests.support.metrics import exposition
from tests.support.tiny_model import tiny_spec, write_tiny_model

BAD = frame(0, b"no picture")


async def send_configs_forever(peer: AsgiClient) -> NoReturn:
    while True:
        peer.send(config())
        await peer.receive()


@pytest.fixture
async def service(settings_with, gated):
    """Checks after each test that every stream has released its slot and its tasks."""
    async with in_process(settings_with(engine="gated")) as running:
        before = len(asyncio.all_tasks())
        yield running
        await until(lambda: len(asyncio.all_tasks()) <= before)
        assert running.gateway.streams.count == 0


@pytest.fixture
def engine(service, gated):
    """The engine of `service`; it answers only while its gate is set."""
    (engine,) = gated
    yield engine
    engine.gate.set()


class TestOptions:
    async def test_ready_message_states_limits_and_options(self, settings_with, gated):
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

    async def test_frame_is_answered_with_requested_result(self, service):
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

    async def test_result_without_person_has_no_flag(self, service):
        async with streaming(service.app) as peer:
            peer.send(frame(1, make_jpeg(person() // 255)))
            assert result_of(await peer.receive())[0].flags is MessageFlags.NONE

    @pytest.mark.parametrize("make", [make_jpeg, make_webp])
    async def test_frames_of_each_image_type_are_accepted(self, service, make):
        async with streaming(service.app, output="cutout", format="webp") as peer:
            peer.send(frame(1, make(quadrants())))
            _, _, image = result_of(await peer.receive())
        assert pixels(image).shape == (64, 96, 4)

    async def test_later_config_applies_from_announced_seq(self, service):
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

    async def test_later_config_does_not_affect_waiting_frame(self, service, engine):
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
    async def test_invalid_later_message_changes_nothing(self, service, message, code):
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

    async def test_key_in_later_config_is_ignored(self, service):
        async with streaming(service.app) as peer:
            peer.send(config(key="again", size=64))
            assert (await peer.receive())["type"] == "ready"


class TestFrames:
    async def test_frames_within_credits_are_all_segmented(self, service):
        async with streaming(service.app) as peer:
            for round_ in range(3):
                peer.send(frame(2 * round_))
                peer.send(frame(2 * round_ + 1))
                answers = [result_of(await peer.receive())[0] for _ in range(2)]
                assert [header.seq for header in answers] == [2 * round_, 2 * round_ + 1]

    async def test_newest_frame_wins_and_each_gets_one_answer(self, service, engine):
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
    async def test_bad_frame_is_an_error_and_stream_continues(self, service, data, code):
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
        self, service, engine, caplog, error, code
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

    async def test_frame_beyond_deadline_is_cancelled(self, settings_with, gated):
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

    async def test_reset_clears_prior(self, settings_with, tmp_path):
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

    async def test_reset_does_not_affect_waiting_frame(self, settings_with, tmp_path, gated):
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


class TestFirstMessage:
    @pytest.mark.parametrize(
        ("message", "code"),
        [
            (frame(), CloseCode.BAD_CONFIG),
            (b"", CloseCode.BAD_CONFIG),
            ("no json", CloseCode.WRONG_TYPE),
            ("[]", CloseCode.WRONG_TYPE),
            ('{"output": "mask"}', CloseCode.WRONG_TYPE),
            (text_message("reset", {}), CloseCode.BAD_CONFIG),
            (config(output="nope"), CloseCode.BAD_CONFIG),
            (config(nope=1), CloseCode.BAD_CONFIG),
            (config(model="nope"), CloseCode.BAD_CONFIG),
            (config(output="cutout", format="jpeg"), CloseCode.BAD_CONFIG),
            (config(output="composite", background_image="AAAA"), CloseCode.BAD_CONFIG),
            (config(key=7), CloseCode.BAD_CONFIG),
        ],
    )
    async def test_invalid_first_message_closes_stream(self, service, message, code):
        async with connected(service.app) as peer:
            peer.send(message)
            end = await peer.end()
        assert end.code == code
        assert end.reason
        assert len(end.reason.encode()) <= 123

    async def test_missing_config_closes_stream_after_timeout(self, service, monkeypatch):
        monkeypatch.setattr(stream, "CONFIG_TIMEOUT_S", 0.02)
        async with connected(service.app) as peer:
            assert (await peer.end()).code == CloseCode.CONFIG_TIMEOUT

    async def test_client_that_disconnects_at_once_leaves_nothing(self, service):
        async with connected(service.app):
            pass

    @pytest.mark.parametrize(
        ("subprotocols", "code"),
        [((), CloseCode.POLICY), (("silhouette.v2", "mqtt"), CloseCode.POLICY)],
    )
    async def test_unknown_subprotocol_closes_stream(self, service, subprotocols, code):
        async with connected(service.app, subprotocols=subprotocols) as peer:
            assert (await peer.end()).code == code

    async def test_known_subprotocol_among_others_is_selected(self, service):
        async with connected(service.app, subprotocols=("silhouette.v2", "silhouette.v1")) as peer:
            peer.send(config())
            assert (await peer.receive())["type"] == "ready"

    @pytest.mark.parametrize(
        ("origin", "host", "allowed"),
        [
            ("http://silhouette", "silhouette", True),
            ("https://SILHOUETTE", "silhouette", True),
            ("http://silhouette:8000", "silhouette:8000", True),
            ("https://friend.example", "silhouette", True),
            ("http://friend.example", "silhouette", False),
            ("http://silhouette:8001", "silhouette:8000", False),
            ("http://evil.example", "silhouette", False),
            ("http://silhouette.evil.example", "silhouette", False),
            ("http://evil.example/silhouette", "silhouette", False),
            ("null", "silhouette", False),
            ("", "silhouette", False),
            ("http://[", "silhouette", False),
            ("null", "", False),
        ],
    )
    async def test_stream_requires_same_or_allowed_origin(
        self, settings_with, gated, origin, host, allowed
    ):
        settings = settings_with(engine="gated", cors_origins=("https://friend.example",))
        async with (
            in_process(settings) as service,
            connected(service.app, origin=origin, host=host) as peer,
        ):
            if allowed:
                peer.send(config())
                assert (await peer.receive())["type"] == "ready"
            else:
                assert (await peer.end()).code == CloseCode.POLICY

    @pytest.mark.parametrize(
        ("key", "headers", "allowed"),
        [
            ("secret", {}, True),
            ("clé", {}, True),
            (None, {"authorization": "Bearer secret"}, True),
            (None, {"x_api_key": "secret"}, True),
            ("wrong", {"authorization": "Bearer secret"}, True),
            ("wrong", {}, False),
            (None, {}, False),
            ("", {}, False),
            ("\ud800", {}, False),
            (None, {"authorization": "Basic secret"}, False),
            (None, {"x_api_key": "wrong"}, False),
        ],
    )
    async def test_stream_requires_valid_key(self, settings_with, gated, key, headers, allowed):
        async with (
            in_process(settings_with(engine="gated", api_keys=("secret", "clé"))) as service,
            connected(service.app, **headers) as peer,
        ):
            peer.send(config(**({} if key is None else {"key": key})))
            if allowed:
                assert (await peer.receive())["type"] == "ready"
            else:
                assert (await peer.end()).code == CloseCode.UNAUTHORIZED

    async def test_config_is_validated_after_the_key(self, settings_with, gated):
        async with (
            in_process(settings_with(engine="gated", api_keys=("secret",))) as service,
            connected(service.app) as peer,
        ):
            peer.send(config(model="nope", background_image="x"))
            assert (await peer.end()).code == CloseCode.UNAUTHORIZED


class TestLimits:
    async def test_stream_beyond_total_limit_is_rejected(self, settings_with, gated):
        async with in_process(settings_with(engine="gated", max_streams=1)) as service:
            async with (
                streaming(service.app),
                connected(service.app, address="10.0.0.2") as peer,
            ):
                peer.send(config())
                assert (await peer.end()).code == CloseCode.OVERLOADED
            async with streaming(service.app):
                assert service.gateway.streams.count == 1

    @pytest.mark.parametrize(
        ("other", "max_streams", "code"),
        [
            ("10.0.0.2", 2, CloseCode.OVERLOADED),
            ("10.0.0.1", 2, CloseCode.OVERLOADED),
            ("10.0.0.1", 3, CloseCode.TOO_MANY_STREAMS),
        ],
    )
    async def test_stream_limits_apply_per_address(
        self, settings_with, gated, other, max_streams, code
    ):
        settings = settings_with(engine="gated", max_streams=max_streams, max_streams_per_caller=1)
        async with (
            in_process(settings) as service,
            connected(service.app, address="10.0.0.1") as one,
            connected(service.app, address="10.0.0.9") as another,
            connected(service.app, address=other) as peer,
        ):
            for client in (one, another):
                client.send(config())
                assert (await client.receive())["type"] == "ready"
            peer.send(config())
            assert (await peer.end()).code == code

    async def test_stream_limits_apply_per_key(self, settings_with, gated):
        settings = settings_with(engine="gated", api_keys=("a", "b"), max_streams_per_caller=1)
        async with (
            in_process(settings) as service,
            connected(service.app, address="10.0.0.1") as one,
            connected(service.app, address="10.0.0.2", authorization="Bearer a") as same,
            connected(service.app, address="10.0.0.2") as other,
        ):
            one.send(config(key="a"))
            assert (await one.receive())["type"] == "ready"
            same.send(config(key="made up"))
            assert (await same.end()).code == CloseCode.TOO_MANY_STREAMS
            other.send(config(key="b"))
            assert (await other.receive())["type"] == "ready"

    async def test_stream_during_warm_up_is_rejected(self, settings_with, gated):
        async with in_process(settings_with(engine="gated"), ready=False) as service:
            gated[0].gate.clear()
            async with connected(service.app) as peer:
                peer.send(config())
                assert (await peer.end()).code == CloseCode.OVERLOADED
            gated[0].gate.set()

    async def test_stream_while_draining_is_rejected(self, service):
        service.gateway.streams.start_draining()
        async with connected(service.app) as peer:
            peer.send(config())
            assert (await peer.end()).code == CloseCode.RESTART


class TestEnd:
    @pytest.mark.parametrize(
        ("message", "code"),
        [
            (b"", CloseCode.BAD_CONFIG),
            (frame()[:19], CloseCode.BAD_CONFIG),
            (b"RIFF" + frame()[4:], CloseCode.BAD_CONFIG),
            (b"SILH\x02" + frame()[5:], CloseCode.BAD_CONFIG),
            (pack(MessageHeader(MessageKind.RESULT, 1, 1), JPEG), CloseCode.BAD_CONFIG),
            ("frame", CloseCode.WRONG_TYPE),
            ("{}", CloseCode.WRONG_TYPE),
            ('{"type": 1}', CloseCode.WRONG_TYPE),
        ],
    )
    async def test_malformed_message_closes_stream(self, service, message, code):
        async with streaming(service.app) as peer:
            peer.send(message)
            end = await peer.end()
        assert end.code == code
        assert end.reason

    async def test_too_many_consecutive_bad_frames_close_stream(self, service):
        async with streaming(service.app) as peer:
            for _ in range(MAX_BAD_FRAMES):
                peer.send(BAD)
                error_of(await peer.receive())
            assert (await peer.end()).code == CloseCode.BAD_FRAMES

    async def test_good_frame_resets_count_of_bad_frames(self, service):
        async with streaming(service.app) as peer:
            for message in [BAD] * (MAX_BAD_FRAMES - 1) + [frame()] + [BAD] * (MAX_BAD_FRAMES - 1):
                peer.send(message)
                await peer.receive()
            peer.send(frame(7))
            assert result_of(await peer.receive())[0].seq == 7

    async def test_engine_failures_do_not_count_as_bad_frames(self, service, engine):
        async with streaming(service.app) as peer:
            for _ in range(MAX_BAD_FRAMES + 1):
                engine.fail_next(EngineFailed("broken"))
                peer.send(frame())
                error_of(await peer.receive())

    async def test_frames_keep_stream_open(self, settings_with, gated):
        async with (
            in_process(settings_with(engine="gated", stream_idle_s=2)) as service,
            streaming(service.app) as peer,
        ):
            clock = asyncio.get_running_loop().time
            deadline = clock() + 2.1
            while clock() < deadline:
                peer.send(frame())
                result_of(await peer.receive())

    async def test_text_messages_do_not_keep_stream_open(self, settings_with, gated):
        async with (
            in_process(settings_with(engine="gated", stream_idle_s=0.1)) as service,
            streaming(service.app) as peer,
        ):
            with pytest.raises(ClosedByServer, match=f"{CloseCode.IDLE:d}"):
                await send_configs_forever(peer)

    async def test_stream_ends_after_maximum_duration(self, settings_with, gated):
        async with in_process(settings_with(engine="gated", stream_max_s=0.05)) as service:
            async with streaming(service.app) as peer:
                assert (await peer.end()).code == CloseCode.GOING_AWAY
            assert service.gateway.streams.count == 0

    async def test_drain_closes_idle_and_busy_streams(self, service, engine):
        async with streaming(service.app) as idle, streaming(service.app) as busy:
            engine.gate.clear()
            batches = len(engine.batch_sizes)
            busy.send(frame())
            await engine.wait_for_batches(batches + 1)
            service.gateway.streams.start_draining()
            ends = [await idle.end(), await busy.end()]
            assert [end.code for end in ends] == [CloseCode.RESTART] * 2
            async with asyncio.timeout(5):
                await service.gateway.streams.wait_idle()
            assert engine.running == 0

    async def test_disconnect_cancels_the_current_frame(self, service, engine):
        async with streaming(service.app) as peer:
            engine.gate.clear()
            batches = len(engine.batch_sizes)
            peer.send(frame())
            await engine.wait_for_batches(batches + 1)
            await peer.leave()
        assert engine.running == 0
        assert service.gateway.streams.count == 0

    async def test_unexpected_error_is_logged_but_not_sent(self, service, engine, caplog):
        async with streaming(service.app) as peer:
            engine.fail_next(RuntimeError("secret of the engine"))
            peer.send(frame())
            end = await peer.end()
        assert end.code == CloseCode.INTERNAL
        assert "secret" not in end.reason
        assert "secret of the engine" in caplog.text
        assert service.gateway.streams.count == 0


class TestClientThatDoesNotRead:
    async def test_client_that_does_not_read_is_not_read_from(self, service):
        async with streaming(service.app) as peer:
            peer.reads.clear()
            for seq in range(500):
                peer.send(frame(seq))
            # The worker blocks on a RESULT and the reader on a SKIPPED.
            await until(lambda: peer.blocked == 2)
            unread = peer.unread
            assert unread > 450
            for _ in range(200):
                await asyncio.sleep(0)
            assert (peer.unread, peer.blocked) == (unread, 2)

    async def test_client_that_resumes_reading_gets_every_answer(self, service):
        async with streaming(service.app) as peer:
            peer.reads.clear()
            for seq in range(50):
                peer.send(frame(seq))
            await until(lambda: peer.blocked == 2)
            peer.reads.set()
            answers = [unpack(await peer.receive())[0] for _ in range(50)]
        assert sorted(header.seq for header in answers) == list(range(50))
        by_kind = {header.seq: header.kind for header in answers}
        assert by_kind[49] is MessageKind.RESULT  # the newest frame

    async def test_client_that_does_not_read_may_disconnect(self, service):
        async with streaming(service.app) as peer:
            peer.reads.clear()
            for seq in range(50):
                peer.send(frame(seq))
            await until(lambda: peer.blocked == 2)
        assert service.gateway.streams.count == 0

    async def test_close_does_not_wait_for_client_without_reads(self, service):
        async with streaming(service.app) as peer:
            peer.reads.clear()
            service.gateway.streams.start_draining()
            async with asyncio.timeout(10):
                await service.gateway.streams.wait_idle()


class TestReports:
    async def test_end_of_stream_is_logged_in_one_line(self, service, caplog):
        caplog.set_level(logging.INFO)
        async with connected(service.app, x_request_id="made-by-the-client") as peer:
            peer.send(config())
            await peer.receive()
            for message in (frame(1), BAD, frame(2)):
                peer.send(message)
                await peer.receive()
            await peer.leave(1001)
        (line,) = [line for line in caplog.messages if line.startswith("stream ")]
        assert line.startswith("stream websocket connectnet result=2 skipped=0 error=1 ")
        assert line.endswith(" s closed 1001")

    async def test_rejected_stream_is_logged_and_counted(self, service, caplog):
        caplog.set_level(logging.INFO)
        async with connected(service.app) as peer:
            peer.send("nonsense")
            await peer.end()
        (line,) = [line for line in caplog.messages if line.startswith("stream ")]
        assert line.startswith("stream websocket - result=0 skipped=0 error=0 ")
        assert line.endswith(" s closed 1003")
        ended = {"transport": "websocket", "reason": "wrong_type"}
        registry = service.gateway.telemetry.registry
        assert registry.get_sample_value("silhouette_streams_ended_total", ended) == 1

    async def test_metrics_count_streams_and_frames(self, service):
        async with streaming(service.app) as peer:
            for message in (frame(1), BAD):
                peer.send(message)
                await peer.receive()
            during = exposition(service.gateway.telemetry)
        after = exposition(service.gateway.telemetry)
        assert 'silhouette_streams{transport="websocket"} 1.0' in during
        assert 'silhouette_streams{transport="websocket"} 0.0' in after
        assert 'silhouette_frames_total{outcome="result",transport="websocket"} 1.0' in after
        assert 'silhouette_frames_total{outcome="error",transport="websocket"} 1.0' in after
        assert 'stage_seconds_count{kind="frame",model="connectnet",stage="infer"} 1.0' in after
        assert 'silhouette_frame_seconds_count{transport="websocket"} 1.0' in after
        assert 'images_total{foreground="present",kind="frame",model="connectnet"} 1.0' in after

    async def test_capabilities_list_stream_limits(self, settings_with, gated):
        settings = settings_with(
            engine="gated", max_streams=5, max_frame_bytes=77_000, stream_idle_s=3
        )
        async with in_process(settings) as service:
            capabilities = (await service.client.get("/v1/capabilities")).json()
        assert "websocket" in capabilities["streams"]
        limits = capabilities["stream_limits"]
        assert (limits["streams"], limits["streams_per_caller"]) == (5, 5)
        assert (limits["message_bytes"], limits["idle_s"]) == (77_000, 3)
        assert json.loads(json.dumps(capabilities["stream_parameters"])).keys() >= {
            "size",
            "smoothing",
        }


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


async def test_pending_handshakes_are_limited(service, monkeypatch):
    """A pending handshake is unauthenticated and may send a message of the largest size."""
    monkeypatch.setattr(stream_limit, "MAX_PENDING_HANDSHAKES", 2)
    service.gateway.streams.max_streams = 2
    async with connected(service.app) as first, connected(service.app):
        async with connected(service.app) as third:
            assert (await third.end()).code == CloseCode.OVERLOADED
        first.send(config())
        assert (await first.receive())["type"] == "ready"
        async with connected(service.app) as fourth:
            fourth.send(config())
            assert (await fourth.receive())["type"] == "ready"
