import { closeRtc, configureRtc, openRtc } from "./api.js";
import { changed } from "./live-options.js";
import { Problem } from "./problem.js";
import { Recent } from "./recent.js";

/** Candidates that are not found by then are left out of the offer. */
const GATHER_MS = 2000;
const CONNECT_MS = 15_000;
const RECENT = 60;

/** Live video over WebRTC: the camera's track there, a track of results back. See SocketStream. */
export class RtcStream {
  measures = "Round trip: of the network alone, as the browser measures it; the server's work and video coding come on top.";
  view = Object.assign(document.createElement("video"), { muted: true, playsInline: true, autoplay: true });
  onframe = () => {};
  onnotice = () => {};
  onclose = () => {};

  #key;
  #peer = null;
  #id = null; // of the server's end
  #options = {};
  #stopped = false;
  #configured = Promise.resolve();
  #roundTrips = new Recent(RECENT);

  constructor(key) { this.#key = key; }

  async start(video, options) {
    // No ICE servers: a relay, where the server has one, is among the candidates of its answer.
    const peer = (this.#peer = new RTCPeerConnection({ iceServers: [] }));
    const connected = this.#watch(peer);
    connected.catch(() => {}); // may be late for a start that failed already
    await this.#send(video.srcObject);
    await peer.setLocalDescription();
    await gathered(peer);
    if (this.#stopped) return;
    const answer = await this.#offer(options);
    if (this.#stopped) return;
    await peer.setRemoteDescription({ type: "answer", sdp: answer });
    await connected;
    this.configure(options); // what the offer could not say
  }

  configure(options) {
    const news = changed(this.#options, options);
    this.#options = options;
    if (!this.#id || !news) return;
    // One after the other: of two changes the later one is to hold.
    this.#configured = this.#configured
      .then(() => configureRtc(this.#id, news, this.#key))
      .catch((error) => { if (!this.#stopped) this.onnotice(error.detail || error.title); });
  }

  stop() {
    if (this.#stopped) return;
    this.#stopped = true;
    this.view.srcObject = null;
    // First the word, then the line: after the other way round there is nothing left to end.
    const told = this.#id ? closeRtc(this.#id, this.#key) : Promise.resolve();
    told.then(() => this.#peer?.close());
  }

  async stats() {
    const report = await this.#peer.getStats();
    const sent = partOf(report, "outbound-rtp");
    const received = partOf(report, "inbound-rtp");
    const pair = report.get(partOf(report, "transport").selectedCandidatePairId);
    if (pair?.currentRoundTripTime !== undefined) this.#roundTrips.add(1000 * pair.currentRoundTripTime);
    return {
      shown: received.framesDecoded ?? 0,
      sentBytes: sent.bytesSent ?? 0, receivedBytes: received.bytesReceived ?? 0,
      sentSize: sizeOf(sent), receivedSize: sizeOf(received),
      roundTripsMs: this.#roundTrips.values, serverMs: [],
      heldBack: null,
      skipped: Math.max(0, (sent.framesSent ?? 0) - (received.framesReceived ?? 0)),
    };
  }

  async #send(camera) {
    const [track] = camera.getVideoTracks();
    const { sender, receiver } = this.#peer.addTransceiver(track, { direction: "sendrecv", streams: [camera] });
    if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
    try {
      await sender.setParameters({ ...sender.getParameters(), degradationPreference: "maintain-resolution" });
    } catch {
      // Not every browser knows it; the picture then starts small.
    }
  }

  /** Makes a session of the server's, which is ended again if we were stopped meanwhile. */
  async #offer(options) {
    const { background_image: _, ...spoken } = options;
    const { id, answer } = await openRtc(this.#peer.localDescription.sdp, spoken, this.#key);
    this.#id = id;
    this.#options = spoken;
    if (this.#stopped) closeRtc(id, this.#key);
    return answer;
  }

  /** @returns {Promise<void>} until connected; afterwards `onclose` tells of the end */
  #watch(peer) {
    return new Promise((resolve, reject) => {
      let isConnected = false;
      const late = setTimeout(() => reject(noWay()), CONNECT_MS);
      const ended = () => {
        clearTimeout(late);
        if (isConnected) this.onclose(lost());
        else reject(noWay());
      };
      peer.ontrack = ({ track, transceiver }) => {
        this.#show(track);
        // The server's goodbye; `failed` alone would come half a minute later.
        const { transport } = transceiver.receiver;
        transport.onstatechange = () => {
          if (transport.state !== "closed") return;
          this.#id = null; // there is nothing left to end
          ended();
        };
      };
      peer.onconnectionstatechange = () => {
        const state = peer.connectionState;
        if (state === "connected") { clearTimeout(late); isConnected = true; resolve(); }
        if (state === "failed" || state === "closed") ended();
      };
    });
  }

  #show(track) {
    this.view.srcObject = new MediaStream([track]);
    const shown = () => {
      if (this.#stopped) return;
      this.onframe();
      next();
    };
    const next = () => this.view.requestVideoFrameCallback?.(shown);
    if (this.view.requestVideoFrameCallback) next();
    else this.view.onplaying = () => this.onframe();
  }
}

/** Until all candidates are in the description, or no longer than GATHER_MS. */
function gathered(peer) {
  return new Promise((resolve) => {
    if (peer.iceGatheringState === "complete") return resolve();
    setTimeout(resolve, GATHER_MS);
    peer.onicegatheringstatechange = () => { if (peer.iceGatheringState === "complete") resolve(); };
  });
}

function noWay() {
  return new Problem({
    title: "No way to the server was found",
    detail: "Networks that block UDP need a TURN server. The WebSocket transport works without.",
    retryable: true,
  });
}

/** WebRTC does not carry the reason. */
function lost() {
  return new Problem({
    title: "The connection was lost",
    detail: "The server ended the stream, or cannot be reached any more.",
    retryable: true,
  });
}

function partOf(report, type) {
  return [...report.values()].find((part) => part.type === type) ?? {};
}

function sizeOf({ frameWidth: width, frameHeight: height }) {
  return width && height ? { width, height } : null;
}
