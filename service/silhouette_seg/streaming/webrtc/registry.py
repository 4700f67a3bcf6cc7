"""Registry of the WebRTC connections: creates them, finds them by id, and ends them."""

import asyncio
import logging
from collections import Counter
from contextlib import AsyncExitStack
from importlib import import_module
from time import perf_counter
from typing import TYPE_CHECKING, Final

from silhouette_seg.admission.stream_limit import StreamLimiter, StreamPlace, log_stream_end
from silhouette_seg.errors import NotFound, NotInstalled, Unavailable
from silhouette_seg.pipeline.measurements import measurements_of
from silhouette_seg.pipeline.segmenter import Matte
from silhouette_seg.runtime.extras import is_installed, missing_module
from silhouette_seg.runtime.process_group import ProcessGroup
from silhouette_seg.streaming.session import FRAME_OUTCOMES, StreamOptions, StreamSession
from silhouette_seg.streaming.webrtc.config import WebRTCConfig
from silhouette_seg.streaming.webrtc.end_reason import EndReason
from silhouette_seg.telemetry import Telemetry

if TYPE_CHECKING:
    from silhouette_seg.streaming.webrtc.peer import Peer

TRANSPORT: Final = "webrtc"
"""Value of the metric label `transport` for streams over WebRTC."""
IS_INSTALLED = is_installed("aiortc")
"""True if aiortc, the library for WebRTC, is installed by the extra `live`."""

NO_SUCH_STREAM = "There is no such stream, or it has ended."
_PEER_MODULE = "silhouette_seg.streaming.webrtc.peer"

log = logging.getLogger(__name__)


class PeerRegistry:
    """Registry of the WebRTC connections: creates them, finds them by id, and ends them.

    It belongs to one event loop. aiortc is imported in a thread on first use. The id of a stream
    names its process in `group`.
    """

    def __init__(
        self,
        config: WebRTCConfig,
        streams: StreamLimiter,
        telemetry: Telemetry,
        group: ProcessGroup | None = None,
    ) -> None:
        self._config = config
        self._group = group or ProcessGroup()
        self._streams = streams
        self._telemetry = telemetry
        self._peers: dict[str, Peer] = {}
        self._places: dict[str, StreamPlace] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._load_lock = asyncio.Lock()
        self._loaded = False

    @staticmethod
    def preload() -> None:
        """Imports aiortc if it is installed, so that processes forked later share its memory."""
        if IS_INSTALLED:
            import_module(_PEER_MODULE)

    def get(self, id: str) -> StreamSession:
        """Returns the session of the stream with this id. Raises NotFound if there is none."""
        return self._get(id).session

    def configure(self, id: str, options: StreamOptions) -> None:
        """Applies `options` to the stream with this id from the next frame on.

        Raises NotFound if there is none, and Overloaded if the streams leave too little time for
        the model.
        """
        session = self.get(id)
        self._places[id].set_frame_seconds(options.segmenter.image_s)
        session.configure(options)

    async def accept(self, offer: str, options: StreamOptions, caller: str) -> tuple[str, str]:
        """Creates a connection for an SDP offer, and returns the stream's id and the SDP answer.

        The stream then runs in a task of its own, and counts towards the limits of `caller`. Raises
        UnprocessableOffer for an invalid offer, and the errors of `StreamLimiter.acquire`. Raises
        NotInstalled without aiortc, and Unavailable if it is unsuitable.
        """
        async with AsyncExitStack() as stack:
            place = stack.enter_context(self._streams.acquire(caller))
            place.set_frame_seconds(options.segmenter.image_s)
            stack.enter_context(self._telemetry.track_stream(TRANSPORT))
            await self._load_aiortc()
            from silhouette_seg.streaming.webrtc.peer import Peer

            session = StreamSession(options)
            session.id = self._group.own_id(session.id)
            outcomes: Counter[str] = Counter()

            def count(outcome: str) -> None:
                outcomes[outcome] += 1
                self._telemetry.count_frame(TRANSPORT, outcome)

            def observe(model: str, matte: Matte, age_s: float) -> None:
                stages = matte.timings.stages()
                self._telemetry.observe_image(model, stages, measurements_of(matte), kind="frame")
                self._telemetry.observe_frame_age(TRANSPORT, age_s)

            peer = Peer(session, self._config, count=count, observe=observe)
            stack.push_async_callback(peer.close)
            answer = await peer.create_answer(offer)
            self._peers[session.id] = peer
            self._places[session.id] = place
            stack.callback(self._places.pop, session.id)
            stack.callback(self._peers.pop, session.id)
            serving = self._serve(peer, outcomes, stack.pop_all())
        self._tasks[session.id] = asyncio.create_task(serving)
        return session.id, answer

    async def end(self, id: str) -> None:
        """Ends the stream with this id, and returns once it no longer counts towards the limits.

        Raises NotFound if there is none.
        """
        self._get(id).end(EndReason.CLIENT_REQUEST)
        await asyncio.wait({self._tasks[id]})

    async def warm_up(self) -> None:
        """Imports aiortc and does the one-time work of the first connection in advance.

        It does nothing without aiortc. A failure is logged, and every later offer raises it again.
        """
        try:
            await self._load_aiortc()
            from silhouette_seg.streaming.webrtc.peer import warm_up

            await warm_up()
        except (NotInstalled, Unavailable):
            return
        except Exception:
            log.exception("the warm-up of WebRTC failed")

    def _get(self, id: str) -> "Peer":
        peer = self._peers.get(id)
        if peer is None:
            raise NotFound(NO_SUCH_STREAM)
        return peer

    async def _serve(self, peer: "Peer", outcomes: Counter[str], release: AsyncExitStack) -> None:
        """Serves a stream to its end, then closes its connection and logs and counts its end.

        Leaving `release` closes the connection and frees the stream's place in the limits.
        """
        started, model = perf_counter(), peer.session.options.segmenter.spec.name
        reason = EndReason.INTERNAL
        try:
            async with release:
                reason = await peer.serve(self._streams.draining)
        except Exception:
            log.exception("a WebRTC stream failed")
        finally:
            del self._tasks[peer.session.id]
            self._telemetry.count_stream_end(TRANSPORT, reason)
            frames = {name: outcomes[name] for name in FRAME_OUTCOMES}
            duration_s = perf_counter() - started
            log_stream_end(log, TRANSPORT, model, frames, duration_s, f": {reason}", reason=reason)

    async def _load_aiortc(self) -> None:
        """Imports and configures aiortc once per process.

        Raises NotInstalled without aiortc. Raises Unavailable if low latency is configured but the
        installed aiortc does not support it: there is no fallback.
        """
        if not IS_INSTALLED:
            raise NotInstalled(missing_module("aiortc", "WebRTC streams", "live"))
        async with self._load_lock:
            if self._loaded:
                return
            await asyncio.to_thread(import_module, _PEER_MODULE)
            from silhouette_seg.streaming.webrtc import aiortc_defaults, low_latency

            aiortc_defaults.apply(self._config.hosts)
            if self._config.low_latency:
                try:
                    await low_latency.check_supported()
                except low_latency.LowLatencyUnsupported as error:
                    log.error("WebRTC is unavailable: low latency is configured, but %s", error)
                    raise Unavailable("WebRTC is not available in this configuration.") from error
            self._loaded = True
