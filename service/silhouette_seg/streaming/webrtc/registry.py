"""The peers that are there: how one comes, is found, and goes."""

import asyncio
import logging
from collections import Counter
from contextlib import AsyncExitStack
from importlib import import_module
from time import perf_counter
from typing import TYPE_CHECKING, Final

from silhouette_seg.admission.stream_limit import Streams, log_end
from silhouette_seg.errors import NotFound, Unavailable
from silhouette_seg.pipeline.measurements import measurements_of
from silhouette_seg.pipeline.segmenter import Matte
from silhouette_seg.streaming.session import StreamOptions, StreamSession
from silhouette_seg.streaming.webrtc.config import Terms
from silhouette_seg.telemetry import Telemetry

if TYPE_CHECKING:
    from silhouette_seg.streaming.webrtc.peer import Peer

TRANSPORT: Final = "webrtc"
"""Its label in the metrics."""
OUTCOMES = ("result", "skipped", "error")

log = logging.getLogger(__name__)


class Peers:
    """Belongs to one event loop. aiortc is loaded by the first use, in a thread."""

    def __init__(self, terms: Terms, streams: Streams, telemetry: Telemetry) -> None:
        self._terms = terms
        self._streams = streams
        self._telemetry = telemetry
        self._peers: dict[str, Peer] = {}
        self._lives: dict[str, asyncio.Task[None]] = {}
        self._loading = asyncio.Lock()
        self._loaded = False

    def get(self, id: str) -> StreamSession:
        """Of a peer that is there; raises NotFound."""
        return self._get(id).session

    async def open(self, offer: str, options: StreamOptions, caller: str) -> tuple[str, str]:
        """The id of a new peer, and the SDP to answer it with; it then lives by itself.

        Raises UnprocessableOffer, Unavailable, and what `Streams.enter` raises.
        """
        async with AsyncExitStack() as stack:
            stack.enter_context(self._streams.enter(caller))
            stack.enter_context(self._telemetry.track_stream(TRANSPORT))
            await self._load()
            from silhouette_seg.streaming.webrtc.peer import Peer

            session = StreamSession(options)
            outcomes: Counter[str] = Counter()

            def count(outcome: str) -> None:
                outcomes[outcome] += 1
                self._telemetry.count_frame(TRANSPORT, outcome)

            def observe(model: str, found: Matte, age_s: float) -> None:
                stages = found.timings.stages()
                self._telemetry.observe_image(model, stages, measurements_of(found), kind="frame")
                self._telemetry.observe_frame_age(TRANSPORT, age_s)

            peer = Peer(session, self._terms, count=count, observe=observe)
            stack.push_async_callback(peer.close)
            answer = await peer.answer(offer)
            self._peers[session.id] = peer
            stack.callback(self._peers.pop, session.id)
            life = self._live(peer, outcomes, stack.pop_all())
        self._lives[session.id] = asyncio.create_task(life)
        return session.id, answer

    async def close(self, id: str) -> None:
        """Returns when its place is free; raises NotFound."""
        self._get(id).end("its client ended it")
        await asyncio.wait({self._lives[id]})

    async def warm_up(self) -> None:
        """So that no peer waits for it. What fails is in the log, and every offer hears of it."""
        try:
            await self._load()
            from silhouette_seg.streaming.webrtc.peer import rehearse

            await rehearse()
        except Unavailable:
            return
        except Exception:
            log.exception("WebRTC failed its warm-up")

    def _get(self, id: str) -> "Peer":
        peer = self._peers.get(id)
        if peer is None:
            raise NotFound("There is no such stream, or it has ended.")
        return peer

    async def _live(self, peer: "Peer", outcomes: Counter[str], leave: AsyncExitStack) -> None:
        """Holds the place until the connection is closed."""
        began, model = perf_counter(), peer.session.options.segmenter.spec.name
        reason = "it broke"
        try:
            async with leave:
                reason = await peer.run(self._streams.closing)
        except Exception:
            log.exception("a WebRTC stream broke")
        finally:
            del self._lives[peer.session.id]
            self._telemetry.count_stream_end(TRANSPORT, reason)
            frames, spent_s = {name: outcomes[name] for name in OUTCOMES}, perf_counter() - began
            log_end(log, TRANSPORT, model, frames, spent_s, f": {reason}", reason=reason)

    async def _load(self) -> None:
        """Raises Unavailable where what was asked for cannot be had: nothing less is served."""
        async with self._loading:
            if self._loaded:
                return
            await asyncio.to_thread(import_module, "silhouette_seg.streaming.webrtc.peer")
            from silhouette_seg.streaming.webrtc.aiortc_defaults import prepare
            from silhouette_seg.streaming.webrtc.low_latency import NotPrompt, check_prompt

            prepare(self._terms.hosts)
            if self._terms.low_latency:
                try:
                    await check_prompt()
                except NotPrompt as error:
                    log.error("no WebRTC: low latency was asked for and %s", error)
                    raise Unavailable("WebRTC cannot be served as it was set up.") from error
            self._loaded = True
