/** Live video over WebRTC: the camera's track to the server, a track of results back. */

import { closeWebRTC, configureWebRTC, openWebRTC } from "../api/client.js";
import { Problem } from "../api/problem.js";
import { changedOptions } from "./live-options.js";
import { canMeasureRoundTrips, RoundTrips } from "./round-trips.js";

/** Milliseconds to gather ICE candidates; those found later are left out of the offer. */
const GATHERING_TIMEOUT_MS = 2000;
const CONNECT_TIMEOUT_MS = 15_000;

/** A video stream over WebRTC. Its public members are those of WebSocketStream. */
export class WebRTCStream {
  roundTripNote = canMeasureRoundTrips
    ? "Round trip: from grabbing the camera frame to drawing its result, including video coding."
    : "This browser cannot measure the round trip over WebRTC.";
  view = Object.assign(document.createElement("video"), { muted: true, playsInline: true, autoplay: true });
  onframe = () => {};
  onnotice = () => {};
  onclose = () => {};

  #key;
  #connection = null;
  #id = null; // of the stream, while the server has it
  #options = {};
  #stopped = false;
  #configured = Promise.resolve();
  #roundTrips = null; // null where they cannot be measured

  constructor(key) { this.#key = key; }

  async start(video, options) {
    // No ICE servers: the answer of the server contains its relay, if it has one.
    const connection = (this.#connection = new RTCPeerConnection({ iceServers: [] }));
    const connected = this.#watch(connection);
    connected.catch(() => {}); // it may reject after `start` has failed
    await this.#addCamera(video.srcObject);
    await connection.setLocalDescription();
    await gatheringComplete(connection);
    if (this.#stopped) return;
    const answer = await this.#sendOffer(options);
    if (this.#stopped) return;
    await connection.setRemoteDescription({ type: "answer", sdp: answer });
    await connected;
    this.configure(options); // sends the background image, which the offer leaves out
  }

  configure(options) {
    const changes = changedOptions(this.#options, options);
    this.#options = options;
    if (!this.#id || !changes) return;
    // In sequence, so that the later of two changes wins.
    this.#configured = this.#configured
      .then(() => configureWebRTC(this.#id, changes, this.#key))
      .catch((error) => { if (!this.#stopped) this.onnotice(error.detail || error.title); });
  }

  stop() {
    if (this.#stopped) return;
    this.#stopped = true;
    this.view.srcObject = null;
    this.#roundTrips?.stop();
    // DELETE first: after the connection is closed the server no longer has the stream.
    const deleted = this.#id ? closeWebRTC(this.#id, this.#key) : Promise.resolve();
    deleted.then(() => this.#connection?.close());
  }

  /** @returns {Promise<import("./live-stats.js").StreamStats>} */
  async stats() {
    const report = await this.#connection.getStats();
    const sent = statsOfType(report, "outbound-rtp");
    const received = statsOfType(report, "inbound-rtp");
    const encodingMs = 1000 * (sent.totalEncodeTime ?? 0) / (sent.framesEncoded || 1); // mean of a frame
    return {
      shown: received.framesDecoded ?? 0,
      sentBytes: sent.bytesSent ?? 0, receivedBytes: received.bytesReceived ?? 0,
      sentSize: sizeOf(sent), receivedSize: sizeOf(received),
      roundTripsMs: (this.#roundTrips?.values ?? []).map((ms) => encodingMs + ms), serverMs: [],
      dropped: null,
      skipped: Math.max(0, (sent.framesSent ?? 0) - (received.framesReceived ?? 0)),
    };
  }

  async #addCamera(camera) {
    const [track] = camera.getVideoTracks();
    const { sender, receiver } = this.#connection.addTransceiver(track, { direction: "sendrecv", streams: [camera] });
    if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
    if (canMeasureRoundTrips) this.#roundTrips = new RoundTrips(sender);
    try {
      await sender.setParameters({ ...sender.getParameters(), degradationPreference: "maintain-resolution" });
    } catch {
      // Browsers without this preference start with a smaller image.
    }
  }

  /** Creates the stream on the server, and ends it again if `stop` was called meanwhile. */
  async #sendOffer(options) {
    const { background_image: _, ...queryOptions } = options;
    const { id, answer } = await openWebRTC(this.#connection.localDescription.sdp, queryOptions, this.#key);
    this.#id = id;
    this.#options = queryOptions;
    if (this.#stopped) closeWebRTC(id, this.#key);
    return answer;
  }

  /** @returns {Promise<void>} resolves when connected; `onclose` reports a later end */
  #watch(connection) {
    return new Promise((resolve, reject) => {
      let isConnected = false;
      const timeout = setTimeout(() => reject(noRoute()), CONNECT_TIMEOUT_MS);
      const handleEnd = () => {
        clearTimeout(timeout);
        if (isConnected) this.onclose(connectionLost());
        else reject(noRoute());
      };
      connection.ontrack = ({ track, transceiver }) => {
        this.#show(track);
        // The transport closes when the server ends the stream; "failed" comes half a minute later.
        const { transport } = transceiver.receiver;
        transport.onstatechange = () => {
          if (transport.state !== "closed") return;
          this.#id = null; // the server has ended the stream
          handleEnd();
        };
      };
      connection.onconnectionstatechange = () => {
        const state = connection.connectionState;
        if (state === "connected") { clearTimeout(timeout); isConnected = true; resolve(); }
        if (state === "failed" || state === "closed") handleEnd();
      };
    });
  }

  #show(track) {
    this.view.srcObject = new MediaStream([track]);
    const handleFrame = (_, { rtpTimestamp }) => {
      if (this.#stopped) return;
      this.#roundTrips?.addResult(rtpTimestamp);
      this.onframe();
      requestFrame();
    };
    const requestFrame = () => this.view.requestVideoFrameCallback(handleFrame);
    if (this.view.requestVideoFrameCallback) requestFrame();
    else this.view.onplaying = () => this.onframe();
  }
}

/** Resolves when the local description has all ICE candidates, or after GATHERING_TIMEOUT_MS. */
function gatheringComplete(connection) {
  return new Promise((resolve) => {
    if (connection.iceGatheringState === "complete") return resolve();
    setTimeout(resolve, GATHERING_TIMEOUT_MS);
    connection.onicegatheringstatechange = () => { if (connection.iceGatheringState === "complete") resolve(); };
  });
}

function noRoute() {
  return new Problem({
    title: "No route to the server was found",
    detail: "Networks that block UDP need a TURN server. The WebSocket transport works without one.",
    retryable: true,
  });
}

/** Returns the error to show for a lost connection: WebRTC does not transmit the reason. */
function connectionLost() {
  return new Problem({
    title: "The connection was lost",
    detail: "The server ended the stream, or it cannot be reached any more.",
    retryable: true,
  });
}

function statsOfType(report, type) {
  return [...report.values()].find((stats) => stats.type === type) ?? {};
}

function sizeOf({ frameWidth: width, frameHeight: height }) {
  return width && height ? { width, height } : null;
}
