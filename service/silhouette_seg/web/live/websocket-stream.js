/** Live video over a WebSocket: JPEG frames to the server, JPEG results back. */

import { problemOfClose } from "../api/close-codes.js";
import { Problem } from "../api/problem.js";
import { MessageKind, packFrameHeader, SUBPROTOCOL, unpackMessage, unpackResult } from "../api/protocol.js";
import { FrameGrabber } from "./frame-grabber.js";
import { changedOptions } from "./live-options.js";
import { RingBuffer } from "./ring-buffer.js";

const READY_TIMEOUT_MS = 10_000;
const RECENT_FRAMES = 100;

/**
 * A video stream over a WebSocket. The server limits the unanswered frames; at the limit, camera
 * frames are dropped, and the newest is sent after the next answer. WebRTCStream has the same public
 * members.
 */
export class WebSocketStream {
  roundTripNote = "Round trip: from grabbing the camera frame to drawing its result, including JPEG coding.";
  view = document.createElement("canvas");
  /** Called for each result. */
  onframe = () => {};
  /** Called with the text of an error that does not end the stream. */
  onnotice = () => {};
  /** Called with a Problem when the stream ends, except after `stop`. */
  onclose = () => {};

  #key;
  #socket = null;
  #options = {};
  #grabber = null;
  #ready = false;
  #credits = 0;
  #seq = 0;
  #lastDrawnSeq = -1;
  #failing = false;
  #counts = { shown: 0, skipped: 0, sentBytes: 0, receivedBytes: 0 };
  #sizes = { sentSize: null, receivedSize: null };
  #roundTripsMs = new RingBuffer(RECENT_FRAMES);
  #serverMs = new RingBuffer(RECENT_FRAMES);

  constructor(key) { this.#key = key; }

  /**
   * Connects, and resolves when the server is ready for frames.
   *
   * @param {HTMLVideoElement} video  plays the camera
   * @param {object} options  see live-options.js
   * @throws {Problem}
   */
  start(video, options) {
    this.#options = options;
    this.#grabber = new FrameGrabber(video, {
      isReady: () => this.#credits > 0 && this.#socket.bufferedAmount === 0,
      onFrame: (jpeg, grabbedMs) => this.#sendFrame(jpeg, grabbedMs, video),
    });
    return new Promise((resolve, reject) => this.#connect(resolve, reject));
  }

  configure(options) {
    const changes = changedOptions(this.#options, options);
    this.#options = options;
    if (this.#ready && changes) this.#sendConfig(changes);
  }

  stop() {
    this.#grabber?.stop();
    if (!this.#socket) return;
    this.#socket.onclose = this.#socket.onmessage = null;
    this.#socket.close(1000);
  }

  /** @returns {Promise<import("./live-stats.js").StreamStats>} */
  async stats() {
    return {
      ...this.#counts, ...this.#sizes,
      roundTripsMs: this.#roundTripsMs.values, serverMs: this.#serverMs.values,
      dropped: this.#grabber.dropped,
    };
  }

  #connect(resolve, reject) {
    const url = new URL("v1/stream", document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = (this.#socket = new WebSocket(url, SUBPROTOCOL));
    const timeout = setTimeout(() => {
      this.stop();
      reject(new Problem({ title: "The server does not respond", retryable: true }));
    }, READY_TIMEOUT_MS);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.#sendConfig({ ...(this.#key && { key: this.#key }), format: "jpeg", ...this.#options });
    socket.onclose = (event) => {
      clearTimeout(timeout);
      this.#grabber.stop();
      const problem = problemOfClose(event, this.#ready);
      if (this.#ready) this.onclose(problem);
      else reject(problem);
    };
    socket.onmessage = ({ data }) => {
      if (typeof data !== "string") return this.#handleAnswer(data);
      const message = JSON.parse(data);
      if (message.type === "error" || message.type === "warning") this.onnotice(message.detail);
      if (message.type !== "ready" || this.#ready) return;
      clearTimeout(timeout);
      this.#ready = true;
      this.#credits = message.credits;
      this.#grabber.start();
      resolve();
    };
  }

  /**
   * True while messages can be sent. Between the server's close frame and `onclose` it is false:
   * sending would log a warning then.
   */
  get #isOpen() { return this.#socket.readyState === WebSocket.OPEN; }

  #sendConfig(options) {
    if (this.#isOpen) this.#socket.send(JSON.stringify({ type: "config", ...options }));
  }

  #sendFrame(jpeg, grabbedMs, video) {
    if (!this.#isOpen) return;
    this.#socket.send(new Blob([packFrameHeader(this.#seq, grabbedMs), jpeg]));
    this.#seq = (this.#seq + 1) % 2 ** 32;
    this.#credits -= 1;
    this.#counts.sentBytes += jpeg.size;
    this.#sizes.sentSize = { width: video.videoWidth, height: video.videoHeight };
  }

  #handleAnswer(data) {
    const message = unpackMessage(data);
    this.#credits += 1;
    if (message.kind === MessageKind.SKIPPED) this.#counts.skipped += 1;
    if (message.kind === MessageKind.ERROR) this.#notifyError(message.body);
    if (message.kind === MessageKind.RESULT) this.#drawResult(message);
    this.#grabber.retry();
  }

  /** Reports a failed frame to `onnotice`, but only the first of a series. */
  #notifyError(body) {
    if (!this.#failing) this.onnotice(JSON.parse(new TextDecoder().decode(body)).detail);
    this.#failing = true;
  }

  async #drawResult({ seq, sentMs, body }) {
    const { width, height, serverMs, image } = unpackResult(body);
    this.#failing = false;
    this.#counts.receivedBytes += image.byteLength;
    this.#serverMs.push(serverMs);
    const bitmap = await createImageBitmap(new Blob([image]));
    if (seq <= this.#lastDrawnSeq) return bitmap.close(); // a newer result was decoded first
    this.#lastDrawnSeq = seq;
    if (this.view.width !== width || this.view.height !== height) Object.assign(this.view, { width, height });
    const context = this.view.getContext("2d");
    context.globalCompositeOperation = "copy"; // transparent pixels replace those of the last result
    context.drawImage(bitmap, 0, 0);
    bitmap.close();
    this.#sizes.receivedSize = { width, height };
    this.#counts.shown += 1;
    this.#roundTripsMs.push(performance.now() - sentMs);
    this.onframe();
  }
}
