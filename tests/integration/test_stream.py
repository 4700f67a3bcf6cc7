"""`WS /v1/stream` in process: what is said, how each frame is answered, and how it ends."""

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
from tests.integration.stream_peer import (
    JPEG,
    AsgiPeer,
    Closed,
    config,
    connected,
    error_of,
    frame,
    result_of,
    streaming,
)
from tests.support.images import make_bomb, make_jpeg, make_webp, person, quadrants
from tests.support.tiny_model import tiny_spec, write_tiny_model

BAD = frame(0, b"no picture")


async def keep_talking(peer: AsgiPeer) -> NoReturn:
    while True:
        peer.send(config())
        await peer.receive()


@pytest.fixture
async def service(settings_with, gated):
    """However a stream ended, its place is free and nothing of it is at work."""
    async with in_process(settings_with(engine="gated")) as running:
        before = len(asyncio.all_tasks())
        yield running
        await until(lambda: len(asyncio.all_tasks()) <= before)
        assert running.gateway.streams.count == 0


@pytest.fixture
def engine(service, gated):
    """Of that service; answers only while its gate is set."""
    (opened,) = gated
    yield opened
    opened.gate.set()


class TestSaid:
    async def test_ready_tells_what_holds(self, settings_with, gated):
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

    async def test_a_frame_comes_back_as_what_was_asked_for(self, service):
        async with streaming(service.app, format="png") as peer:
            peer.send(frame(2**32 - 1, timestamp=2**64 - 1))
            header, told, picture = result_of(await peer.receive())
        assert header == MessageHeader(
            MessageKind.RESULT, 2**32 - 1, 2**64 - 1, MessageFlags.FOREGROUND
        )
        mask = pixels(picture)
        assert mask.shape == (told.height, told.width) == (64, 96)
        assert mask[16, 20] > 200  # red, which is what the model takes for a person
        assert mask[16, 80] < 50
        assert told.skipped == 0
        assert told.server_us > 0

    async def test_without_a_person_there_is_no_flag(self, service):
        async with streaming(service.app) as peer:
            peer.send(frame(1, make_jpeg(person() // 255)))
            assert result_of(await peer.receive())[0].flags is MessageFlags.NONE

    @pytest.mark.parametrize("make", [make_jpeg, make_webp])
    async def test_frames_may_be_of_any_type_we_take(self, service, make):
        async with streaming(service.app, output="cutout", format="webp") as peer:
            peer.send(frame(1, make(quadrants())))
            _, _, picture = result_of(await peer.receive())
        assert pixels(picture).shape == (64, 96, 4)

    async def test_a_later_config_holds_from_the_seq_it_tells(self, service):
        async with streaming(service.app, format="png") as peer:
            peer.send(frame(41))
            await peer.receive()
            peer.send(config(size=64, output="cutout"))
            ready = await peer.receive()
            assert (ready["type"], ready["from_seq"]) == ("ready", 42)
            assert ready["options"]["size"] == 64
            assert ready["options"]["format"] == "png"
            peer.send(frame(42))
            _, told, picture = result_of(await peer.receive())
        assert pixels(picture).shape == (told.height, told.width, 4) == (43, 64, 4)

    async def test_a_later_config_is_not_for_a_frame_that_waits(self, service, engine):
        async with streaming(service.app, format="png") as peer:
            engine.gate.clear()
            before = len(engine.batch_sizes)
            peer.send(frame(1))
            await engine.wait_for_batches(before + 1)
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
    async def test_a_later_message_that_cannot_hold_changes_nothing(self, service, message, code):
        async with streaming(service.app, format="png") as peer:
            peer.send(message)
            told = await peer.receive()
            assert told.keys() == {"type", "code", "detail", "retryable"}
            assert (told["type"], told["code"], told["retryable"]) == ("error", code, False)
            peer.send(config())
            options = (await peer.receive())["options"]
            assert (options["size"], options["output"]) == (None, "mask")
            peer.send(frame(1))
            assert result_of(await peer.receive())[1].width == 96

    async def test_a_key_in_a_later_config_is_no_option(self, service):
        async with streaming(service.app) as peer:
            peer.send(config(key="again", size=64))
            assert (await peer.receive())["type"] == "ready"


class TestAnswers:
    async def test_two_frames_at_once_are_both_segmented(self, service):
        async with streaming(service.app) as peer:
            for round_ in range(3):
                peer.send(frame(2 * round_))
                peer.send(frame(2 * round_ + 1))
                answers = [result_of(await peer.receive())[0] for _ in range(2)]
                assert [header.seq for header in answers] == [2 * round_, 2 * round_ + 1]

    async def test_the_newest_wins_and_each_frame_is_answered_once(self, service, engine):
        async with streaming(service.app) as peer:
            engine.gate.clear()
            before = len(engine.batch_sizes)
            peer.send(frame(0, timestamp=70))
            await engine.wait_for_batches(before + 1)
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
        ("picture", "code"),
        [
            (b"", "unsupported_image_type"),
            (b"no picture", "unsupported_image_type"),
            (JPEG[: len(JPEG) // 2], "undecodable_image"),
            (make_bomb(5000, 5000), "too_many_pixels"),
            (make_bomb(50_000, 50_000), "side_too_long"),
            (make_bomb(16_000, 16), "aspect_too_extreme"),
        ],
    )
    async def test_a_bad_frame_is_an_error_and_the_stream_goes_on(self, service, picture, code):
        async with streaming(service.app) as peer:
            peer.send(frame(5, picture, timestamp=6))
            header, told = error_of(await peer.receive())
            assert (header.seq, header.timestamp) == (5, 6)
            assert told.keys() == {"code", "detail", "retryable"}
            assert (told["code"], told["retryable"]) == (code, False)
            peer.send(frame(6))
            assert result_of(await peer.receive())[0].seq == 6

    @pytest.mark.parametrize(
        ("error", "code"),
        [(Overloaded("full"), "overloaded"), (EngineFailed("broken"), "engine_failed")],
    )
    async def test_an_engine_that_cannot_is_worth_another_frame(
        self, service, engine, caplog, error, code
    ):
        async with streaming(service.app) as peer:
            for seq in range(3):
                engine.fail_next(error)
                peer.send(frame(seq))
                header, told = error_of(await peer.receive())
                assert (header.seq, told["code"], told["retryable"]) == (seq, code, True)
            peer.send(frame(3))
            assert result_of(await peer.receive())[0].seq == 3
        failures = [line for line in caplog.messages if "frames fail" in line]
        assert len(failures) == 1

    async def test_a_frame_that_takes_too_long_is_given_up(self, settings_with, gated):
        settings = settings_with(engine="gated", request_timeout_s=0.05)
        async with in_process(settings) as service, streaming(service.app) as peer:
            gated[0].gate.clear()
            peer.send(frame(1))
            _, told = error_of(await peer.receive())
            assert (told["code"], told["retryable"]) == ("deadline_exceeded", True)
            gated[0].gate.set()
            await until(lambda: gated[0].running == 0)
            peer.send(frame(2))
            assert unpack(await peer.receive())[0].seq == 2

    async def test_a_reset_leaves_no_prior(self, settings_with, tmp_path):
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
        # The model's alpha is red xor the prior, which is some part of the mask before.
        assert [red > 240 for red in reds] == [True, False, False, True]

    async def test_a_reset_is_not_for_a_frame_that_waits(self, settings_with, tmp_path, gated):
        write_tiny_model(tmp_path, tiny_spec("rcrnet"))
        settings = settings_with(model_repository=tmp_path, engine="gated")
        async with (
            in_process(settings) as service,
            streaming(service.app, format="png", smoothing=0) as peer,
        ):
            (engine,) = gated
            engine.gate.clear()
            before = len(engine.batch_sizes)
            peer.send(frame(0))
            await engine.wait_for_batches(before + 1)
            peer.send(frame(1))
            peer.send(text_message("reset", {}))
            peer.send(config())
            assert (await peer.receive())["type"] == "ready"
            engine.gate.set()
            pictures = [result_of(await peer.receive())[2] for _ in range(2)]
            peer.send(frame(2))
            pictures.append(result_of(await peer.receive())[2])
        assert [pixels(picture)[16, 20] > 240 for picture in pictures] == [True, False, True]


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
    async def test_what_is_no_config_ends_it(self, service, message, code):
        async with connected(service.app) as peer:
            peer.send(message)
            end = await peer.end()
        assert end.code == code
        assert end.reason
        assert len(end.reason.encode()) <= 123

    async def test_none_in_time(self, service, monkeypatch):
        monkeypatch.setattr(stream, "CONFIG_TIMEOUT_S", 0.02)
        async with connected(service.app) as peer:
            assert (await peer.end()).code == CloseCode.CONFIG_TIMEOUT

    async def test_one_that_leaves_at_once(self, service):
        async with connected(service.app):
            pass

    @pytest.mark.parametrize(
        ("subprotocols", "code"),
        [((), CloseCode.POLICY), (("silhouette.v2", "mqtt"), CloseCode.POLICY)],
    )
    async def test_another_subprotocol(self, service, subprotocols, code):
        async with connected(service.app, subprotocols=subprotocols) as peer:
            assert (await peer.end()).code == code

    async def test_ours_among_others(self, service):
        async with connected(service.app, subprotocols=("silhouette.v2", "silhouette.v1")) as peer:
            peer.send(config())
            assert (await peer.receive())["type"] == "ready"

    @pytest.mark.parametrize(
        ("origin", "host", "fine"),
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
    async def test_pages_of_other_origins(self, settings_with, gated, origin, host, fine):
        settings = settings_with(engine="gated", cors_origins=("https://friend.example",))
        async with (
            in_process(settings) as service,
            connected(service.app, origin=origin, host=host) as peer,
        ):
            if fine:
                peer.send(config())
                assert (await peer.receive())["type"] == "ready"
            else:
                assert (await peer.end()).code == CloseCode.POLICY

    @pytest.mark.parametrize(
        ("key", "headers", "fine"),
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
    async def test_keys(self, settings_with, gated, key, headers, fine):
        async with (
            in_process(settings_with(engine="gated", api_keys=("secret", "clé"))) as service,
            connected(service.app, **headers) as peer,
        ):
            peer.send(config(**({} if key is None else {"key": key})))
            if fine:
                assert (await peer.receive())["type"] == "ready"
            else:
                assert (await peer.end()).code == CloseCode.UNAUTHORIZED

    async def test_a_config_is_not_read_before_the_key_is(self, settings_with, gated):
        async with (
            in_process(settings_with(engine="gated", api_keys=("secret",))) as service,
            connected(service.app) as peer,
        ):
            peer.send(config(model="nope", background_image="x"))
            assert (await peer.end()).code == CloseCode.UNAUTHORIZED


class TestPlaces:
    async def test_all_taken(self, settings_with, gated):
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
        ("other", "most", "code"),
        [
            ("10.0.0.2", 2, CloseCode.OVERLOADED),
            ("10.0.0.1", 2, CloseCode.OVERLOADED),
            ("10.0.0.1", 3, CloseCode.TOO_MANY_STREAMS),
        ],
    )
    async def test_of_one_address(self, settings_with, gated, other, most, code):
        settings = settings_with(engine="gated", max_streams=most, max_streams_per_caller=1)
        async with (
            in_process(settings) as service,
            connected(service.app, address="10.0.0.1") as one,
            connected(service.app, address="10.0.0.9") as another,
            connected(service.app, address=other) as peer,
        ):
            for each in (one, another):
                each.send(config())
                assert (await each.receive())["type"] == "ready"
            peer.send(config())
            assert (await peer.end()).code == code

    async def test_of_one_key_whatever_the_address(self, settings_with, gated):
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

    async def test_none_while_warming_up(self, settings_with, gated):
        async with in_process(settings_with(engine="gated"), ready=False) as service:
            gated[0].gate.clear()
            async with connected(service.app) as peer:
                peer.send(config())
                assert (await peer.end()).code == CloseCode.OVERLOADED
            gated[0].gate.set()

    async def test_none_while_draining(self, service):
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
    async def test_a_peer_that_breaks_the_protocol(self, service, message, code):
        async with streaming(service.app) as peer:
            peer.send(message)
            end = await peer.end()
        assert end.code == code
        assert end.reason

    async def test_too_many_bad_frames_in_a_row(self, service):
        async with streaming(service.app) as peer:
            for _ in range(MAX_BAD_FRAMES):
                peer.send(BAD)
                error_of(await peer.receive())
            assert (await peer.end()).code == CloseCode.BAD_FRAMES

    async def test_a_good_frame_among_bad_ones(self, service):
        async with streaming(service.app) as peer:
            for picture in [BAD] * (MAX_BAD_FRAMES - 1) + [frame()] + [BAD] * (MAX_BAD_FRAMES - 1):
                peer.send(picture)
                await peer.receive()
            peer.send(frame(7))
            assert result_of(await peer.receive())[0].seq == 7

    async def test_failures_of_ours_are_no_bad_frames(self, service, engine):
        async with streaming(service.app) as peer:
            for _ in range(MAX_BAD_FRAMES + 1):
                engine.fail_next(EngineFailed("broken"))
                peer.send(frame())
                error_of(await peer.receive())

    async def test_frames_keep_it_alive(self, settings_with, gated):
        async with (
            in_process(settings_with(engine="gated", stream_idle_s=2)) as service,
            streaming(service.app) as peer,
        ):
            clock = asyncio.get_running_loop().time
            give_up = clock() + 2.1
            while clock() < give_up:
                peer.send(frame())
                result_of(await peer.receive())

    async def test_text_does_not(self, settings_with, gated):
        async with (
            in_process(settings_with(engine="gated", stream_idle_s=0.1)) as service,
            streaming(service.app) as peer,
        ):
            with pytest.raises(Closed, match=f"{CloseCode.IDLE:d}"):
                await keep_talking(peer)

    async def test_however_lively_it_has_an_end(self, settings_with, gated):
        async with in_process(settings_with(engine="gated", stream_max_s=0.05)) as service:
            async with streaming(service.app) as peer:
                assert (await peer.end()).code == CloseCode.GOING_AWAY
            assert service.gateway.streams.count == 0

    async def test_a_drain(self, service, engine):
        async with streaming(service.app) as idle, streaming(service.app) as busy:
            engine.gate.clear()
            before = len(engine.batch_sizes)
            busy.send(frame())
            await engine.wait_for_batches(before + 1)
            service.gateway.streams.start_draining()
            ends = [await idle.end(), await busy.end()]
            assert [end.code for end in ends] == [CloseCode.RESTART] * 2
            async with asyncio.timeout(5):
                await service.gateway.streams.wait_idle()
            assert engine.running == 0

    async def test_a_peer_that_leaves_takes_its_frame_along(self, service, engine):
        async with streaming(service.app) as peer:
            engine.gate.clear()
            before = len(engine.batch_sizes)
            peer.send(frame())
            await engine.wait_for_batches(before + 1)
            await peer.leave()
        assert engine.running == 0
        assert service.gateway.streams.count == 0

    async def test_a_failure_that_nobody_foresaw_is_told_to_the_log_alone(
        self, service, engine, caplog
    ):
        async with streaming(service.app) as peer:
            engine.fail_next(RuntimeError("secret of the engine"))
            peer.send(frame())
            end = await peer.end()
        assert end.code == CloseCode.INTERNAL
        assert "secret" not in end.reason
        assert "secret of the engine" in caplog.text
        assert service.gateway.streams.count == 0


class TestPeerThatDoesNotRead:
    async def test_is_not_read_from(self, service):
        async with streaming(service.app) as peer:
            peer.reads.clear()
            for seq in range(500):
                peer.send(frame(seq))
            # A result by the worker and a skipped by the reader find no room: both stand still.
            await until(lambda: peer.blocked == 2)
            unread = peer.unread
            assert unread > 450
            for _ in range(200):
                await asyncio.sleep(0)
            assert (peer.unread, peer.blocked) == (unread, 2)

    async def test_gets_every_answer_once_it_reads(self, service):
        async with streaming(service.app) as peer:
            peer.reads.clear()
            for seq in range(50):
                peer.send(frame(seq))
            await until(lambda: peer.blocked == 2)
            peer.reads.set()
            answers = [unpack(await peer.receive())[0] for _ in range(50)]
        assert sorted(header.seq for header in answers) == list(range(50))
        by_kind = {header.seq: header.kind for header in answers}
        assert by_kind[49] is MessageKind.RESULT  # the newest wins

    async def test_may_leave_without_a_word(self, service):
        async with streaming(service.app) as peer:
            peer.reads.clear()
            for seq in range(50):
                peer.send(frame(seq))
            await until(lambda: peer.blocked == 2)
        assert service.gateway.streams.count == 0

    async def test_is_not_waited_for_when_it_is_to_be_told_the_end(self, service):
        async with streaming(service.app) as peer:
            peer.reads.clear()
            service.gateway.streams.start_draining()
            async with asyncio.timeout(10):
                await service.gateway.streams.wait_idle()


class TestTold:
    async def test_one_line_for_each_stream(self, service, caplog):
        caplog.set_level(logging.INFO)
        async with connected(service.app, x_request_id="made-by-the-peer") as peer:
            peer.send(config())
            await peer.receive()
            for message in (frame(1), BAD, frame(2)):
                peer.send(message)
                await peer.receive()
            await peer.leave(1001)
        (line,) = [line for line in caplog.messages if line.startswith("stream ")]
        assert line.startswith("stream websocket connectnet result=2 skipped=0 error=1 ")
        assert line.endswith(" s closed 1001")

    async def test_also_for_one_that_was_refused(self, service, caplog):
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

    async def test_metrics(self, service):
        async with streaming(service.app) as peer:
            for message in (frame(1), BAD):
                peer.send(message)
                await peer.receive()
            inside = service.gateway.telemetry.exposition().decode()
        after = service.gateway.telemetry.exposition().decode()
        assert 'silhouette_streams{transport="websocket"} 1.0' in inside
        assert 'silhouette_streams{transport="websocket"} 0.0' in after
        assert 'silhouette_frames_total{outcome="result",transport="websocket"} 1.0' in after
        assert 'silhouette_frames_total{outcome="error",transport="websocket"} 1.0' in after
        assert 'stage_seconds_count{kind="frame",model="connectnet",stage="infer"} 1.0' in after
        assert 'silhouette_frame_seconds_count{transport="websocket"} 1.0' in after
        assert 'images_total{foreground="present",kind="frame",model="connectnet"} 1.0' in after

    async def test_capabilities(self, settings_with, gated):
        settings = settings_with(
            engine="gated", max_streams=5, max_frame_bytes=77_000, stream_idle_s=3
        )
        async with in_process(settings) as service:
            told = (await service.client.get("/v1/capabilities")).json()
        assert "websocket" in told["streams"]
        limits = told["stream_limits"]
        assert (limits["streams"], limits["streams_per_caller"]) == (5, 5)
        assert (limits["message_bytes"], limits["idle_s"]) == (77_000, 3)
        assert json.loads(json.dumps(told["stream_parameters"])).keys() >= {"size", "smoothing"}


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


async def test_peers_that_never_say_what_they_want_leave_room_for_others(service, monkeypatch):
    """Before a key was seen: each could send a message of the largest size."""
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
